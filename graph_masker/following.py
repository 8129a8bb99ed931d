"""One graph that is masked while it is being built, run and built on."""

import contextlib
from typing import Any, Callable, Iterator, List, Sequence, Set

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.attaching import hang_update, initialize_with_weights
from graph_masker.errors import UsageError
from graph_masker.masker import Masker
from graph_masker.plan import MaskPlan
from graph_masker.restoring import Restoring
from graph_masker.savers import include_state, tolerate_dense
from graph_masker.spec import PruningSpec
from graph_masker.trainers import Hook, hooks_of, trains
from rewriters import Rule

# Ops that neither compute with a weight nor train it: a graph that has grown by nothing else needs no second look.
_OF_NO_ACCOUNT = frozenset(
    (
        "Const",
        "Placeholder",
        "NoOp",
        "Identity",
        "VarHandleOp",
        "VariableV2",
        "Assign",
        "AssignVariableOp",
        "ReadVariableOp",
        "IsVariableInitialized",
        "VarIsInitializedOp",
        "SaveV2",
        "RestoreV2",
        "MergeV2Checkpoints",
        "ShardedFilename",
        "MergeSummary",
        "ScalarSummary",
    )
)


class Following:
    """Keeps one graph masked: each call of `complete` makes good what has been built since the last one.

    Attributes:
        masker: of the graph.
        watcher: what is to see its gradients.
        owner: what follows it.
    """

    def __init__(
        self, graph: Any, spec: PruningSpec, rules: Sequence[Rule], seen: int, complete: Callable[[], None], owner: Any
    ) -> None:
        """Starts.

        Args:
            graph: the graph.
            spec: what to mask, and when.
            rules: what is known of op types.
            seen: number of the last op that a session may have run.
            complete: called before a saver of the graph is used.
            owner: what follows the graph.
        """
        self.owner = owner
        self.masker = Masker(graph, spec, rules)
        self.watcher = self.masker.watcher()
        self._savers = _Savers(self.masker, complete)
        self._graph = graph
        self._first_seen = self._seen = seen
        self._known = 0
        self._hooks: Set[Any] = set()
        self._is_strict = False
        self._updated: Set[str] = set()
        self._checked: Set[str] = set()
        tf_compat.watch_restoring(graph, self._savers)

    @property
    def plan(self) -> MaskPlan:
        """All sites and skips so far."""
        return self.masker.plan

    @property
    def has_gradients(self) -> bool:
        """Whether gradients were asked for."""
        return self.masker.has_gradients

    @property
    def is_training(self) -> bool:
        """Whether a train op runs the update."""
        return bool(self._hooks)

    def complete(self, is_last: bool = False) -> bool:
        """Masks, and prepares for training, saving and restoring, what the graph holds by now.

        Args:
            is_last: nothing is looked at after this; where the graph trains, patterns must all have matched.

        Returns:
            whether there was anything new.

        Raises:
            GraphMaskerError: the graph cannot be masked, or not be trained so that masks are updated.
        """
        newest = tf_compat.newest_number(self._graph)
        # A graph that has run before and did not grow is none of ours.
        if self._graph.finalized or newest == self._first_seen or (newest == self._known and not is_last):
            return False
        fresh = tf_compat.ops_from(self._graph, self._known)
        with self._outside():
            if is_last or any(op.type not in _OF_NO_ACCOUNT for op in fresh):
                strict = self._is_strict or (self.has_gradients and (is_last or trains(self._graph)))
                self.masker.mask(losses=self.watcher.asked, strict=strict)
                self._check_unseen()
                self._attach()
            if self.masker.masks:
                self._savers.give_state()
                tf_compat.track_in_keras(list(self.masker.state_variables))
                initialize_with_weights(self.masker, self._seen)
        self._known = tf_compat.newest_number(self._graph)
        return True

    def note_run(self) -> None:
        """Called when a session takes in the graph as it is: ops that it has can be changed no more."""
        self._seen = tf_compat.newest_number(self._graph)

    @contextlib.contextmanager
    def _outside(self) -> Iterator[None]:
        with self._graph.as_default(), self._graph.control_dependencies(None), self._graph.name_scope(None):
            yield

    def _check_unseen(self) -> None:
        """Checks that no session has taken in, before it was masked, what has been masked since the last call."""
        fresh = [site for site in self.plan.sites if site.variable not in self._checked]
        self._checked.update(site.variable for site in fresh)
        for site in fresh:
            for consumer in site.consumers:
                if tf_compat.number_of(self._graph.get_operation_by_name(consumer.op)) <= self._seen:
                    raise UsageError(
                        f"{site.variable}: expected a graph that no session has run, but '{consumer.op}' can have run "
                        "already, and then stays unmasked; open graph_masker.masking() before the model is built, or "
                        "at least before its first session"
                    )

    def _attach(self) -> None:
        if not self.has_gradients:
            return
        weights = [item.weight for item in self.masker.masked_variables]
        hooks = hooks_of(self._graph, weights, self.masker.gradient_ops)
        for hook in hooks:
            if hook.op in self._hooks:
                continue
            if tf_compat.number_of(hook.op) <= self._seen:
                raise UsageError(
                    f"{hook.op.name}: this train op can have run before masking was on; open graph_masker.masking() "
                    "before it is made"
                )
            self._hang(hook)
        if not hooks and weights and trains(self._graph):
            raise UsageError(
                "masking: the graph has ops of an optimizer, but none of them writes a masked weight, so that masks "
                "would never be updated; train within the graph, not in function bodies"
            )
        self._is_strict = self._is_strict or bool(hooks)
        late = sorted(set(self.masker.masks) - self._updated) if self._hooks else []
        if late:
            raise UsageError(
                f"{late[0]}: this weight was built after the train op had run, whose mask update does not know it; "
                "build the whole model before the first run of the train op"
            )

    def _hang(self, hook: Hook) -> None:
        """Makes an op wait for an update, which waits for all that the op waits for."""
        hang_update(self.masker, hook)
        self._hooks.add(hook.op)
        self._updated = set(self.masker.masks)


