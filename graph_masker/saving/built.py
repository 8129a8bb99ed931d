"""Savers of a graph that was masked when it, and they, were built already: they save and restore masks from then on.

Of a saver that comes with a MetaGraph nothing is left in the graph but its ops, and the code that has imported it holds
the saver itself. So the ops are made to do more: all savers that run them then do.
"""

from typing import Any, Callable, List, Set, Tuple

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.files.source import CheckpointReader
from graph_masker.masker import Masker
from graph_masker.saving.guarding import save_safely
from graph_masker.saving.objects import hang_on_objects
from graph_masker.saving.savers import include_state, keys_of_state, tolerate_dense, values_of_state
from graph_masker.saving.wanted import missing_state, state_of

_KEY = "_graph_masker_built_savers"


class BuiltSavers(tf_compat.RestoreWatcher):
    """The savers of one graph: what is done to each when it is made, or, where it was made before, when it is used."""

    def __init__(self, masker: Masker) -> None:
        """Args: what masks the graph."""
        self.masker = masker
        self._known: Set[Any] = set()

    def saver_made(self, saver: Any) -> None:
        """Makes a new saver hold the pruning state."""
        if saver not in self._known:
            self._known.add(saver)
            include_state(saver, self.masker)
            tolerate_dense(saver, self.masker)
            save_safely(saver)

    def saver_used(self, saver: Any) -> None:
        """Makes a saver whose ops are older than the masks restore checkpoints that lack them."""
        if saver not in self._known:
            self._known.add(saver)
            _tolerate_dense(saver, self)
            save_safely(saver)

    def checkpoint_used(self, checkpoint: Any, name: str, path: Any) -> None:
        """Makes a tf.train.Checkpoint hold the pruning state."""
        hang_on_objects(checkpoint, self.masker, name, path)


def extend_built_savers(masker: Masker) -> None:
    """Makes all savers of a graph save and restore the pruning state of what they save, as `include_state` does it.

    They restore checkpoints that lack it, too; masks then start at one. Savers that are made later do the same.
    """
    graph, state = masker.graph, state_of(masker)
    variables = {variable.op.name: variable for variable in masker.state_variables}
    for saves in _by_saver(tf_compat.save_ops(graph)):
        for number, missing in missing_state([save.variables for save in saves], state):
            save = saves[number]
            names, parts = [item.key for item in missing], [item.part for item in missing]
            restores = {
                restore.group: restore
                for item in masker.masked_variables
                if item.site.variable in save.variables
                for restore in tf_compat.restore_ops(item.weight, set().union(*(item.sources for item in saves)))
            }
            tensors = [graph.get_tensor_by_name(item.value) for item in missing]
            if not tf_compat.replace_save(save, names, parts, tensors):
                tf.logging.warning(
                    "graph_masker: '%s' saves weights under names that are no constants, and so saves no masks; save "
                    "with a tf.train.Saver made after mask_graph",
                    save.op.name,
                )
                continue
            for restore in restores.values():
                tf_compat.restore_with(restore, names, parts, [variables[item.name] for item in missing])
    watcher = vars(graph).get(_KEY)
    if watcher is None:
        watcher = vars(graph)[_KEY] = BuiltSavers(masker)
        tf_compat.watch_restoring(graph, watcher)
    watcher.masker = masker


def _by_saver(saves: List[tf_compat.SaveOp]) -> List[List[tf_compat.SaveOp]]:
    """Puts those together whose files' names are made by the same ops."""
    found: List[Tuple[List[tf_compat.SaveOp], Set[Any]]] = []
    for save in saves:
        together, sources = [save], set(save.sources)
        for item in [item for item in found if item[1] & save.sources]:
            found.remove(item)
            together, sources = [*item[0], *together], sources | item[1]
        found.append((together, sources))
    return [item[0] for item in found]


def _tolerate_dense(saver: Any, savers: BuiltSavers) -> None:
    """Lets a saver that is known by its ops alone restore a checkpoint that lacks pruning state."""

    def restoring(original: Callable[..., Any]) -> Callable[..., Any]:
        def restore(sess: Any, save_path: Any) -> Any:
            if save_path is None or not tf.train.checkpoint_exists(str(save_path)):
                return original(sess, save_path)
            masker = savers.masker
            restore_op, filename = tf_compat.saver_ops(saver)
            every = {variable.op.name: variable for variable in masker.state_variables}
            restored = tf_compat.restored_by(masker.graph.get_operation_by_name(restore_op), every)
            state = {name: every[name] for name in restored}
            asked = {name: tf_compat.saved_name(variable) for name, variable in state.items()}
            reader = CheckpointReader(str(save_path))
            keys = keys_of_state(masker, state, asked, reader) if state else {}
            if keys == asked:
                return original(sess, save_path)
            # What is fed is not read.
            values = values_of_state(sess, masker.graph, reader, state, keys)
            sess.run(restore_op, {filename: save_path, **{restored[name]: value for name, value in values}})
            return None

        return restore

    tf_compat.replace_method(saver, "restore", restoring)
