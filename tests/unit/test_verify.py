"""Every check of verify_masked has a graph that it refuses."""

from dataclasses import replace
from typing import Any, Tuple

import pytest
import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.errors import VerificationError
from graph_masker.masker import Masker
from graph_masker.spec import PruningSpec
from graph_masker.verify import originals_of, verify_masked


@pytest.fixture(params=["ref", "resource"])
def masked(request: Any) -> Tuple[Any, Masker, Any]:
    """A graph of two masked layers, its masker and its output."""
    graph = tf.Graph()
    with graph.as_default(), tf.variable_scope(tf.get_variable_scope(), use_resource=request.param == "resource"):
        hidden = tf.layers.dense(tf.placeholder(tf.float32, [2, 4]), 4, name="first")
        output = tf.layers.dense(hidden, 4, name="second")
        masker = Masker(graph, PruningSpec(0.5, 1, 10))
        masker.mask([output], strict=True)
    return graph, masker, output


def refuse(masked: Tuple[Any, Masker, Any], message: str, outputs: Any = None, **site: Any) -> None:
    graph, masker, output = masked
    first, second = masker.plan.sites
    plan = replace(masker.plan, sites=(replace(first, **site), second))
    names = [tensor.name for tensor in ([output] if outputs is None else outputs)]
    with pytest.raises(VerificationError, match=message):
        verify_masked(graph, plan, names)


def test_a_masked_graph_passes(masked):
    graph, masker, output = masked
    verify_masked(graph, masker.plan, [output.name])


@pytest.mark.parametrize("field", ["variable", "mask", "threshold", "masked_weight"])
def test_a_missing_op(masked, field: str):
    refuse(masked, "expected an op 'first/gone', found none; mask the graph anew", **{field: "first/gone"})


def test_a_mask_of_another_shape(masked):
    refuse(masked, r"first/mask: expected the weight's shape \(4, 5\), found \(4, 4\)", shape=(4, 5))


def test_a_product_of_another_mask(masked):
    graph, _, _ = masked
    product = graph.get_operation_by_name("first/kernel/masked_weight")
    other = graph.get_operation_by_name("second/kernel/masked_weight")
    product._update_input(0, other.inputs[0])
    refuse(masked, "first/kernel/masked_weight: expected the product of first/mask and first/kernel, found Mul of")


def test_a_product_that_multiplies_nothing(masked):
    graph, _, _ = masked
    with graph.as_default():
        weight = graph.get_operation_by_name("first/kernel/masked_weight").inputs[1]
        total = tf.add(weight, weight)
    message = f"{total.op.name}: expected the product of first/mask and first/kernel, found Add"
    refuse(masked, message, masked_weight=total.op.name)


def test_a_consumer_that_reads_past_its_mask(masked):
    graph, _, _ = masked
    weight = graph.get_operation_by_name("first/kernel/masked_weight").inputs[1]
    graph.get_operation_by_name("first/MatMul")._update_input(1, weight)
    refuse(masked, "first/MatMul: reads first/kernel past its mask; expected first/kernel/masked_weight")


def test_a_consumer_of_something_else(masked):
    graph, _, _ = masked
    with graph.as_default():
        graph.get_operation_by_name("first/MatMul")._update_input(1, tf.zeros([4, 4]))
    refuse(masked, "first/MatMul: expected its weight from first/kernel/masked_weight, found no path")


def test_an_output_that_bypasses_the_mask(masked):
    graph, _, output = masked
    with graph.as_default():
        weight = graph.get_operation_by_name("first/kernel/masked_weight").inputs[1]
        leak = tf.add(output, tf.nn.softmax(weight)[:2], name="leak")
    refuse(masked, r"first/kernel: expected no path past its mask, found first/kernel -> .* -> leak", outputs=[leak])


def test_a_bypass_of_another_output_does_not_matter(masked):
    graph, masker, output = masked
    with graph.as_default():
        tf.nn.softmax(graph.get_operation_by_name("first/kernel/masked_weight").inputs[1])
    verify_masked(graph, masker.plan, [output.name])


def test_a_mask_of_two_weights(masked):
    refuse(masked, "second/mask: expected one weight, found first/kernel and second/kernel", mask="second/mask")


def test_a_product_that_is_masked_again(masked):
    graph, _, _ = masked
    product = graph.get_operation_by_name("first/kernel/masked_weight")
    mask = product.inputs[0]
    with graph.as_default():
        tf.multiply(product.outputs[0], mask, name="again")
    refuse(masked, "again: multiplies first/kernel/masked_weight by first/mask a second time")


@pytest.mark.parametrize("change", [None, {"op_type": "BatchMatMul"}, {"inputs": ()}])
def test_an_original_op_that_is_gone_or_another(masked, change):
    graph, masker, output = masked
    originals = originals_of(tf_compat.view_of_graph(graph))
    verify_masked(graph, masker.plan, [output.name], originals)
    name = "gone" if change is None else "first/MatMul"
    originals[name] = originals["first/MatMul"]._replace(**(change or {}))
    with pytest.raises(VerificationError, match=f"^{name}: expected the original"):
        verify_masked(graph, masker.plan, [output.name], originals)
