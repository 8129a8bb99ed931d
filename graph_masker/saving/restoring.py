"""Whatever saves, restores or initializes a masked graph, when ever it is made, takes care of the pruning state."""

import contextlib
from typing import Any, Iterable, Iterator, List, Mapping, Optional

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.masker import Masker
from graph_masker.saving.guarding import save_safely
from graph_masker.saving.objects import hang_on_objects
from graph_masker.saving.savers import include_state, tolerate_dense
from graph_masker.saving.starts import Starts


class Restoring(tf_compat.RestoreWatcher):
    """What happens to the savers, warm starts and init ops of one graph."""

    def __init__(self, masker: Masker, protects: bool = False) -> None:
        """Args: what masks the graph; and whether savers are to save safely (see `saving`), as training does."""
        self._masker = masker
        self._protects = protects
        self._starts = Starts(masker)
        # Savers that were made before the graph was masked for good; after that None.
        self._waiting: Optional[List[Any]] = []

    @contextlib.contextmanager
    def building(self) -> Iterator[None]:
        """Makes the ops that restore masks quickly."""
        with tf_compat.quick_restores(self._masker.graph, self._masker.is_state):
            yield

    def saver_made(self, saver: Any) -> None:
        """Gives a saver the pruning state, at once or when the graph is masked for good."""
        if self._waiting is not None:
            self._waiting.append(saver)
        else:
            self._give_state(saver)

    def checkpoint_used(self, checkpoint: Any, name: str, path: Any) -> None:
        """Makes a tf.train.Checkpoint hold the pruning state."""
        hang_on_objects(checkpoint, self._masker, name, path)

    @contextlib.contextmanager
    def starting(self, prefix: str, assignments: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        """Makes masks start from where their weights do."""
        with self._starts.starting(prefix, assignments) as kept:
            yield kept

    def settle(self, savers: Iterable[Any]) -> None:
        """Called when the graph is masked for good: gives the pruning state to all savers, and to those made later.

        Args:
            savers: any that were made out of sight.
        """
        waiting, self._waiting = self._waiting or [], None
        for saver in dict.fromkeys([*waiting, *savers]):
            self._give_state(saver)
        self._starts.follow()

    def _give_state(self, saver: Any) -> None:
        include_state(saver, self._masker)
        tolerate_dense(saver, self._masker)
        if self._protects and isinstance(saver, tf.train.Saver):
            save_safely(saver)

    def initialize_by(self, scaffold: Any) -> Any:
        """Makes the init op of a Scaffold, or else of the graph's collection, initialize pruning state too.

        It may have been built before there were masks, or before their initializers read a checkpoint.

        Returns:
            the Scaffold.
        """
        given = getattr(scaffold, "init_op", None)
        collection = self._masker.graph.get_collection_ref(tf.GraphKeys.INIT_OP)
        if given is not None:
            tf_compat.set_init_op(scaffold, self._completed(given))
        elif len(collection) == 1 and collection[0] is not None:
            collection[0] = self._completed(collection[0])
        return scaffold

    def _completed(self, init_op: Any) -> Any:
        self._starts.follow()
        graph, run = self._masker.graph, tf_compat.ops_run_by(init_op)
        initializers = {item: tf_compat.initializer_of(item) for item in self._masker.state_variables}
        missing = [item for item, initializer in initializers.items() if initializer not in run]
        if not missing:
            return init_op
        with contextlib.ExitStack() as stack:
            stack.enter_context(graph.as_default())
            stack.enter_context(graph.control_dependencies(None))
            stack.enter_context(graph.name_scope("model_pruning/"))
            stack.enter_context(graph.control_dependencies(tf.nest.flatten(init_op)))
            assigned = [item.assign(initializers[item].inputs[1], read_value=False) for item in missing]
            return tf.group(*assigned, name="init_with_masks")
