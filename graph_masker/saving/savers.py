"""Makes every saver of a model hold the pruning state, and restore checkpoints that were written without it."""

from typing import Any, Callable, Dict, Iterator, List, Mapping, Sequence, Set, Tuple

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.errors import SourceError
from graph_masker.files.source import CheckpointReader
from graph_masker.masker import Masker
from graph_masker.naming import mask_keys, threshold_of

_LOADED_AT_ONCE = 256 * 2**20


def include_state(saver: Any, masker: Masker) -> None:
    """Adds to a built saver the pruning state that belongs to the weights it saves (`state_beside`). In place.

    A saver that is not built yet takes in all variables when it is; one that saves none of the masked weights
    stays as it is.
    """
    if not tf_compat.saver_is_built(saver):
        return
    saved = _op_names(tf_compat.saver_variables(saver))
    missing = [variable for variable in state_beside(saved, masker) if variable.op.name not in saved]
    if missing or tf_compat.saver_holds_copies(saver):
        tf_compat.extend_saver(saver, missing)


def state_beside(saved: Set[str], masker: Masker) -> List[Any]:
    """Returns the variables of pruning state that are to be saved with some variables: masks and thresholds of theirs.

    What counts steps goes with the global step: the last update's step, and what criteria add up between updates. Who
    saves without it fetches weights to start anew from; with a step that lies ahead, no update would be due for long.

    Args:
        saved: names of the variables that are saved.
        masker: of their graph.
    """
    items = [item for item in masker.masked_variables if item.site.variable in saved]
    step = tf_compat.global_step(masker.graph)
    if step is not None and step.op.name not in saved:
        return [variable for item in items for variable in (item.mask, item.threshold)]
    own = [variable for item in items for variable in masker.state_of(item)]
    return list(dict.fromkeys([*own, *(masker.shared_state if items else ())]))


def tolerate_dense(saver: Any, masker: Masker) -> None:
    """Lets a saver restore a checkpoint that lacks pruning state: masks then start at one.

    What the checkpoint lacks is logged as a warning. Everything else must be there, as ever.
    """

    def restoring(original: Callable[..., Any]) -> Callable[..., Any]:
        def restore(sess: Any, save_path: Any) -> Any:
            # What is not a variable has ops of its own to restore it: all is then restored as it would be without us.
            if not tf_compat.saver_has_only_variables(saver):
                return original(sess, save_path)
            asked = {variable.op.name: key for key, variable in tf_compat.saver_entries(saver)}
            # A saver of some other part of the model has no pruning state to miss.
            state = {item.op.name: item for item in masker.state_variables if item.op.name in asked}
            if not state:
                return original(sess, save_path)
            reader = CheckpointReader(str(save_path))
            keys = keys_of_state(masker, state, asked, reader)
            if all(keys.get(name) == asked[name] for name in state):
                return original(sess, save_path)
            _load_dense(sess, saver, reader, set(state))
            for name, value in values_of_state(sess, masker.graph, reader, state, keys):
                tf_compat.load_variable(sess, state[name], value)
            return None

        return restore

    tf_compat.replace_method(saver, "restore", restoring)


def _op_names(variables: Sequence[Any]) -> Set[str]:
    return {variable.op.name for variable in variables if getattr(variable, "op", None) is not None}


def keys_of_state(
    masker: Masker, state: Mapping[str, Any], asked: Mapping[str, str], reader: CheckpointReader
) -> Dict[str, str]:
    """Returns the keys of pruning state in a checkpoint, and logs a warning of what either side lacks.

    Args:
        masker: of the graph.
        state: variables of pruning state, by name.
        asked: the key under which each is asked for.
        reader: of the checkpoint.
    """
    held = set(reader.names())
    keys = _keys(masker, state, asked, held)
    unused = {name for name in held if name.endswith("mask") and threshold_of(name) in held}
    unused -= {*state, *keys.values()}
    if unused:
        tf.logging.warning(
            "graph_masker: %s holds %s, which this graph does not apply: those weights are dense here",
            reader.prefix,
            summary_of(sorted(unused)),
        )
    absent = sorted(set(state) - set(keys))
    if absent:
        masks = {item.mask.op.name for item in masker.masked_variables}
        start = "masks start at one" if masks & set(absent) else "that starts as in a new run"
        tf.logging.warning("graph_masker: %s holds no %s; %s", reader.prefix, summary_of(absent), start)
    return keys


