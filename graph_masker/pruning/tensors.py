"""What pruning makes of a file's tensors: a function for each that changes, from its values to new ones."""

from typing import Any, Callable, Dict, Optional, Tuple

import numpy as np

from graph_masker.accumulators import COUNT, accumulator_of, criterion_of
from graph_masker.errors import PlanError, SourceError
from graph_masker.files.graphs import Reader
from graph_masker.files.source import CheckpointReader
from graph_masker.masks import find_averages, find_masks
from graph_masker.oneshot import Weight, decide, zeroed
from graph_masker.plan import MaskPlan, Site
from graph_masker.pruning.result import PrunedWeight

Progress = Callable[[int, int], None]


class Tensors:
    """The tensors that pruning changes.

    A mask's entries stay where they are 0: magnitudes are those of `mask * weight`, which the model computes with. A
    criterion with scores of its own is taken at its word, as by a mask update.

    Attributes:
        edits: function by key, from its values to new ones of the same type and shape.
        copies: keys of moving averages among them.
        masks: keys of masks among them.
    """

    def __init__(self, reader: Reader, plan: MaskPlan, progress: Optional[Progress] = None) -> None:
        """Decides what stays.

        Raises:
            SourceError: a tensor is missing, of another shape, or not finite.
            PlanError: a criterion needs what the file does not hold.
        """
        assert plan.spec is not None
        self._reader = reader
        self._held = set(reader.names())
        self._sites = {site.saved_variable: site for site in plan.sites}
        self._masks = {key: site.saved_mask for key, site in self._sites.items() if site.masked}
        for key, site in self._sites.items():
            self._check(key, site)
        self._check_masks()
        weights = [self._weight(key, site) for key, site in self._sites.items()]
        self._decisions = dict(zip(self._sites, decide(weights, plan.spec.max_sparsity, progress)))
        self._latest: Tuple[str, Any] = ("", None)
        self._zeros: Dict[str, int] = {}
        owners = {key: key for key in self._sites}
        averages = find_averages(reader, owners) if isinstance(reader, CheckpointReader) else {}
        self.copies = tuple(sorted(averages))
        self.masks = tuple(sorted(self._masks.values()))
        self.edits: Dict[str, Callable[[Any], Any]] = {}
        for key, site in self._sites.items():
            self.edits[key] = self._weight_of(key)
            if site.masked:
                self.edits[site.saved_mask] = self._new_mask(key)
                if site.threshold in self._held:
                    self.edits[site.threshold] = self._threshold(key)
        self.edits.update({copy: self._pruned(key) for copy, key in averages.items()})

    @property
    def weights(self) -> Tuple[PrunedWeight, ...]:
        """What has been pruned, once all edits have been made."""
        return tuple(
            PrunedWeight(
                key,
                _size(decision.weight.shape),
                self._zeros[key],
                decision.weight.pruning,
                decision.threshold,
            )
            for key, decision in self._decisions.items()
        )

    def _check(self, key: str, site: Site) -> None:
        names = [key, *([site.saved_mask] if site.masked else [])]
        for name in names:
            if name not in self._held:
                raise SourceError(
                    f"{self._reader.prefix}: expected '{name}', found no such tensor; is the graph another model's?"
                )
            if self._reader.shape(name) != _shape(site):
                raise SourceError(
                    f"{self._reader.prefix}: expected shape {_shape(site)} of '{name}', found "
                    f"{self._reader.shape(name)}; is the graph another model's?"
                )

    def _check_masks(self) -> None:
        if not isinstance(self._reader, CheckpointReader):
            return
        found = find_masks(self._reader, {mask: key for key, mask in self._masks.items()})
        for mask, key in found.masks.items():
            if key in self._sites and key not in self._masks:
                raise SourceError(
                    f"{self._reader.prefix}: holds a mask of '{key}', '{mask}', of which its graph knows nothing; give "
                    "the masked graph by --meta, or fold the checkpoint first"
                )

    def _weight(self, key: str, site: Site) -> Weight:
        pruning = site.pruning
        assert pruning is not None, "the plan was made with a spec"
        dtype = np.dtype(self._reader.dtype(key).as_numpy_dtype)
        criterion = criterion_of(site)
        if criterion.contribution is None:
            return Weight(key, _shape(site), dtype, pruning, lambda: self._in_effect(key, self._reader.tensor(key)))
        accumulator = accumulator_of(site.saved_mask, criterion.name)
        if not site.masked or accumulator not in self._held or (criterion.averages and COUNT not in self._held):
            raise PlanError(
                f"{key}: criterion {criterion.name} needs what a masked training adds up, '{accumulator}', found none "
                f"in {self._reader.prefix}; set criterion to magnitude, or prune a checkpoint of a training with it"
            )
        steps = int(self._reader.tensor(COUNT)) if criterion.averages else None
        if steps == 0:
            raise SourceError(
                f"{self._reader.prefix}: expected scores of criterion {criterion.name} over some steps, found none "
                "since the last mask update; take a checkpoint of a later step"
            )
        return Weight(
            key, _shape(site), dtype, pruning, lambda: self._reader.tensor(accumulator), criterion.signed, steps
        )

    def _in_effect(self, key: str, values: Any) -> Any:
        """Returns a weight as the model computes with it."""
        return zeroed(values, self._old_mask(key)) if key in self._masks else values

    def _old_mask(self, key: str) -> Any:
        mask = self._reader.tensor(self._masks[key])
        stays = mask != 0
        if np.count_nonzero(mask == 1) != np.count_nonzero(stays):
            raise SourceError(f"{self._reader.prefix}: expected zeros and ones in '{self._masks[key]}', found others")
        return stays

    def _stays(self, key: str, values: Optional[Any] = None) -> Any:
        """Returns which entries of a weight stay; given its values, they are not read again."""
        latest, stays = self._latest
        if latest == key:
            return stays
        decision = self._decisions[key]
        if criterion_of(self._sites[key]).contribution is not None:
            stays = decision.stays(decision.weight.scores())
        elif key in self._masks:
            effective = self._in_effect(key, self._reader.tensor(key) if values is None else values)
            stays = decision.stays(effective) & self._old_mask(key)
        else:
            stays = decision.stays(self._reader.tensor(key) if values is None else values)
        # Whatever the tensor, mask and averages of a weight follow each other closely.
        self._latest = (key, stays)
        self._zeros[key] = stays.size - int(np.count_nonzero(stays))
        return stays

    def _weight_of(self, key: str) -> Callable[[Any], Any]:
        return lambda values: zeroed(values, self._stays(key, values))

    def _pruned(self, key: str) -> Callable[[Any], Any]:
        return lambda values: zeroed(values, self._stays(key))

    def _new_mask(self, key: str) -> Callable[[Any], Any]:
        # By way of float32: there is no direct cast from bool to bfloat16.
        return lambda mask: self._stays(key).astype(np.float32).astype(mask.dtype)

    def _threshold(self, key: str) -> Callable[[Any], Any]:
        return lambda threshold: self._decisions[key].threshold.astype(threshold.dtype)


def _shape(site: Site) -> Tuple[int, ...]:
    return site.shape if site.part is None else tuple(site.part.full_shape)


def _size(shape: Tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))
