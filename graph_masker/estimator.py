"""auto_mask: an unmodified model_fn, made prunable."""

import contextlib
import functools
import inspect
from typing import Any, Callable, FrozenSet, Iterable, List, Optional, Sequence, Tuple

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.errors import PlanError, UsageError
from graph_masker.masker import Masker
from graph_masker.saving.restoring import Restoring
from graph_masker.spec import PruningSpec
from graph_masker.telling import PlanCallback, tell
from rewriters import DEFAULT_RULES, Rule

ModelFn = Callable[..., Any]
_MARK = "__graph_masker__"
# What an Estimator can give to a model_fn, and what of that masking needs.
_GIVEN = ("features", "labels", "mode", "params", "config")
_NEEDED = ("mode", "config")


def auto_mask(
    model_fn: ModelFn,
    spec: PruningSpec,
    rules: Sequence[Rule] = DEFAULT_RULES,
    on_plan: Optional[PlanCallback] = None,
    required: bool = True,
) -> ModelFn:
    """Returns a model_fn whose graphs are masked, for `tf.estimator.Estimator`.

    In TRAIN the graph is masked before its gradients are built and the mask update runs with every train_op,
    after it. In EVAL and PREDICT it is masked when model_fn returns. Savers hold the pruning state in every
    mode, and restore checkpoints that were written without it.

    Args:
        model_fn: takes features and any of labels, mode, params, config; returns an EstimatorSpec.
        spec: how sparse, when, and which weights.
        rules: what is known of op types.
        on_plan: called with the plan, the mode and the RunConfig (None outside an Estimator) of each graph.
        required: whether it is an error if a graph that trains has nothing to mask.

    Raises:
        UsageError: `model_fn` is no function, `spec` is not a PruningSpec, or the model_fn is masked already.
    """
    if not callable(model_fn):
        raise UsageError(f"auto_mask: expected a model_fn, found {type(model_fn).__name__}")
    if not isinstance(spec, PruningSpec):
        raise UsageError(f"auto_mask: expected a PruningSpec, found {type(spec).__name__}")
    if is_masked(model_fn):
        raise UsageError("auto_mask: this model_fn is masked already; give it the original one")
    return _masked_function(model_fn, _Masking(model_fn, spec, rules, on_plan, required))


def is_masked(model_fn: ModelFn) -> bool:
    """Tells whether `auto_mask` made this model_fn."""
    return getattr(model_fn, _MARK, None) is not None


def auto_mask_estimator(
    estimator: Any,
    spec: PruningSpec,
    rules: Sequence[Rule] = DEFAULT_RULES,
    on_plan: Optional[PlanCallback] = None,
) -> Any:
    """Returns a copy of an Estimator (same class, directory, configuration) with its model_fn masked.

    Args: see `auto_mask`.

    Raises:
        UsageError: as `auto_mask`, or `estimator` is no Estimator.
    """
    model_fn = tf_compat.estimator_model_fn(estimator)
    if model_fn is None:
        raise UsageError(f"auto_mask_estimator: expected an Estimator, found {type(estimator).__name__}")
    return tf_compat.estimator_with(estimator, auto_mask(model_fn, spec, rules, on_plan))


def _masked_function(model_fn: ModelFn, masking: "_Masking") -> ModelFn:
    """A function, because an Estimator reads the argument names of objects off their class, past a signature."""
    signature, kept_back = _as_estimators_see_it(model_fn)

    def masked_model_fn(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        for name in kept_back:
            kwargs.pop(name, None)
        return masking.run(bound.arguments["mode"], bound.arguments["config"], args, kwargs)

    functools.update_wrapper(masked_model_fn, model_fn, updated=())
    masked_model_fn.__dict__["__signature__"] = signature
    setattr(masked_model_fn, _MARK, masking)
    return masked_model_fn


def _as_estimators_see_it(model_fn: ModelFn) -> Tuple[inspect.Signature, FrozenSet[str]]:
    """Returns a signature by which an Estimator gives all that a model_fn takes, and what the model_fn is not to get.

    An Estimator looks at plain arguments alone. So those that can only be given by keyword, as all are that follow one
    which a functools.partial has set, become plain ones. Masking needs mode and config, whether the model_fn takes them
    or not.
    """
    original = inspect.signature(model_fn)
    parameters = list(original.parameters.values())
    # What a partial has set is the model's own affair.
    already_set = getattr(inspect.unwrap(model_fn), "keywords", {})
    plain = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    by_keyword = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.name in _GIVEN and p.name not in already_set]
    taken = {p.name for p in (*plain, *by_keyword)}
    added = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in _NEEDED if name not in taken]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    kept_back = frozenset(p.name for p in added if p.name in already_set or not takes_any)
    # A parameter without default cannot follow one with: these come last among the plain ones, all optional.
    optional = [
        p.replace(kind=p.POSITIONAL_OR_KEYWORD, default=None if p.default is p.empty else p.default)
        for p in (*by_keyword, *added)
    ]
    shown = {p.name for p in optional}
    rest = [p for p in parameters if p not in plain and p.name not in shown]
    return original.replace(parameters=[*plain, *optional, *rest]), kept_back


