"""Masker: one graph, masked. Plans, applies, verifies, and again for what the model adds later."""

import contextlib
import functools
from dataclasses import replace
from typing import Any, Callable, Dict, FrozenSet, Iterable, Iterator, List, Optional, Sequence, Set, Tuple

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.accumulators import Accumulators
from graph_masker.claims import Update, claim, known_update, note_update
from graph_masker.engine import UPDATE, add_summaries, build_update, last_update_step, weights_of
from graph_masker.errors import PlanError, UsageError
from graph_masker.plan import MaskPlan, Site
from graph_masker.planning import make_plan
from graph_masker.sites import Findings, find_sites
from graph_masker.spec import PruningSpec
from graph_masker.steps import own_step
from graph_masker.surgery import MaskedVariable, apply_plan, changes, check_criterion, mask_body
from graph_masker.verify import originals_of, verify_masked, verify_view
from rewriters import DEFAULT_RULES, Rule


def plan_graph(
    graph: Any,
    spec: PruningSpec,
    outputs: Optional[Iterable[Any]] = None,
    losses: Optional[Iterable[Any]] = None,
    rules: Sequence[Rule] = DEFAULT_RULES,
    strict: bool = True,
    gradient_ops: Optional[Iterable[str]] = None,
    trainable_only: bool = True,
) -> MaskPlan:
    """Plans the masking of a graph and changes nothing.

    Args:
        graph: a `tf.Graph`.
        spec: what to mask.
        outputs: tensors that the model returns.
        losses: tensors that it minimizes.
        rules: what is known of op types.
        strict: raise where nothing is to be masked or a pattern matches nothing.
        gradient_ops: names of all ops that autodiff made, where it was watched; None: the graph is to tell.
        trainable_only: see `make_plan`.

    Raises:
        PlanError: see `make_plan`.
    """
    view = tf_compat.view_of_graph(graph)
    findings = find_sites(view, rules, _names(outputs or ()), _names(losses or ()), gradient_ops)
    return make_plan(view, findings, spec, rules, strict, trainable_only)


