"""tf.train.Checkpoint: it saves Python objects, and the variables that hang on them, by the names of attributes."""

from typing import Any, List, Sequence

import tensorflow.compat.v1 as tf
from tensorflow.python.saved_model import save as saved_model_save
from tensorflow.python.training.tracking import graph_view, tracking, util

# That of TensorFlow 1 and that of TensorFlow 2.
CHECKPOINTS = (util.CheckpointV1, util.Checkpoint)

# What `restore` returns has these, which run or check what is to be restored.
STATUS_METHODS = (
    "assert_consumed",
    "assert_existing_objects_matched",
    "assert_nontrivial_match",
    "run_restore_ops",
    "initialize_or_restore",
)

# What tf.saved_model.save sees of the object that it saves.
SAVED_VIEW = saved_model_save._AugmentedGraphView


def variables_of_checkpoint(checkpoint: Any) -> List[Any]:
    """Returns the variables that a tf.train.Checkpoint saves."""
    return [item for item in util.list_objects(checkpoint) if isinstance(item, tf.Variable)]


def track_in_checkpoint(checkpoint: Any, name: str, variables: Sequence[Any]) -> None:
    """Makes a tf.train.Checkpoint hold further variables, below an attribute that it has for them."""
    holder = checkpoint._lookup_dependency(name)
    if holder is None:
        holder = tracking.AutoTrackable()
        checkpoint._track_trackable(holder, name)
    for variable in variables:
        holder._track_trackable(variable, variable.op.name, overwrite=True)


def key_in_checkpoint(name: str, variable: Any) -> str:
    """Returns the key of a variable that `track_in_checkpoint` has made a checkpoint hold."""
    return f"{name}/{graph_view._escape_local_name(variable.op.name)}/.ATTRIBUTES/VARIABLE_VALUE"