class _Masking:
    """One model_fn and how its graphs are masked."""

    def __init__(
        self,
        model_fn: ModelFn,
        spec: PruningSpec,
        rules: Sequence[Rule],
        on_plan: Optional[PlanCallback],
        required: bool,
    ) -> None:
        self._model_fn = model_fn
        self.spec = spec
        self.rules = rules
        self.on_plan = on_plan
        self.required = required

    def run(self, mode: Any, config: Any, args: Sequence[Any], kwargs: Any) -> Any:
        if tf.executing_eagerly():
            raise UsageError("auto_mask: TensorFlow executes eagerly here; masks need a graph, as Estimators build")
        graph = tf.get_default_graph()
        if graph.finalized:
            raise UsageError("auto_mask: expected a graph that can be added to, found a finalized one; build a new one")
        problem = tf_compat.strategy_problem()
        if problem:
            raise UsageError(f"auto_mask: {problem}")
        if tf.distribute.has_strategy():
            return tf_compat.once_per_replica(
                key=self,
                start=lambda: _Run(self, graph, mode, config),
                each=lambda: self._model_fn(*args, **kwargs),
                finish=_Run.finish,
            )
        with _Run(self, graph, mode, config) as run:
            made = self._model_fn(*args, **kwargs)
        return run.finish([made])[0]


class _Run:
    """One graph of a model_fn: what is to be done around the call that builds it, or the calls for each replica."""

    def __init__(self, masking: _Masking, graph: Any, mode: Any, config: Any) -> None:
        self._masking = masking
        self._graph = graph
        self._mode = mode
        self._config = config
        self._is_training = mode == tf.estimator.ModeKeys.TRAIN
        self._masker = Masker(
            graph, masking.spec, masking.rules, trainable_only=self._is_training, may_be_empty=not masking.required
        )
        self._restoring = Restoring(self._masker, protects=self._is_training)
        self._asked: List[Any] = []
        self._stack = contextlib.ExitStack()
        tf_compat.watch_restoring(graph, self._restoring)

    def __enter__(self) -> "_Run":
        self._asked = self._stack.enter_context(self._masker.watching_gradients())
        return self

    def __exit__(self, *_: Any) -> None:
        self._stack.close()

    def finish(self, made: Sequence[Any]) -> List[Any]:
        """Masks what was built; takes what each call of the model_fn returned, and returns what it is to return."""
        graph, masker, is_training = self._graph, self._masker, self._is_training
        if not all(hasattr(item, "train_op") for item in made):
            return list(made)  # An Estimator says what it expected.
        if graph.finalized:
            raise UsageError(
                "auto_mask: the model_fn has finalized its graph, as a MonitoredSession does, so that no mask can be "
                "added; open sessions in hooks, or in a graph of their own"
            )
        if is_training and not masker.has_gradients:
            raise PlanError(
                "the model_fn asked for no gradients in TRAIN mode, so that its weights cannot be pruned; build the "
                "loss's gradients inside model_fn (optimizer.minimize)"
            )
        outputs = [tensor for item in made for tensor in _outputs(item)]
        plan = masker.mask(outputs, self._asked, strict=is_training)
        tell(plan, str(self._mode), self._config, self._masking.on_plan)
        if not masker.masks:
            return list(made)
        first, *others = made
        if is_training and tf_compat.is_chief(self._config):
            # Of workers with parameter servers the chief alone updates masks; all see them, for they lie beside the
            # weights. Replicas train together: the first one's train op waits for those of all.
            first = first._replace(train_op=_with_update(masker, first.train_op, [item.train_op for item in others]))
        with tf_compat.paused_collector():
            first = _prepare_savers(graph, self._restoring, first)
        return [first, *others]


def _with_update(masker: Masker, train_op: Any, beside: Sequence[Any] = ()) -> Any:
    """Returns a train_op of the same kind (tensor or operation) that also runs the mask update.

    The update waits for it, and for the train ops beside it.
    """
    update = masker.attach_update(*(item for op in (train_op, *beside) for item in tf_compat.copies_of(op)))
    with masker.graph.as_default(), masker.graph.name_scope("model_pruning/"):
        if isinstance(train_op, tf.Operation):
            return tf.group(update, name="train_and_update_masks")
        with tf.control_dependencies([update]):
            return tf.identity(train_op, name="train_and_update_masks")


def _outputs(estimator_spec: Any) -> Iterable[Any]:
    """Yields the tensors that a model returns: loss, predictions and what it exports."""
    exported = [getattr(output, "__dict__", output) for output in (estimator_spec.export_outputs or {}).values()]
    for value in (estimator_spec.loss, estimator_spec.predictions, exported):
        for tensor in tf.nest.flatten(value):
            if isinstance(tensor, tf.Tensor):
                yield tensor


def _prepare_savers(graph: Any, restoring: Restoring, estimator_spec: Any) -> Any:
    """Makes whatever saves, restores and initializes this graph hold the pruning state; returns the spec to go on with.

    A TPUEstimatorSpec has a function that makes its Scaffold, later; savers made then are seen as they are made.
    """
    make_scaffold = getattr(estimator_spec, "scaffold_fn", None)
    if make_scaffold is not None:

        def scaffold_fn() -> Any:
            return restoring.initialize_by(make_scaffold())

        estimator_spec = estimator_spec._replace(scaffold_fn=scaffold_fn)
    scaffold = restoring.initialize_by(getattr(estimator_spec, "scaffold", None))
    found = [*graph.get_collection(tf.GraphKeys.SAVERS), getattr(scaffold, "saver", None)]
    # Of a tf.train.Checkpoint the Scaffold makes a Saver later on.
    restoring.settle(saver for saver in found if isinstance(saver, tf.train.Saver))
    return estimator_spec