class Masker:
    """Masks one graph, as often as the graph grows.

    Attributes:
        plan: all sites and skips, as of the last call of `mask`.
        update_op: the scheduled mask update, once `attach_update` has been called; before that None.
        masks: mask variables by the name of their weight.
    """

    def __init__(
        self,
        graph: Any,
        spec: PruningSpec,
        rules: Sequence[Rule] = DEFAULT_RULES,
        trainable_only: bool = True,
        may_be_empty: bool = False,
    ) -> None:
        """Args: see `make_plan`."""
        self.graph = graph
        self.spec = spec
        self.plan = MaskPlan((), (), spec)
        self.update_op: Any = None
        self._rules = tuple(rules)
        self._trainable_only = trainable_only
        self._may_be_empty = may_be_empty
        self._masked: Dict[str, MaskedVariable] = {}
        # What the model code may still hold, and what it is to read in its place: gradients, by tensor name.
        self._replaced: Dict[str, Any] = {}
        self._last_update: Any = None
        self._counter: Any = None
        # The products that this masker has added, by name.
        self.products: Dict[str, Site] = {}
        self._state: Set[str] = set()
        # Evaluation reads where training does not, and adds nothing up.
        self.accumulators = Accumulators(graph, active=trainable_only)
        # None until gradients are watched: then the graph itself is to tell which ops are autodiff's.
        self._gradient_ops: Optional[Set[str]] = None

    @property
    def masks(self) -> Dict[str, Any]:
        """Mask variables, by the name of their weight."""
        return {name: item.mask for name, item in self._masked.items()}

    @property
    def masked_variables(self) -> Tuple[MaskedVariable, ...]:
        """All sites with their variables, in the order they were masked."""
        return tuple(self._masked.values())

    @property
    def state_variables(self) -> Tuple[Any, ...]:
        """Every variable that pruning adds: masks, thresholds and the step of the last update."""
        state = [variable for item in self._masked.values() for variable in self.state_of(item)]
        return tuple(dict.fromkeys([*state, *self.shared_state]))

    def state_of(self, item: MaskedVariable) -> Tuple[Any, ...]:
        """The variables that pruning adds for one weight."""
        accumulator = self.accumulators.variables.get(item.site.variable)
        return (item.mask, item.threshold) if accumulator is None else (item.mask, item.threshold, accumulator)

    def is_state(self, name: str) -> bool:
        """Tells whether a variable is a mask or a threshold that this masker has added."""
        return name in self._state

    @property
    def shared_state(self) -> Tuple[Any, ...]:
        """The variables that pruning adds once for all weights: of steps, and counts of what criteria added up."""
        shared = (self._last_update, self.accumulators.count, self.accumulators.skipped, self._counter)
        return tuple(item for item in shared if item is not None)

    def counter(self) -> Any:
        """Returns the step counter of a graph that counts none itself, adding it if need be."""
        if self._counter is None:
            self._counter = own_step(self.graph, self._last_update)
        return self._counter

    def mask(self, outputs: Iterable[Any] = (), losses: Iterable[Any] = (), strict: bool = False) -> MaskPlan:
        """Masks what the graph holds by now and has not been masked yet; returns the plan of all of it.

        Args:
            outputs: tensors that the model returns; verification walks back from them and from losses.
            losses: tensors that it minimizes.
            strict: raise where nothing is to be masked or a pattern matches nothing.

        Raises:
            GraphMaskerError: the graph cannot be masked as asked; it is as it was.
        """
        if self.graph.finalized and self._masked:
            return self.plan
        with tf_compat.paused_collector():
            return self._mask(outputs, losses, strict)

    def _mask(self, outputs: Iterable[Any], losses: Iterable[Any], strict: bool) -> MaskPlan:
        shown, lost = (
            _names(tensor for tensor in tensors if getattr(tensor, "graph", None) is self.graph)
            for tensors in (outputs, losses)
        )
        view = tf_compat.view_of_graph(self.graph)
        originals = originals_of(view)
        findings = find_sites(view, self._rules, shown, lost, self._gradient_ops)
        plan = make_plan(
            view, findings, self.spec, self._rules, strict, self._trainable_only, may_be_empty=self._may_be_empty
        )
        for item in apply_plan(self.graph, plan, self._replaced, self.accumulators):
            self._masked[item.site.variable] = item
            if not item.site.masked:
                self.products[item.site.masked_weight] = item.site
                self._state.update((item.site.mask, item.site.threshold))
        self._join_mirrors()
        if self._masked and self._last_update is None:
            is_resource = all(item.site.kind == "resource" for item in self._masked.values())
            self._last_update = last_update_step(self.graph, is_resource, self.masked_variables[0].weight)
        if changes(plan):
            verify_masked(self.graph, plan, [*shown, *lost], originals)
        else:
            verify_view(view, plan, [*shown, *lost])
        known = {site.variable: site for site in self.plan.sites}
        self.plan = MaskPlan(
            tuple(_known(site, known.get(site.variable)) for site in plan.sites), plan.skips, self.spec
        )
        return self.plan

    def _join_mirrors(self) -> None:
        """Makes one mirrored variable of the masks of each mirrored weight, once all its copies are masked."""
        groups = []
        for item in self._masked.values():
            copies = tf_compat.copies_of(tf_compat.whole_of(item.weight))
            masks = [self._masked[copy.op.name].mask for copy in copies if copy.op.name in self._masked]
            # Once for all copies: at the first.
            if 1 < len(masks) == len(copies) and masks[0] is item.mask and tf_compat.whole_of(item.mask) is item.mask:
                groups.append((item.weight, masks))
        if groups:
            tf_compat.mirror(self.graph, groups)

    @property
    def has_gradients(self) -> bool:
        """Whether autodiff was seen to make ops."""
        return bool(self._gradient_ops)

    @property
    def gradient_ops(self) -> FrozenSet[str]:
        """Names of the ops that autodiff was seen to make."""
        return frozenset(self._gradient_ops or ())

    def current(self, tensor: Any) -> Any:
        """Returns what a tensor that the model code holds has been replaced by; the tensor, where it has not been."""
        return self._replaced.get(getattr(tensor, "name", ""), tensor)

    def note_gradients(self, ops: Iterable[str]) -> None:
        """Takes the names of ops that autodiff has just made: they belong to no model output.

        A masker that has masked a graph whose gradients it did not see being built goes on deciding by the graph.
        """
        if self._gradient_ops is not None or not self._masked:
            self._gradient_ops = (self._gradient_ops or set()) | set(ops)

    @contextlib.contextmanager
    def watching_gradients(self) -> Iterator[List[Any]]:
        """While open, the graph is masked whenever gradients are asked for, right before they are built.

        Yields:
            a list that takes in the tensors that were differentiated.
        """
        claim(self.graph)
        watcher = self.watcher()
        bodies = tf_compat.around_functions(lambda graph: self.mask_body if graph is self.graph else None)
        with bodies, tf_compat.around_gradients(lambda graph: watcher if graph is self.graph else None):
            yield watcher.asked

    def watcher(self) -> "Watcher":
        """Returns what masks the graph whenever gradients are asked for; from now on, all of them are to pass it."""
        self.note_gradients(())
        return Watcher(self)

    def mask_body(self, body: Any, outputs: Iterable[Any]) -> None:
        """Masks what a function body reads through captured handles: once it is a function, nothing can."""
        variables = tf_compat.captured_variables(body)
        if not variables:
            return
        outer = tf_compat.view_of_graph(self.graph)
        view = tf_compat.view_of_body(body, variables, outer)
        found = find_sites(view, self._rules, _names(outputs), gradient_ops=())
        masks = {record.variable: record for record in outer.masks.values()}
        candidates = []
        for candidate in found.candidates:
            name = variables[candidate.variable]
            candidates.append(replace(candidate, variable=name, existing=masks.get(name)))
        plan = make_plan(outer, Findings(tuple(candidates), ()), self.spec, self._rules, False, self._trainable_only)
        for site in plan.sites:
            if self.accumulators.active:
                check_criterion(site, "a function body")
        # The mask is made outside, beside its weight; the reads are the body's.
        outside = MaskPlan(
            tuple(replace(site, reads=(), copies=(), gathers=(), consumers=()) for site in plan.sites), ()
        )
        for item, site in zip(apply_plan(self.graph, outside), plan.sites):
            self._masked[site.variable] = item
            mask_body(body, item, site.reads)

    def attach_update(self, *after: Any, step: Any = None) -> Any:
        """Adds the scheduled update of all masks, to run after the given ops, and returns its op.

        Args:
            after: ops and tensors.
            step: the step by which the schedule goes; by default the graph's global step.

        Raises:
            UsageError: the graph has no global step, and none was given.
            PlanError: nothing has been masked.
        """
        if not self._masked:
            raise PlanError("no weight is masked, so there is nothing to update")
        if step is None:
            step = tf_compat.global_step(self.graph)
        if step is None:
            raise UsageError(
                "the graph has no global step, which the schedule needs; create one with "
                "tf.train.get_or_create_global_step() and pass it to the optimizer's minimize"
            )
        is_first = self.update_op is None
        counter = getattr(step, "variable", step)
        waited_for = frozenset(getattr(item, "op", item).name for item in after)
        update = Update(self.spec, frozenset(self._masked), f"{type(step).__name__} {counter.name}", waited_for)
        if is_first and tf_compat.has_op(self.graph, UPDATE):
            self.update_op = known_update(self.graph, update)
            if self.update_op is not None:
                return self.update_op
            tf.logging.warning(
                "graph_masker: the graph has a mask update already, '%s', of other weights, another schedule or "
                "another process; run that or the new one, never both",
                UPDATE,
            )
        with tf_compat.paused_collector():
            weights = weights_of(self.masked_variables, self.accumulators, self.spec)
            self.update_op = build_update(
                self.graph, weights, self.accumulators, self.spec, step, self._last_update, after
            )
            if is_first:
                add_summaries(self.graph, weights, self.spec, counter)
        note_update(self.graph, update, self.update_op)
        return self.update_op


