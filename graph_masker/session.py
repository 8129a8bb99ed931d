"""masking(): whatever TensorFlow graph is built and trained inside, made prunable."""

import contextlib
import threading
import weakref
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Set, Tuple

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.claims import is_claimed
from graph_masker.errors import PlanError, UsageError
from graph_masker.following import Following, fold_into_weights, weights_folded
from graph_masker.masker import Masker
from graph_masker.plan import MaskPlan
from graph_masker.spec import PruningSpec
from graph_masker.telling import PlanCallback, tell
from graph_masker.trainers import trains
from rewriters import DEFAULT_RULES, Rule

# Called with the plan of a graph, "save" or "restore", and the path that a saver is given.
CheckpointCallback = Callable[[MaskPlan, str, str], None]

_KEY = "_graph_masker_following"
_OPEN: List["Masking"] = []


@contextlib.contextmanager
def masking(
    spec: PruningSpec,
    rules: Sequence[Rule] = DEFAULT_RULES,
    on_plan: Optional[PlanCallback] = None,
    required: bool = True,
    updates: Optional[bool] = None,
) -> Iterator["Masking"]:
    """While open, every graph that asks for gradients or is run is masked, and its train op updates the masks.

    That holds for sessions, `MonitoredTrainingSession`, `Supervisor`, tf-slim and `tf.keras` in graph mode. A graph is
    masked before its gradients are built, before a session takes it in, before it is finalized, and when the context
    is left. The scheduled update is made part of the model's own train op. Its step is the global step, the variable
    given to `minimize`, or the `iterations` of a Keras optimizer; a graph that counts none gets a counter of its own,
    ``model_pruning/step``. Savers hold the pruning state, and restore checkpoints that lack it.

    Graphs that `auto_mask` or `mask_graph` mask are left to those.

    Of workers that share variables on parameter servers the chief alone updates the masks. Which process that is,
    `MonitoredTrainingSession` and `Supervisor` are told by `is_chief`, and others by TF_CONFIG.

    Args:
        spec: how sparse, when, and which weights.
        rules: what is known of op types.
        on_plan: called with the plan, "train" or "infer", and None, when a graph's plan is settled or has changed.
        required: whether it is an error if a graph that trains has nothing to mask, or if nothing at all has been
            masked in the end.
        updates: whether this process updates masks; None: unless it is found to be a worker, as said above.

    Yields:
        what masks: `plan`, `update_op` and `masks` of the first graph that had something to mask.

    Raises:
        UsageError: `spec` is no PruningSpec, TensorFlow executes eagerly, the default graph is finalized or trains
            already, or masking is on already.
        PlanError: nothing was masked, or a pattern matches nothing.
    """
    if not isinstance(spec, PruningSpec):
        raise UsageError(f"masking: expected a PruningSpec, found {type(spec).__name__}")
    if _OPEN:
        raise UsageError("masking: it is on already; give one spec for all, with a rule for each model")
    if tf.executing_eagerly():
        raise UsageError(
            "masking: TensorFlow executes eagerly here; masks need a graph, so call it in one, such as within "
            "tf.Graph().as_default()"
        )
    graph = tf.get_default_graph()
    if graph.finalized:
        raise UsageError(
            "masking: the default graph is finalized, so that nothing can be added; open masking before that"
        )
    if is_claimed(graph):
        raise UsageError("masking: the default graph is masked already, by auto_mask or mask_graph")
    current = Masking(spec, rules, on_plan, required, updates=updates)
    current.adopt(graph)
    with current.opened():
        yield current
        current.finish()


