"""Adds the ops that every weight's update is made of: read, check, select, assign."""

from typing import Any, Dict, List, Mapping, Optional, Sequence

from graph_masker import tf_compat
from graph_masker.engine.choosing import choosing, finiteness
from graph_masker.engine.weights import Weight


class Writer:
    """Adds the update of one weight after the other.

    Attributes:
        assigns: the ops that write masks, thresholds and accumulators.
        scope: the name scope of all ops.
    """

    def __init__(self, nodes: tf_compat.Nodes, scope: str, pivot: Any) -> None:
        """Args: where to add ops, below which scope, and the op that runs only if masks are due."""
        self.assigns: List[Any] = []
        self._nodes = nodes
        self.scope = scope
        self._pivot = pivot
        self._scores: Dict[str, Any] = {}

    def read(self, weights: Sequence[Weight]) -> Any:
        """Reads the scores of all weights and returns a bool vector, whether those of each are finite."""
        nodes, finite = self._nodes, []
        for weight in weights:
            reads = [
                nodes.read(f"{scope}/read", scores, [self._pivot])
                for scope, scores in zip(self._scopes(weight), weight.scores)
            ]
            scope, like = self._scopes(weight)[0], weight.first.weight.op
            self._scores[weight.name] = whole = nodes.concat(f"{scope}/whole", reads, weight.axis, like)
            finite.extend(nodes.call(f"{scope}/finite", finiteness(weight.choice.score_dtype), [whole], like))
        return nodes.stack(f"{self.scope}/finite", finite)

    def write(
        self,
        nodes: tf_compat.Nodes,
        weights: Sequence[Weight],
        sparsities: Mapping[float, Any],
        checked: Any,
        count: Optional[Any],
    ) -> List[Any]:
        """Selects what stays and assigns it; returns, per weight, the number of entries that do.

        Args:
            nodes: where to add ops.
            weights: those that were read.
            sparsities: by target.
            checked: the op that fails where scores are not finite.
            count: int32 scalar, the steps that averages are taken over; None where nothing is averaged.
        """
        self._nodes = nodes
        # By device, the last ops of the weight before: one at a time, so that memory is needed for one only.
        before: Dict[str, List[Any]] = {}
        kept = []
        for weight in weights:
            device = weight.first.weight.op.device
            sparsity = sparsities[weight.pruning.target_sparsity]
            mask, threshold, number = self._select(weight, sparsity, count, [checked, *before.get(device, ())])
            before[device] = self._assign(weight, mask, threshold)
            self.assigns.extend(before[device])
            kept.append(number)
        return kept

    def _select(self, weight: Weight, sparsity: Any, count: Optional[Any], after: Sequence[Any]) -> List[Any]:
        nodes, choice, scopes = self._nodes, weight.choice, self._scopes(weight)
        like, inputs = weight.first.weight.op, [self._scores[weight.name], sparsity]
        if choice.continues:
            masks = [nodes.read(f"{scope}/old", part.mask, [self._pivot]) for scope, part in zip(scopes, weight.parts)]
            inputs.append(nodes.concat(f"{scopes[0]}/whole_mask", masks, weight.axis, like))
        if choice.decay:
            inputs.append(nodes.read(f"{scopes[0]}/old_threshold", weight.first.threshold, [self._pivot]))
        if choice.averages:
            inputs.append(count)
        return nodes.call(f"{scopes[0]}/select", choosing(choice), inputs, like, after)

    def _assign(self, weight: Weight, mask: Any, threshold: Any) -> List[Any]:
        nodes, scopes = self._nodes, self._scopes(weight)
        sizes = [part.site.shape[weight.axis] for part in weight.parts]
        masks = nodes.split(f"{scopes[0]}/split", mask, sizes, weight.axis, weight.first.weight.op)
        assigns = [
            nodes.assign(f"{scope}/mask", part.mask, value) for scope, part, value in zip(scopes, weight.parts, masks)
        ]
        assigns.append(nodes.assign(f"{scopes[0]}/threshold", weight.first.threshold, threshold))
        if weight.choice.averages:
            assigns.extend(self._reset(weight, assigns))
        return assigns

    def _reset(self, weight: Weight, after: Sequence[Any]) -> List[Any]:
        """An average starts anew once it has been used."""
        nodes, resets = self._nodes, []
        for scope, accumulator in zip(self._scopes(weight), weight.scores):
            dtype, like = accumulator.dtype.base_dtype, accumulator.op
            value = nodes.read(f"{scope}/used", accumulator, after)
            zeros = nodes.add(f"{scope}/zeros", "ZerosLike", [value], like, T=dtype).outputs[0]
            resets.append(nodes.assign(f"{scope}/reset", accumulator, zeros))
        return resets

    def _scopes(self, weight: Weight) -> List[str]:
        return [f"{self.scope}/{part.site.variable}" for part in weight.parts]
