"""tf.train.Checkpoint: the pruning state hangs on it, beside the objects that it saves."""

from typing import Any, List, Sequence, Set

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.files.source import CheckpointReader
from graph_masker.masker import Masker
from graph_masker.saving.savers import state_beside, summary_of

# The attribute below which it hangs; in files the first part of its keys.
_NAME = "graph_masker"

_TOLD = "_graph_masker_told"


def hang_on_objects(checkpoint: Any, masker: Masker, name: str, path: Any) -> None:
    """Makes a tf.train.Checkpoint hold the pruning state of the weights it holds (`savers.state_beside`).

    Args:
        checkpoint: which.
        masker: of the graph.
        name: ``save`` or ``restore``: what it is about to do.
        path: prefix of its file; None restores nothing.
    """
    saved = {variable.op.name for variable in tf_compat.variables_of_checkpoint(checkpoint)}
    state = state_beside(saved, masker)
    if name == "restore":
        # It is asked more than once what it lacks, and says it once.
        state = _held(state, path, vars(checkpoint).setdefault(_TOLD, set()))
    if state:
        tf_compat.track_in_checkpoint(checkpoint, _NAME, state)


def _held(state: Sequence[Any], path: Any, told: Set[str]) -> List[Any]:
    """Returns what a file holds of the pruning state; the rest must not count among what has to be there.

    That there is a rest is logged as a warning: masks then start at one.
    """
    if path is None or not tf.train.checkpoint_exists(str(path)):
        return []
    held = set(CheckpointReader(str(path)).names())
    # A Saver's file is restored by the variables' own names.
    found = [item for item in state if held & {tf_compat.key_in_checkpoint(_NAME, item), item.op.name}]
    absent = sorted({item.op.name for item in state} - {item.op.name for item in found} - told)
    told.update(absent)
    if absent:
        tf.logging.warning("graph_masker: %s holds no %s; they start as in a new run", path, summary_of(absent))
    return found