class Masking:
    """All graphs that one `masking()` masks."""

    def __init__(
        self,
        spec: PruningSpec,
        rules: Sequence[Rule],
        on_plan: Optional[PlanCallback],
        required: bool,
        on_checkpoint: Optional[CheckpointCallback] = None,
        updates: Optional[bool] = None,
    ) -> None:
        """Args: see `masking`; and what is called before a graph that trains is saved or restored."""
        self.spec = spec
        self._rules = tuple(rules)
        self._on_plan = on_plan
        self._required = required
        self._on_checkpoint = on_checkpoint
        self._updates = updates
        # Graphs that a worker runs.
        self._workers: weakref.WeakSet[Any] = weakref.WeakSet()
        self._lock = threading.RLock()
        self._graphs: List[weakref.ref[Any]] = []
        self._initialized: weakref.WeakKeyDictionary[Any, Set[str]] = weakref.WeakKeyDictionary()
        self._models: weakref.WeakSet[Any] = weakref.WeakSet()
        # Of each thread: another one may build and run meanwhile.
        self._paused = threading.local()

    @property
    def maskers(self) -> Tuple[Masker, ...]:
        """The maskers of all graphs that had something to mask, in the order in which the graphs were first met."""
        return tuple(item.masker for item in self._followed() if item.masker.masks)

    @property
    def plan(self) -> MaskPlan:
        """All sites and skips of the first graph that had something to mask."""
        found = self.maskers
        return found[0].plan if found else MaskPlan((), (), self.spec)

    @property
    def update_op(self) -> Any:
        """The scheduled update, which the train op runs; None before there is one. Fetched with it, it runs once."""
        for item in self._followed():
            self._complete(item.masker.graph)
        found = self.maskers
        return found[0].update_op if found else None

    @property
    def masks(self) -> Dict[str, Any]:
        """Mask variables by the name of their weight, of the first graph that had something to mask."""
        found = self.maskers
        return found[0].masks if found else {}

    def fold_into_weights(self, session: Any) -> None:
        """Multiplies the masks into the weights that a session holds, so that what saves those saves pruned ones."""
        fold_into_weights(self._masker_of(session), session)

    def folded(self, session: Any) -> Any:
        """A context in which the weights of a session hold their masked values; afterwards they are what they were."""
        return weights_folded(self._masker_of(session), session)

    def _masker_of(self, session: Any) -> Masker:
        following = vars(session.graph).get(_KEY)
        if following is None or not following.masker.masks:
            raise UsageError("masking: the graph of this session has no mask of this masking")
        masker: Masker = following.masker
        return masker

    def adopt(self, graph: Any) -> None:
        """Takes a graph that may have been built, and run, before.

        Raises:
            UsageError: it has a train op.
        """
        built = tf_compat.newest_number(graph)
        if trains(graph):
            raise UsageError(
                "masking: the default graph has a train op already; open masking before optimizer.minimize, or give "
                "the graph to graph_masker.mask_graph"
            )
        self._follow(graph, built if built and tf_compat.sessions_of(graph) else 0)

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """While open, TensorFlow tells this of what is built and run."""
        # Before anything is wrapped: what watches savers and runs stays, and is to see a graph once it is complete.
        tf_compat.install_watchers()
        tf_compat.install_run_watcher()
        tf_compat.install_keras_saving(_saving_keras)
        with contextlib.ExitStack() as stack:
            stack.enter_context(tf_compat.around_functions(self._body_masker))
            stack.enter_context(tf_compat.around_gradients(self._watcher))
            stack.enter_context(tf_compat.around_sessions(self._before_run, self._complete))
            stack.enter_context(tf_compat.around_workers(self._found_worker))
            stack.enter_context(tf_compat.around_savers(self._follow_default))
            stack.enter_context(tf_compat.around_keras(self._models.add))
            _OPEN.append(self)
            stack.callback(_OPEN.remove, self)
            yield

    def finish(self) -> None:
        """Masks what is left to be masked.

        Raises:
            PlanError: nothing is masked anywhere, and that was required.
        """
        for item in self._followed():
            if not is_claimed(item.masker.graph):
                with self._lock:
                    item.complete(is_last=True)
                    self._report(item)
        for model in self._models:
            if not tf_compat.has_train_function(model):
                tf_compat.replace_method(model, "_make_train_function", self._reopening)
        if self._required and not self.maskers and not any(is_claimed(item.masker.graph) for item in self._followed()):
            raise PlanError(
                "masking: no graph that was built or run inside has a weight to mask; build the model inside, and see "
                "graph_masker.plan_graph for why a weight is left dense"
            )

    def _reopening(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Keras makes a model's train op when the model is first fitted, which may be after masking was left."""

        def make_train_function() -> None:
            if _OPEN:
                original()
                return
            with self.opened():
                original()
                self._complete(tf.get_default_graph())

        return make_train_function

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """While open, nothing is masked that this thread builds or runs."""
        before, self._paused.now = self._is_paused, True
        try:
            yield
        finally:
            self._paused.now = before

    @property
    def _is_paused(self) -> bool:
        return bool(getattr(self._paused, "now", False))

    def _followed(self) -> List[Following]:
        graphs = (reference() for reference in self._graphs)
        # TensorFlow empties graphs that it has made for a while, such as for a SavedModel.
        return [vars(graph)[_KEY] for graph in graphs if graph is not None and _KEY in vars(graph)]

    def _follow(self, graph: Any, seen: int = 0) -> Optional[Following]:
        if self._is_paused or tf_compat.is_body(graph) or is_claimed(graph):
            return None
        following: Optional[Following] = vars(graph).get(_KEY)
        if following is None or following.owner is not self:
            masker = Masker(graph, self.spec, self._rules, may_be_empty=not self._required)
            following = Following(
                masker, seen, lambda *used: self._before_checkpoint(graph, *used), self, lambda: self._has_update(graph)
            )
            vars(graph)[_KEY] = following
            self._graphs.append(weakref.ref(graph))
        return following

    def _found_worker(self, graph: Any) -> None:
        self._workers.add(graph)
        following = self._follow(graph) if self._updates is None else None
        if following is not None and following.masker.update_op is not None:
            raise UsageError(
                "masking: this process is a worker, not the chief, but a session has run its train op already, and "
                "with it a mask update; give masking updates=False here"
            )

    def _has_update(self, graph: Any) -> bool:
        """Tells whether train ops of a graph are to update masks in this process."""
        if self._updates is not None:
            return self._updates
        return graph not in self._workers and tf_compat.is_chief(None)

    def _follow_default(self) -> None:
        if not tf.executing_eagerly():
            self._follow(tf.get_default_graph())

    def _watcher(self, graph: Any) -> Optional[tf_compat.GradientWatcher]:
        following = self._follow(graph)
        if following is None:
            return None
        problem = tf_compat.strategy_problem()
        if problem:
            raise UsageError(f"masking: {problem}")
        return following.watcher

    def _body_masker(self, graph: Any) -> Optional[Callable[[Any, List[Any]], None]]:
        following = self._follow(graph)
        return None if following is None else following.masker.mask_body

    def _complete(self, graph: Any) -> None:
        if not _OPEN or self._is_paused:
            return
        following = self._follow(graph)
        if following is None:
            return
        with self._lock:
            if following.complete():
                self._report(following)

    def _before_checkpoint(self, graph: Any, action: str, path: Any) -> None:
        self._complete(graph)
        following = vars(graph)[_KEY]
        if self._on_checkpoint is not None and path is not None and following.is_training and not is_claimed(graph):
            self._on_checkpoint(following.plan, action, str(path))

    def _before_run(self, session: Any) -> None:
        if self._is_paused:
            return
        self._complete(session.graph)
        following = vars(session.graph).get(_KEY)
        if following is None or is_claimed(session.graph):
            return
        if tf_compat.is_local(session):
            self._initialize(session, following.masker)
        following.note_run()

    def _initialize(self, session: Any, masker: Masker) -> None:
        """Initializes what masking has added since a session last ran: its own init op may have run before."""
        done = self._initialized.setdefault(session, set())
        fresh = [variable for variable in masker.state_variables if variable.op.name not in done]
        if not fresh:
            return
        done.update(variable.op.name for variable in fresh)
        with self._lock, self.paused():
            session.run([variable.initializer for variable in fresh])

    def _report(self, item: Following) -> None:
        trains_densely = not item.masker.masks and item.has_gradients and trains(item.masker.graph)
        if not item.masker.masks and not trains_densely:
            return
        mode = "train" if item.is_training or trains_densely else "infer"
        if item.told != (mode, len(item.plan.sites)):
            item.told = (mode, len(item.plan.sites))
            tell(item.plan, mode, None, self._on_plan)


@contextlib.contextmanager
def _saving_keras() -> Iterator[None]:
    """Keras saves a model's weights and knows nothing of masks: while it does, weights are as they are masked.

    What it builds to be saved has no masks of its own, then.
    """
    following = None if tf.executing_eagerly() else vars(tf.get_default_graph()).get(_KEY)
    if following is None or not following.masker.masks:
        yield
        return
    with weights_folded(following.masker, tf_compat.keras_session()), following.owner.paused():
        yield
