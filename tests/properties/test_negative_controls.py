"""Every check of the random graphs fails on a graph that is masked wrongly."""

from dataclasses import replace
from typing import Any, Callable, Iterator

import pytest
import tensorflow.compat.v1 as tf

from fixtures.random_graphs import Built, Cond, Layer, Loop, Model
from graph_masker import tf_compat
from graph_masker.masker import Masker
from graph_masker.plan import MaskPlan, Site, Skip
from tests.helpers.bits import assert_same_bits
from tests.properties.checks import (
    CHECKS,
    STEPS,
    Subject,
    check_collections,
    check_everything,
    check_masking_again,
    check_masks_of_ones,
    check_names,
    check_no_bypass,
    check_nothing_is_silent,
    check_random_masks,
    check_training,
    subject_of,
    trained,
)

TWO_LAYERS = Model((Layer("matmul", activation="tanh"), Layer("dense", slot=1)), decay_by_hand=True)

Check = Callable[[Subject], None]
Spoil = Callable[[Built, Masker], None]


def reroute_a_consumer(built: Built, masker: Masker) -> None:
    """The second layer reads its raw weight."""
    site = masker.plan.sites[1]
    forward = next(consumer for consumer in site.consumers if not consumer.backward)
    tf_compat.update_input(built.graph.get_operation_by_name(forward.op), forward.port, raw(built, site))


def reroute_backward_consumers(built: Built, masker: Masker) -> None:
    """The gradient of the second layer's input reads the raw weight."""
    site = masker.plan.sites[1]
    for op, port in readers(built, built.graph.get_tensor_by_name(f"{site.masked_weight}:0")):
        if op.name.startswith("gradients"):
            tf_compat.update_input(op, port, raw(built, site))


def leave_the_mask_out_of_the_gradient(built: Built, masker: Masker) -> None:
    """Autodiff's product of mask and gradient multiplies by one."""
    site = masker.plan.sites[0]
    mask = built.graph.get_tensor_by_name(f"{site.mask}/read:0")
    with built.graph.as_default():
        ones = tf.ones(site.shape)
    for op, port in readers(built, mask):
        if op.type == "Mul" and op.name != site.masked_weight:
            tf_compat.update_input(op, port, ones)


def mask_the_regularizer(built: Built, masker: Masker) -> None:
    """The regularizer of the first layer, and its gradient, read the masked weight."""
    site = masker.plan.sites[0]
    product = built.graph.get_tensor_by_name(f"{site.masked_weight}:0")
    for op, port in readers(built, raw(built, site)):
        if "L2Loss" in op.name or op.type == "L2Loss":
            tf_compat.update_input(op, port, product)


def apply_twice_the_gradient(built: Built, masker: Masker) -> None:
    """The optimizer moves the first weight by twice its gradient."""
    apply = built.graph.get_operation_by_name(
        f"optimizer_0/update_{masker.plan.sites[0].variable}/ApplyGradientDescent"
    )
    with built.graph.as_default():
        tf_compat.update_input(apply, 2, apply.inputs[2] * 2.0)


def double_the_mask(built: Built, masker: Masker) -> None:
    """The product multiplies by twice the mask."""
    product = built.graph.get_operation_by_name(masker.plan.sites[0].masked_weight)
    with built.graph.as_default():
        tf_compat.update_input(product, 0, product.inputs[0] * 2.0)


def add_a_second_mask(built: Built, masker: Masker) -> None:
    """One weight stands in the collections twice."""
    for key in ("kernel", "masks", "thresholds", "masked_weights"):
        built.graph.add_to_collection(key, built.graph.get_collection(key)[0])


def swap_two_masks(built: Built, masker: Masker) -> None:
    """The collections name the right masks, in the wrong order."""
    built.graph.get_collection_ref("masks").reverse()


def add_an_op_each_time(built: Built, masker: Masker) -> None:
    """Masking again leaves something behind."""
    original = masker.mask

    def mask(*args: Any, **kwargs: Any) -> MaskPlan:
        with built.graph.as_default():
            tf.no_op()
        return original(*args, **kwargs)

    masker.mask = mask  # type: ignore[assignment]


def add_a_variable(built: Built, masker: Masker) -> None:
    """A variable that is no mask is new."""
    with built.graph.as_default():
        tf.get_variable("stowaway", [])


def delay_an_op(built: Built, masker: Masker) -> None:
    """An op of the model waits for something."""
    with built.graph.as_default():
        built.outputs[0].op._add_control_input(tf.no_op())


