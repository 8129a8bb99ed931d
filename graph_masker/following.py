"""One graph that is masked while it is being built, run and built on."""

import contextlib
import functools
import inspect
from typing import Any, Callable, Iterator, List, Optional, Set, Tuple

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.attaching import hang_update, initialize_with_weights
from graph_masker.errors import UsageError
from graph_masker.masker import Masker
from graph_masker.missing import Missing
from graph_masker.plan import MaskPlan
from graph_masker.saving.guarding import save_safely
from graph_masker.saving.restoring import Restoring
from graph_masker.saving.savers import include_state, tolerate_dense
from graph_masker.trainers import Hook, hooks_of, trains, written_by_training

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


# Called with "save" or "restore" and a saver's path.
BeforeCheckpoint = Callable[[str, Any], None]

_USES = {name: inspect.signature(getattr(tf.train.Saver, name)) for name in ("save", "restore")}


class Following:
    """Keeps one graph masked: each call of `complete` makes good what has been built since the last one.

    Attributes:
        masker: of the graph.
        watcher: what is to see its gradients.
        owner: what follows it.
        told: mode and number of sites that the owner has told of; None before it has.
    """

    def __init__(
        self,
        masker: Masker,
        seen: int,
        before_checkpoint: BeforeCheckpoint,
        owner: Any,
        has_update: Callable[[], bool],
    ) -> None:
        """Starts.

        Args:
            masker: of the graph.
            seen: number of the last op that a session may have run.
            before_checkpoint: called before a saver of the graph is used; it is to complete the graph.
            owner: what follows the graph.
            has_update: tells whether the graph's train op is to update masks in this process.
        """
        self.owner = owner
        self._has_update = has_update
        self.told: Optional[Tuple[str, int]] = None
        self.masker = masker
        self.watcher = masker.watcher()
        self._savers = _Savers(masker, before_checkpoint)
        self._graph = graph = masker.graph
        self._first_seen = self._seen = seen
        self._known = 0
        self._hooks: Set[Any] = set()
        self._is_strict = False
        self._updated: Set[str] = set()
        self._checked: Set[str] = set()
        self._missing = Missing(self.masker)
        tf_compat.watch_restoring(graph, self._savers)
        tf_compat.watch_runs(graph, self._missing.before_run)

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
        """Whether a train op runs the update, here or in the chief."""
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
        fresh = [weight for weight in weights if weight.op.name not in self._updated] if self._hooks else []
        # What nothing trains, such as a model that is loaded to predict, needs no update.
        late = sorted(written_by_training(fresh, self.masker.gradient_ops))
        if late:
            raise UsageError(
                f"{late[0]}: this weight was built after the train op had run, whose mask update does not know it; "
                "build the whole model before the first run of the train op"
            )

    def _hang(self, hook: Hook) -> None:
        """Makes an op wait for an update, which waits for all that the op waits for, unless another process has it."""
        if self._has_update():
            # What was there at the last look has an update of its own, as a train op for another phase has.
            apart = [self._graph.get_operation_by_name(name) for name in hook.apart]
            fresh = tuple(op.name for op in apart if tf_compat.number_of(op) > self._known)
            hang_update(self.masker, hook._replace(apart=fresh))
            self._missing.expect(hook)
        self._hooks.add(hook.op)
        self._updated = set(self.masker.masks)


class _Savers(Restoring):
    """The savers of a graph: all of them take in masks as those come into being."""

    def __init__(self, masker: Masker, before: BeforeCheckpoint) -> None:
        super().__init__(masker)
        self._before = before
        self._made: List[Any] = []
        self.settle(())

    def saver_made(self, saver: Any) -> None:
        """Takes a saver under care: before it saves or restores, the graph is made complete."""
        self._made.append(saver)
        tolerate_dense(saver, self._masker)
        save_safely(saver)
        for name, signature in _USES.items():
            tf_compat.replace_method(saver, name, functools.partial(self._told_before, saver, name, signature))

    def checkpoint_used(self, checkpoint: Any, name: str, path: Any) -> None:
        """Makes the graph complete before a tf.train.Checkpoint takes in its pruning state."""
        self._before(name, path)
        super().checkpoint_used(checkpoint, name, path)

    def _told_before(
        self, saver: Any, name: str, signature: inspect.Signature, original: Callable[..., Any]
    ) -> Callable[..., Any]:
        def use(*args: Any, **kwargs: Any) -> Any:
            self._before(name, signature.bind_partial(saver, *args, **kwargs).arguments.get("save_path"))
            return original(*args, **kwargs)

        return use

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
