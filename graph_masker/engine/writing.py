"""Adds the ops that every weight's update is made of: read, check, select, assign."""

from typing import Any, Dict, List, Optional, Sequence

from graph_masker import tf_compat
from graph_masker.engine.choosing import choosing, finiteness
from graph_masker.engine.turns import Turns
from graph_masker.engine.weights import Weight


class Writer:
    """Adds the update of one weight after the other.

    Attributes:
        assigns: the ops that write masks, thresholds and accumulators.
        scope: the name scope of all ops.
        scores: what each weight is pruned by, once `read` has read it, by the weight's name.
        count: int32 scalar, the steps that averages are taken over; None where nothing is averaged.
        turns: in which order weights are best written.
    """

    def __init__(self, nodes: tf_compat.Nodes, scope: str, pivot: Any, count: Optional[Any], turns: Turns) -> None:
        """Args: where to add ops, below which scope, the op that runs only if masks are due, `count`, and whose turn is
        when.
        """
        self.assigns: List[Any] = []
        self.scope = scope
        self.scores: Dict[str, Any] = {}
        self.count = count
        self._nodes = nodes
        self._pivot = pivot
        self.turns = turns

    def read(self, weight: Weight) -> None:
        """Reads the scores of a weight."""
        scopes = self._scopes(weight)
        with self._nodes as nodes:
            reads = [nodes.read(f"{scope}/read", item, [self._pivot]) for scope, item in zip(scopes, weight.scores)]
            self.scores[weight.name] = nodes.concat(f"{scopes[0]}/whole", reads, weight.axis, weight.first.weight.op)

    def finite(self, weight: Weight) -> Any:
        """Returns whether the scores of a weight are finite, a bool scalar."""
        return self.call(weight, "finite", finiteness(weight.choice.score_dtype), [self.scores[weight.name]])[0]

    def read_masks(self, weight: Weight) -> Any:
        """Returns the mask that a weight has."""
        scopes = self._scopes(weight)
        with self._nodes as nodes:
            masks = [nodes.read(f"{scope}/old", part.mask, [self._pivot]) for scope, part in zip(scopes, weight.parts)]
            return nodes.concat(f"{scopes[0]}/whole_mask", masks, weight.axis, weight.first.weight.op)

    def call(
        self, weight: Weight, name: str, function: tf_compat.Function, inputs: Sequence[Any], after: Sequence[Any] = ()
    ) -> List[Any]:
        """Calls a function beside a weight and returns its results."""
        scope = self._scopes(weight)[0]
        with self._nodes as nodes:
            return nodes.call(f"{scope}/{name}", function, inputs, weight.first.weight.op, after)

    def turn(self, weight: Weight, checked: Any) -> List[Any]:
        """Returns what the selection for a weight waits for: the check of all, and weights before."""
        return [checked, *self.turns.before(weight)]

    def write(self, weight: Weight, sparsity: Any, checked: Any) -> Any:
        """Selects what stays of a weight and assigns it; returns the number of entries that do, an int32 scalar.

        Args:
            weight: one that was read.
            sparsity: float32 scalar, fraction of zeros.
            checked: the op that fails where scores are not finite.
        """
        choice, inputs = weight.choice, [self.scores[weight.name], sparsity]
        if choice.continues:
            inputs.append(self.read_masks(weight))
        if choice.decay:
            with self._nodes as nodes:
                name = f"{self._scopes(weight)[0]}/old_threshold"
                inputs.append(nodes.read(name, weight.first.threshold, [self._pivot]))
        if choice.averages:
            inputs.append(self.count)
        mask, threshold, kept = self.call(weight, "select", choosing(choice), inputs, self.turn(weight, checked))
        self.assign(weight, mask, threshold)
        return kept

    def assign(self, weight: Weight, mask: Any, threshold: Any) -> None:
        """Writes mask and threshold of a weight; weights that come later on its device wait for that."""
        scopes = self._scopes(weight)
        with self._nodes as nodes:
            sizes = [part.site.shape[weight.axis] for part in weight.parts]
            masks = nodes.split(f"{scopes[0]}/split", mask, sizes, weight.axis, weight.first.weight.op)
            assigns = [
                nodes.assign(f"{scope}/mask", part.mask, value)
                for scope, part, value in zip(scopes, weight.parts, masks)
            ]
            # The same bits on every device: none selects for itself.
            assigns.extend(
                nodes.assign(f"{self.scope}/{mirror.site.variable}/mask", mirror.mask, mask)
                for mirror in weight.mirrors
            )
            assigns.append(nodes.assign(f"{scopes[0]}/threshold", weight.first.threshold, threshold))
            if weight.choice.averages:
                assigns.extend(self._reset(nodes, weight, assigns))
        self.turns.done(weight, assigns)
        self.assigns.extend(assigns)

    def _reset(self, nodes: tf_compat.Nodes, weight: Weight, after: Sequence[Any]) -> List[Any]:
        """An average starts anew once it has been used."""
        resets = []
        for scope, accumulator in zip(self._scopes(weight), weight.scores):
            dtype, like = accumulator.dtype.base_dtype, accumulator.op
            value = nodes.read(f"{scope}/used", accumulator, after)
            zeros = nodes.add(f"{scope}/zeros", "ZerosLike", [value], like, T=dtype).outputs[0]
            resets.append(nodes.assign(f"{scope}/reset", accumulator, zeros))
        return resets

    def stack(self, name: str, values: Sequence[Any]) -> Any:
        """Returns a vector of scalars."""
        with self._nodes as nodes:
            return nodes.stack(f"{self.scope}/{name}", values)

    def _scopes(self, weight: Weight) -> List[str]:
        return [f"{self.scope}/{part.site.variable}" for part in weight.parts]