def forget_a_skip(built: Built, masker: Masker) -> None:
    """A weight is in no line of the plan."""
    masker.plan = replace(masker.plan, sites=masker.plan.sites[1:])


def give_no_reason(built: Built, masker: Masker) -> None:
    """A weight is skipped without a reason."""
    skip = Skip(masker.plan.sites[0].variable, "", " ")
    masker.plan = replace(masker.plan, sites=masker.plan.sites[1:], skips=(skip,))


CONTROLS = [
    (reroute_a_consumer, check_no_bypass),
    (reroute_a_consumer, check_random_masks),
    (reroute_a_consumer, check_training),
    (reroute_backward_consumers, check_random_masks),
    (reroute_backward_consumers, check_training),
    (leave_the_mask_out_of_the_gradient, check_random_masks),
    (leave_the_mask_out_of_the_gradient, check_training),
    (mask_the_regularizer, check_random_masks),
    (mask_the_regularizer, check_training),
    (apply_twice_the_gradient, check_training),
    (double_the_mask, check_masks_of_ones),
    (add_a_second_mask, check_collections),
    (swap_two_masks, check_collections),
    (add_an_op_each_time, check_masking_again),
    (add_a_variable, check_names),
    (delay_an_op, check_names),
    (forget_a_skip, check_nothing_is_silent),
    (give_no_reason, check_nothing_is_silent),
]


@pytest.mark.parametrize("spoil, check", CONTROLS, ids=lambda item: item.__name__)
def test_a_graph_masked_wrongly_is_caught(spoil: Spoil, check: Check):
    with subject_of(TWO_LAYERS, spoil=spoil) as subject, pytest.raises(AssertionError):
        check(subject)


def test_the_same_graph_masked_rightly_passes():
    with subject_of(TWO_LAYERS) as subject:
        assert len(subject.sites) == 2
        for check in CHECKS:
            check(subject)


def test_every_check_has_a_control():
    assert {check for _, check in CONTROLS} == set(CHECKS)


@pytest.mark.parametrize("kind", ["ref", "resource"])
def test_a_weight_inside_a_loop_left_raw_is_caught(kind: str):
    model = Model((Loop((Layer("matmul"),)), Cond((Layer("matmul", slot=1),))), kind=kind)

    def leave_raw(built: Built, masker: Masker) -> None:
        for op in built.graph.get_operations():
            if op.type == "Mul" and "masked_weight" in op.name and not op.name.startswith("gradients"):
                with tf_compat.in_context_of(built.graph, op):
                    ones = tf.ones_like(op.inputs[0])
                tf_compat.update_input(op, 0, ones)

    with subject_of(model, spoil=leave_raw) as subject, pytest.raises(AssertionError):
        check_no_bypass(subject)
    check_everything(model)


def test_a_wrong_sum_of_unsettled_order_is_caught():
    model = Model((Layer("twice"), Layer("matmul", read="controlled")))

    def double_the_kept_gradient(built: Built, masker: Masker) -> None:
        site = masker.plan.sites[0]
        mask = built.graph.get_tensor_by_name(f"{site.mask}/read:0")
        with built.graph.as_default():
            twice = mask * 2.0
        for op, port in readers(built, mask):
            if op.name.startswith("gradients"):
                tf_compat.update_input(op, port, twice)

    with subject_of(model) as subject:
        check_random_masks(subject)
    caught = pytest.raises(AssertionError, match="more than another order of addition")
    with subject_of(model, spoil=double_the_kept_gradient) as subject, caught:
        check_random_masks(subject)


def test_training_of_another_model_is_not_alike():
    found, expected = trained(TWO_LAYERS, "before"), trained(replace(TWO_LAYERS, optimizer="adam"), "before")
    weights = {f"step {step}: matmul_0/kernel" for step in range(STEPS)}
    with pytest.raises(AssertionError):
        assert_same_bits({name: found[name] for name in weights}, {name: expected[name] for name in weights})
    assert_same_bits(trained(TWO_LAYERS, "before"), found)


def raw(built: Built, site: Site) -> Any:
    """Returns the value of a weight without its mask."""
    return built.graph.get_tensor_by_name(f"{site.variable}/read:0")


def readers(built: Built, tensor: Any) -> Iterator[Any]:
    """Yields ops that read a tensor, with the index of the input."""
    for op in tensor.consumers():
        for port, source in enumerate(op.inputs):
            if source is tensor:
                yield op, port