def _keys(masker: Masker, state: Mapping[str, Any], asked: Mapping[str, str], held: Set[str]) -> Dict[str, str]:
    """Returns, for each variable of pruning state that a checkpoint holds, the key that it has there.

    It may be another than the variable's name: training may build more in a scope than evaluation does, and the
    model may have been masked by hand.
    """
    keys: Dict[str, str] = {}
    for name, variable in state.items():
        # A dict of variables by their names knows no wholes of partitioned ones.
        for key in (asked[name], tf_compat.saved_name(variable)):
            if key in held:
                keys.setdefault(name, key)
    for item in masker.masked_variables:
        weight = tf_compat.saved_name(item.weight)
        masks = mask_keys(weight)
        for name, others in ((item.mask.op.name, masks), (item.threshold.op.name, map(threshold_of, masks))):
            found = next((other for other in others if other in held), None)
            if name in state and name not in keys and weight in held and found:
                keys[name] = found
    return keys


def _load_dense(sess: Any, saver: Any, reader: CheckpointReader, state: Set[str]) -> None:
    """Restores what a saver holds but pruning state, by running initializers on the checkpoint's values.

    A saver of its own would do the same with ops that every training graph had to carry.

    Raises:
        tf.errors.NotFoundError: the checkpoint lacks a tensor, as a saver says it.
    """
    held = set(reader.names())
    feed: Dict[Any, Any] = {}
    initializers: List[Any] = []
    size = 0
    for key, variable in tf_compat.saver_entries(saver):
        if variable.op.name in state:
            continue
        if key not in held:
            raise tf.errors.NotFoundError(None, None, f"Key {key} not found in checkpoint {reader.prefix}")
        value = _value(reader, key, variable)
        if variable.shape.is_fully_defined() and tf_compat.saver_reshapes(saver):
            value = value.reshape(variable.shape.as_list())
        for copy in tf_compat.copies_of(tf_compat.whole_of(variable)):
            initializer = tf_compat.initializer_of(copy)
            feed[initializer.inputs[1]] = value
            initializers.append(initializer)
        size += value.nbytes
        if size > _LOADED_AT_ONCE:
            sess.run(initializers, feed)
            feed, initializers, size = {}, [], 0
    sess.run(initializers, feed)


def _value(reader: CheckpointReader, key: str, variable: Any) -> Any:
    part = tf_compat.part_of(variable)
    return reader.part(key, part) if part else reader.tensor(key)


def values_of_state(
    sess: Any, graph: Any, reader: CheckpointReader, state: Mapping[str, Any], keys: Mapping[str, str]
) -> Iterator[Tuple[str, Any]]:
    """Yields names and values of pruning state: those of a checkpoint, or what it starts from where there is none.

    Args:
        sess: a session of the graph.
        graph: of the variables.
        reader: of the checkpoint.
        state: variables, by name.
        keys: of those that the checkpoint holds, by name.

    Raises:
        SourceError: a value in the checkpoint has another shape.
    """
    for name, variable in state.items():
        if name not in keys:
            # Not its initializer's value: a warm start may have changed that.
            yield name, sess.run(tf_compat.first_value(graph, variable))
            continue
        value = _value(reader, keys[name], variable)
        if list(value.shape) != variable.shape.as_list():
            raise SourceError(
                f"{reader.prefix}: expected '{keys[name]}' of shape {variable.shape.as_list()}, "
                f"found {list(value.shape)}"
            )
        yield name, value


def summary_of(names: Sequence[str]) -> str:
    """Returns the first few of some names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