class _Savers(Restoring):
    """The savers of a graph: all of them take in masks as those come into being."""

    def __init__(self, masker: Masker, complete: Callable[[], None]) -> None:
        super().__init__(masker)
        self._complete = complete
        self._made: List[Any] = []
        self.settle(())

    def saver_made(self, saver: Any) -> None:
        """Takes a saver under care: before it saves or restores, the graph is made complete."""
        self._made.append(saver)
        tolerate_dense(saver, self._masker)
        for name in ("save", "restore"):
            tf_compat.replace_method(saver, name, self._completing)

    def _completing(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def completing(*args: Any, **kwargs: Any) -> Any:
            self._complete()
            return original(*args, **kwargs)

        return completing

    def give_state(self) -> None:
        """Gives the pruning state to every saver that lacks some of it."""
        for saver in self._masker.graph.get_collection(tf.GraphKeys.SAVERS):
            if isinstance(saver, tf.train.Saver) and saver not in self._made:
                self.saver_made(saver)
        for saver in self._made:
            include_state(saver, self._masker)
        self._starts.follow()


@contextlib.contextmanager
def weights_folded(masker: Masker, session: Any) -> Iterator[None]:
    """While open, the weights of a session hold their masked values; afterwards they are what they were."""
    raw = fold_into_weights(masker, session)
    try:
        yield
    finally:
        for item, value in zip(masker.masked_variables, raw):
            tf_compat.load_variable(session, item.weight, value)


def fold_into_weights(masker: Masker, session: Any) -> List[Any]:
    """Multiplies the masks into the weights of a session; returns what the weights were."""
    items = masker.masked_variables
    products = [masker.graph.get_tensor_by_name(f"{item.site.masked_weight}:0") for item in items]
    raw, folded = session.run([[tf_compat.read_of(item.weight) for item in items], products])
    for item, value in zip(items, folded):
        tf_compat.load_variable(session, item.weight, value)
    return list(raw)
