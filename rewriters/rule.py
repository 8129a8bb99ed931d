"""What a rule is: plain, frozen data about one op type."""

from dataclasses import dataclass
from typing import Callable, Optional, Tuple


@dataclass(frozen=True)
class Adjoint:
    """The pair of ops that TensorFlow's autodiff adds for one consumer.

    It serves to find, in a graph that already holds gradients, the backward reads of a weight and the gradient to
    mask. Writing ``y = op(x, w)``: ``data_op`` computes the gradient of ``x`` (it reads ``w`` and ``dy``),
    ``weight_op`` the gradient of ``w`` (it reads ``x`` and ``dy``).

    Attributes:
        data_op: op type of the backward op that reads the weight.
        data_op_grad_input: index of its ``dy`` input. None: either input that is not the weight.
        weight_op: op type of the backward op whose result is the weight's gradient.
        weight_op_inputs: indices of the inputs of ``weight_op`` among which ``x`` and ``dy`` stand.
    """

    data_op: str
    data_op_grad_input: Optional[int]
    weight_op: str
    weight_op_inputs: Tuple[int, int]


@dataclass(frozen=True)
class WeightRule:
    """An op type that consumes a weight.

    Attributes:
        op_type: TensorFlow op type, such as ``Conv2D``.
        weight_inputs: indices of the inputs that can be the weight.
        data_input: index of the activations' input; None where it is whichever input is not the weight.
        family: name under which `PruningSpec(also=...)` asks for ops masked only on request.
        on_request: True where the weight is left dense unless its family is asked for.
        adjoint: how autodiff's ops for it look, or None where they are not known.
        output_axes: per weight input, the axes of the weight that make the op's output, counted from the end; over the
            others it sums.
        transposed_by: per weight input, the attribute that swaps its last two axes; empty where there is none.
    """

    op_type: str
    weight_inputs: Tuple[int, ...]
    family: str
    data_input: Optional[int] = None
    on_request: bool = False
    adjoint: Optional[Adjoint] = None
    output_axes: Tuple[Tuple[int, ...], ...] = ((-1,),)
    transposed_by: Tuple[str, ...] = ()

    def axes_of(self, port: int, is_set: Callable[[str], bool]) -> Tuple[int, ...]:
        """Returns the output axes of the weight at an input.

        Args:
            port: index of the input.
            is_set: tells whether an attribute of the op is true.
        """
        position = self.weight_inputs.index(port)
        axes = self.output_axes[position if len(self.output_axes) > 1 else 0]
        swaps = bool(self.transposed_by) and is_set(self.transposed_by[position])
        return tuple(-3 - axis if axis >= -2 else axis for axis in axes) if swaps else axes


@dataclass(frozen=True)
class ReadRule:
    """An op type through which a weight may pass on its way to a consumer.

    Every such op maps a zero to a zero, so that a pruned entry stays one. An op that computes with data, too, passes
    a weight on only if it is an alias or control flow, or its output has the weight's shape.

    Attributes:
        op_type: TensorFlow op type, such as ``Cast``.
        value_inputs: indices of the inputs that may carry the weight; negative ones count from the end.
        joins: True where all inputs but ``value_inputs`` carry weights, as those of a concatenation do.
        scales: True for an elementwise product or quotient: the input of the output's own shape carries the
            weight, the other ones scale it.
        all_outputs: True where every output carries it on, not only the first.
        parallel: True where output i carries input i.
        control_flow: True for the ops by which a value enters a loop or the branch of a cond.
        alias: True where the output equals the input bit for bit, whatever the attributes, and stays in the
            same control-flow frame, and so does the gradient.
        adjoint: op type of the one op that carries the gradient back; empty where the gradient passes as it is,
            None where it is not known how.
    """

    op_type: str
    value_inputs: Tuple[int, ...] = (0,)
    joins: bool = False
    scales: bool = False
    all_outputs: bool = False
    parallel: bool = False
    control_flow: bool = False
    alias: bool = False
    adjoint: Optional[str] = None

    def carriers(self, inputs: int, output: int = 0) -> Tuple[int, ...]:
        """Returns the indices, of so many inputs, of those that may carry a weight to an output."""
        if self.parallel:
            return (output,)
        if output and not self.all_outputs:
            return ()
        named = tuple(index % inputs for index in self.value_inputs)
        return tuple(index for index in range(inputs) if index not in named) if self.joins else named