def refuse_copies(graph: Any) -> None:
    """Refuses a graph that is imported from a training on several devices.

    Raises:
        PlanError: it has copies of variables and no longer knows them as such: savers would not restore their masks,
            and updates not reach them.
    """
    for copy, first in tf_compat.lost_copies(graph).items():
        raise PlanError(
            f"{copy}: expected a graph of one device, found a copy of '{first}' on another one; mask it where the "
            "training builds it (auto_mask, masking), or take a graph that is built for one device"
        )


class Watcher(tf_compat.GradientWatcher):
    """Masks a graph before its gradients are built; those of a tape, which has recorded the raw weights, after.

    Attributes:
        asked: the tensors that were differentiated.
    """

    def __init__(self, masker: Masker) -> None:
        self.asked: List[Any] = []
        self._masker = masker

    def before(self, ys: Sequence[Any]) -> None:
        self.asked.extend(ys)
        self._masker.mask(losses=ys)

    def after(self, names: Sequence[str]) -> None:
        self._masker.note_gradients(names)

    def gradient_of(self, op: Any, xs: Sequence[str]) -> Optional[Callable[..., Any]]:
        site = self._masker.products.get(op.name)
        if site is None:
            return None
        read = op.inputs[0].op
        if {read.name, *(tensor.op.name for tensor in read.inputs)} & set(xs):
            return None
        return functools.partial(_product_gradient, self._masker.accumulators, site)

    def before_tape(self, variables: Sequence[str], nested: bool) -> None:
        masked = [name for name in variables if name in self._masker.masks]
        if masked and not nested:
            raise UsageError(
                f"{masked[0]}: a tf.GradientTape is asked for its gradient after the graph has been masked, and has "
                "recorded the unmasked weight; ask the tape before any other gradients, or use tf.gradients"
            )

    def after_tape(self, names: Sequence[str], gradients: Sequence[Any]) -> Sequence[Any]:
        self._masker.note_gradients(names)
        self._masker.mask()
        return [self._masker.current(gradient) for gradient in gradients]


def _product_gradient(accumulators: Accumulators, site: Site, op: Any, gradient: Any) -> Tuple[None, Any]:
    """The gradient of a product of a mask and a weight by the weight; none by the mask.

    TensorFlow's own would add both, and four ops that make one wait for the other.
    """
    return None, accumulators.masked(site, op, gradient, "Mul_1")


def _names(tensors: Iterable[Any]) -> List[str]:
    return [tensor.name for tensor in tensors]


def _known(site: Site, known: Optional[Site]) -> Site:
    """Keeps what an earlier pass recorded of a site and adds the edges that this pass moved."""
    if known is None:
        return site
    return replace(
        site,
        masked=known.masked,
        reads=_joined(known.reads, site.reads),
        copies=_joined(known.copies, site.copies),
        gathers=_joined(known.gathers, site.gathers),
        gradients=_joined(known.gradients, site.gradients),
    )


def _joined(known: Tuple[Any, ...], new: Tuple[Any, ...]) -> Tuple[Any, ...]:
    return (*known, *(item for item in new if item not in known))
