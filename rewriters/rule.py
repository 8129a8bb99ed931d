"""What a rule is: plain, frozen data about one op type."""

from dataclasses import dataclass
from typing import Optional, Tuple


@dataclass(frozen=True)
class Adjoint:
    """The pair of ops that TensorFlow's autodiff adds for one consumer.

    It serves to tell, in a graph that already holds gradients, a backward read of the weight from a forward
    one. Writing ``y = op(x, w)``: ``data_op`` computes the gradient of ``x`` (it reads ``w`` and ``dy``),
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
    """

    op_type: str
    weight_inputs: Tuple[int, ...]
    family: str
    data_input: Optional[int] = None
    on_request: bool = False
    adjoint: Optional[Adjoint] = None


@dataclass(frozen=True)
class ReadRule:
    """An op type through which a weight may pass on its way to a consumer.

    Attributes:
        op_type: TensorFlow op type, such as ``Cast``.
        value_input: index of the input that carries the weight.
        outputs: indices of the outputs that carry it on.
        alias: True where the output equals the input bit for bit, whatever the attributes, and stays in the
            same control-flow frame.
    """

    op_type: str
    value_input: int = 0
    outputs: Tuple[int, ...] = (0,)
    alias: bool = False
