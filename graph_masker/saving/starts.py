"""Masks follow their weights: where a weight starts from a checkpoint's, its mask starts from that checkpoint's."""

import contextlib
from typing import Any, Dict, Iterator, List, Mapping, Optional

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.accumulators import accumulator_of, criterion_of
from graph_masker.files.source import CheckpointReader
from graph_masker.masker import Masker
from graph_masker.naming import mask_keys, threshold_of
from graph_masker.saving.savers import summary_of
from graph_masker.tf_compat import Start


class Starts:
    """What the initializers of one graph's pruning state read.

    A mask and its threshold follow their weight. What counts steps follows the global step, as in savers. A variable
    that was asked for by name keeps what it was given.
    """

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._followed: Dict[str, Start] = {}
        self._readers: Dict[str, CheckpointReader] = {}

    @contextlib.contextmanager
    def starting(self, prefix: str, assignments: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """See `tf_compat.RestoreWatcher.starting`: asks for no pruning state that the checkpoint lacks."""
        state = {variable.op.name: variable for variable in self._masker.state_variables}
        held = set(self._reader(prefix).names())
        kept: Dict[str, Any] = {}
        absent: List[str] = []
        for key, target in assignments.items():
            target = state.get(target, target) if isinstance(target, str) else target
            variables = target if isinstance(target, (list, tuple)) else [target]
            if key not in held and all(getattr(getattr(item, "op", None), "name", "") in state for item in variables):
                absent.append(key)
            else:
                kept[key] = target
        if absent:
            tf.logging.warning(
                "graph_masker: %s holds no %s, which it was asked for; masks follow their weights",
                prefix,
                summary_of(sorted(absent)),
            )
        with tf_compat.hidden_from_scopes(set(state) - held):
            yield kept
        self.follow()

    def follow(self) -> None:
        """Makes all pruning state start from where its weight does, or the global step."""
        step = tf_compat.global_step(self._masker.graph)
        counted = None if step is None else tf_compat.start_of(step)
        from_masked = 0
        for item in self._masker.masked_variables:
            start = tf_compat.start_of(item.weight)
            mask = None if start is None else self._mask_of(start)
            from_masked += mask is not None
            self._set(item.mask, mask)
            self._set(item.threshold, None if mask is None else Start(mask.prefix, threshold_of(mask.key), ""))
            accumulator = self._masker.accumulators.variables.get(item.site.variable)
            if accumulator is not None:
                name = None
                if mask is not None and counted is not None and mask.prefix == counted.prefix:
                    name = accumulator_of(mask.key, criterion_of(item.site).name)
                self._set(accumulator, self._held(mask, name))
        for variable in self._masker.shared_state:
            self._set(variable, self._held(counted, variable.op.name))
        if from_masked:
            tf.logging.info("graph_masker: %d weights start with the masks of their checkpoint", from_masked)

    def _held(self, beside: Optional[Start], key: Optional[str]) -> Optional[Start]:
        """Returns the start from a key of the same checkpoint; None where it has none."""
        if beside is None or key is None or key not in self._reader(beside.prefix).names():
            return None
        return Start(beside.prefix, key, beside.part)

    def _mask_of(self, weight: Start) -> Optional[Start]:
        """Returns where the mask of a weight is, in the weight's checkpoint; None where that has none.

        Beside the name of the weight that of its owner is tried, for a weight that starts from its moving average.
        """
        reader = self._reader(weight.prefix)
        held = set(reader.names())
        for name in (weight.key, weight.key.rpartition("/")[0]):
            for mask in mask_keys(name):
                if mask in held and threshold_of(mask) in held and reader.shape(mask) == reader.shape(weight.key):
                    return Start(weight.prefix, mask, weight.part)
        return None

    def _set(self, variable: Any, start: Optional[Start]) -> None:
        name, graph = variable.op.name, self._masker.graph
        current = tf_compat.start_of(variable)
        # What differs from what was set here, somebody else has asked for.
        if current == start or current != self._followed.get(name):
            return
        if start is None:
            tf_compat.start_as_made(graph, variable)
            del self._followed[name]
        else:
            tf_compat.start_from(graph, variable, start)
            self._followed[name] = start

    def _reader(self, prefix: str) -> CheckpointReader:
        if prefix not in self._readers:
            self._readers[prefix] = CheckpointReader(prefix)
        return self._readers[prefix]
