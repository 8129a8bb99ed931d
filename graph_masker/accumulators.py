"""What a criterion adds up over training, beside each weight, while its gradient passes.

The addition is a condition of the masked gradient: it happens once whenever that is computed for training, in the same
session.run, and before an optimizer writes the weight. A gradient that is not finite adds nothing and is counted: one
such step, which dynamic loss scaling skips by design, would spoil a sum for good.

A weight that is mirrored on several devices has its gradient in parts, one per copy, which its optimizer adds up. So
does the criterion, beside the first copy, once the last part has come.
"""

import contextlib
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.criteria import CRITERIA, Criterion
from graph_masker.naming import whole_name
from graph_masker.plan import Site

# Training steps that the averages are taken over.
COUNT = "model_pruning/accumulated_steps"

# Gradients of one weight in one step that added nothing since the last update: they were not finite.
SKIPPED = "model_pruning/skipped_gradients"
# What all weights share of it.
COUNTERS = (COUNT, SKIPPED)


def accumulator_of(mask: str, criterion: str) -> str:
    """Returns the name of a criterion's accumulator: that of the mask, but for its last word."""
    whole = whole_name(mask)
    return whole[: -len("mask")] + criterion + mask[len(whole) :]


def accumulators_of(mask: str) -> Tuple[str, ...]:
    """Returns the names that the accumulators of a mask's weight have, whichever criterion is used."""
    return tuple(accumulator_of(mask, criterion) for criterion in CRITERIA)


def criterion_of(site: Site) -> Criterion:
    """Returns the criterion of a site."""
    return CRITERIA["magnitude" if site.pruning is None else site.pruning.criterion]


class _Shown(NamedTuple):
    """A part of a weight's gradient: all of it, unless the weight has copies.

    Attributes:
        site: the copy.
        product: the op that multiplies its mask and it.
        gradient: of that product.
    """

    site: Site
    product: Any
    gradient: Any


class Accumulators:
    """The accumulators of one graph, made when a weight's gradient first asks for one.

    Attributes:
        variables: by the weight's name.
        count: how many training steps the averages are taken over, an int32 variable; None where nothing is averaged.
        skipped: how many gradients of a weight added nothing since the last update, an int32 variable; None where
            nothing is added up.
        active: whether gradients are training's, so that they are added up.
    """

    def __init__(self, graph: Any, active: bool = True) -> None:
        self.variables: Dict[str, Any] = {}
        self.count: Any = None
        self.skipped: Any = None
        self.active = active
        self._graph = graph
        # Of each copy of a mirrored weight, what was shown, in order.
        self._parts: Dict[str, List[_Shown]] = {}

    def masked(self, site: Site, product: Any, gradient: Any, name: str) -> Any:
        """Returns the gradient of a weight, given that of the masked weight, which the criterion is shown.

        Args:
            site: the weight.
            product: the op that multiplies mask and weight, in this order.
            gradient: tensor of the weight's shape.
            name: of the result.
        """
        # Where the weight lies on a parameter server the mask does, too, and no worker is sent it.
        with tf.device(tf_compat.place_of(product)):
            return self._masked(site, product, gradient, name)

    def _masked(self, site: Site, product: Any, gradient: Any, name: str) -> Any:
        mask = product.inputs[0]
        if criterion_of(site).contribution is None or not self.active:
            return tf.multiply(gradient, mask, name=name)
        gradient = tf.convert_to_tensor(gradient)
        parts = self._parts_with(_Shown(site, product, gradient))
        with tf.control_dependencies([] if parts is None else self._add(parts)):
            return tf.multiply(gradient, mask, name=name)

    def _parts_with(self, shown: _Shown) -> Optional[List[_Shown]]:
        """Returns all parts of a gradient, in the order of the copies; None before the last has come."""
        first = shown.site.mirror_of or shown.site.variable
        copies = [copy.op.name for copy in tf_compat.copies_named(self._graph, first)]
        if len(copies) < 2:
            return [shown]
        self._parts.setdefault(shown.site.variable, []).append(shown)
        # A weight's gradient may be asked for more than once: each copy's then is, as often.
        number = len(self._parts[shown.site.variable])
        parts = [self._parts.get(copy, []) for copy in copies]
        return [part[number - 1] for part in parts] if all(len(part) >= number for part in parts) else None

    def _add(self, parts: List[_Shown]) -> List[Any]:
        """Returns ops that add what a gradient contributes, beside the first copy of its weight."""
        site, product, gradient = parts[0]
        mask, weight = product.inputs
        criterion = criterion_of(site)
        assert criterion.contribution is not None
        accumulator, is_first = self._accumulator(site, mask, criterion)
        dtype = accumulator.dtype.base_dtype
        with contextlib.ExitStack() as stack:
            if len(parts) > 1:
                stack.enter_context(tf.device(product.device))
                gradient = tf.add_n([part.gradient for part in parts])
            contribution = criterion.contribution(tf.cast(weight, dtype), tf.cast(gradient, dtype))
            is_finite = tf.reduce_all(tf.is_finite(contribution))
            # Unlike a product, this one is 0 whatever is multiplied by 0.
            added = [accumulator.assign_add(tf.math.multiply_no_nan(contribution, tf.cast(is_finite, dtype)))]
            added.append(self.skipped.assign_add(tf.cast(tf.logical_not(is_finite), tf.int32), use_locking=True))
            if is_first and self.count is not None:
                added.append(self.count.assign_add(1))
        return added

    def of(self, site: Site) -> Any:
        """Returns the variable that a site's criterion adds up in; None where no gradient was shown to it.

        Where an earlier masker of the graph was shown it, or that of a graph that was exported, its variable goes on.
        """
        criterion = criterion_of(site)
        if site.variable not in self.variables and site.masked:
            found = tf_compat.variable_named(self._graph, accumulator_of(site.mask, criterion.name))
            count = tf_compat.variable_named(self._graph, COUNT) if criterion.averages else None
            if found is not None and (count is not None or not criterion.averages):
                self.variables[site.variable] = found
                self.count = count if self.count is None else self.count
                self.skipped = tf_compat.variable_named(self._graph, SKIPPED) if self.skipped is None else self.skipped
        return self.variables.get(site.variable)

    def _accumulator(self, site: Site, mask: Any, criterion: Criterion) -> Tuple[Any, bool]:
        """Returns a site's accumulator, and whether it is the first that is averaged: that one counts the steps."""
        is_first = criterion.averages and self.count is None
        with tf_compat.Nodes(self._graph) as nodes:
            is_resource, like = site.kind == "resource", mask.op
            if self.skipped is None:
                self.skipped = self._variable(nodes, SKIPPED, tf.int32, (), is_resource, like)
            if is_first:
                self.count = self._variable(nodes, COUNT, tf.int32, (), is_resource, like)
            if site.variable not in self.variables:
                # Squares of half precision would vanish.
                dtype = tf.float64 if mask.dtype.base_dtype == tf.float64 else tf.float32
                variable_name = accumulator_of(site.mask, criterion.name)
                variable = self._variable(nodes, variable_name, dtype, site.shape, is_resource, like)
                if site.part is not None:
                    whole = site.part._replace(full_name=whole_name(variable_name))
                    tf_compat.set_slice(variable, whole, site.shape)
                self.variables[site.variable] = variable
        return self.variables[site.variable], is_first

    def _variable(
        self, nodes: tf_compat.Nodes, name: str, dtype: Any, shape: Tuple[int, ...], is_resource: bool, like: Any
    ) -> Any:
        known = tf_compat.variable_named(self._graph, name)
        if known is not None:
            return known
        scope = f"{name}/Initializer/zeros"
        dims = nodes.constant(f"{scope}/shape", tf.int32, shape, [len(shape)], like)
        zero = nodes.constant(f"{scope}/value", dtype, [0], [], like)
        zeros = nodes.add(scope, "Fill", [dims, zero], like, T=dtype, index_type=tf.int32).outputs[0]
        return nodes.variable(name, dtype, shape, zeros, is_resource, like)
