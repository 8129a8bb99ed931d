"""Which variables are weights, which of their readers stay on the raw value, and why others are left dense."""

from typing import Any, Dict

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from tensorflow.contrib import slim

from graph_masker.masker import Masker, plan_graph
from graph_masker.plan import MaskPlan
from graph_masker.spec import PruningSpec
from rewriters import DEFAULT_RULES, WeightRule
from tests.helpers.graphs import snapshot
from tests.helpers.running import initialize, single_threaded, variables_by_name

SPEC = PruningSpec(0.5, 1, 10)
KINDS = pytest.mark.parametrize("kind", ["ref", "resource"])


def scope(kind: str) -> Any:
    return tf.variable_scope(tf.get_variable_scope(), use_resource=kind == "resource")


def data(*shape: int) -> Any:
    return tf.placeholder(tf.float32, shape, name="data")


def kernel(*shape: int, name: str = "layer/kernel", **options: Any) -> Any:
    return tf.get_variable(name, shape, **options)


def skips_of(plan: MaskPlan) -> Dict[str, str]:
    return {skip.variable: skip.reason for skip in plan.skips}


def mask_and_zero(graph: Any, fetches: Dict[str, Any], feed: Dict[Any, Any]) -> Dict[str, Any]:
    """Runs fetches with every weight at one and every mask at zero."""
    with single_threaded(graph) as session:
        initialize(session)
        for variable in variables_by_name(graph).values():
            if "mask" in variable.op.name and "last" not in variable.op.name:
                variable.load(np.zeros(variable.shape.as_list(), np.float32), session)
            elif variable.op.name.endswith(("kernel", "weights")):
                variable.load(np.ones(variable.shape.as_list(), np.float32), session)
        return session.run(fetches, feed)


@KINDS
@pytest.mark.parametrize("how", ["collection", "l2_loss", "sum of squares", "norm ratio"])
def test_regularizers_read_the_raw_weight(kind: str, how: str):
    with tf.Graph().as_default() as graph, scope(kind):
        batch = data(2, 3)
        if how == "collection":
            output = slim.fully_connected(batch, 3, None, weights_regularizer=slim.l2_regularizer(2.0), scope="layer")
            penalty = tf.losses.get_regularization_loss()
        else:
            weight = kernel(3, 3)
            output = tf.matmul(batch, weight)
            penalty = {
                "l2_loss": lambda w: 2.0 * tf.nn.l2_loss(w),
                "sum of squares": lambda w: tf.reduce_sum(tf.square(w)),
                "norm ratio": lambda w: tf.norm(w) / (1.0 + tf.norm(w)),
            }[how](weight)
        data_loss = tf.reduce_mean(output)
        loss = data_loss + penalty
        masker = Masker(graph, SPEC)
        masker.mask([loss], strict=True)
    (site,) = masker.plan.sites
    assert site.raw_readers
    found = mask_and_zero(graph, {"data": data_loss, "penalty": penalty}, {batch: np.ones([2, 3])})
    assert found["data"] == 0
    assert found["penalty"] > 0


@KINDS
def test_summaries_savers_and_moving_averages_read_the_raw_weight(kind: str):
    with tf.Graph().as_default() as graph, scope(kind):
        weight = kernel(3, 3)
        saver = tf.train.Saver()
        average = tf.train.ExponentialMovingAverage(0.0)
        keep = average.apply([weight])
        summary = tf.summary.histogram("kernel", weight)
        tf.summary.scalar("norm", tf.norm(weight))
        batch = data(2, 3)
        before = snapshot(graph)
        masker = Masker(graph, SPEC)
        output = tf.matmul(batch, weight)
        masker.mask([output], strict=True)
        after = snapshot(graph)
    assert {name: after[name] for name in before} == before
    assert saver.saver_def is not None
    shadow = average.average(weight)
    with single_threaded(graph) as session:
        initialize(session)
        weight.load(np.ones([3, 3]), session)
        masker.masks["layer/kernel"].load(np.zeros([3, 3]), session)
        session.run([keep, summary])
        assert (session.run(shadow) == 1).all()
        assert (session.run(output, {batch: np.ones([2, 3])}) == 0).all()


@KINDS
def test_a_layerwise_learning_rate_reads_the_raw_weight(kind: str):
    """LARS scales a gradient by norm(w) / norm(g); that is the optimizer's read, not the model's."""
    with tf.Graph().as_default() as graph, scope(kind):
        weight, batch = kernel(3, 3), data(2, 3)
        loss = tf.reduce_mean(tf.square(tf.matmul(batch, weight)))
        masker = Masker(graph, SPEC)
        masker.mask([loss])
        ids = set(snapshot(graph))
        (gradient,) = tf.gradients(loss, [weight])
        masker.note_gradients(sorted(set(snapshot(graph)) - ids))
        norm = tf.norm(weight)
        scaled = gradient * norm / (tf.norm(gradient) + 1.0)
        tf.train.GradientDescentOptimizer(0.1).apply_gradients([(scaled, weight)])
        masker.mask([loss], strict=True)
    assert mask_and_zero(graph, {"norm": norm}, {})["norm"] == 3.0


def test_a_tied_ref_embedding_is_masked_in_both_places():
    with tf.Graph().as_default() as graph, scope("ref"):
        table = kernel(5, 3, name="embedding/kernel")
        ids = tf.placeholder(tf.int32, [2])
        rows = tf.gather(table, ids)
        output = tf.matmul(rows + 1.0, table, transpose_b=True)
        masker = Masker(graph, SPEC)
        masker.mask([output], strict=True)
    assert set(masker.masks) == {"embedding/kernel"}
    found = mask_and_zero(graph, {"rows": rows, "output": output}, {ids: [0, 4]})
    assert not found["rows"].any()
    assert not found["output"].any()


def test_a_tied_resource_embedding_has_no_path_past_its_mask():
    with tf.Graph().as_default() as graph, scope("resource"):
        table, rows = kernel(5, 3), tf.placeholder(tf.int32, [2])
        output = tf.matmul(tf.gather(table, rows), table, transpose_b=True)
        only_rows = tf.gather_nd(table, tf.placeholder(tf.int32, [2, 1])) + 0.0
        plan = Masker(graph, SPEC).mask([output, only_rows], strict=True)
    assert plan.sites[0].gathers == ("GatherV2", "GatherNd") or len(plan.sites[0].gathers) == 2
    feed = {op.outputs[0]: np.ones(op.outputs[0].shape) for op in graph.get_operations() if op.type == "Placeholder"}
    found = mask_and_zero(graph, {"output": output, "rows": only_rows}, feed)
    assert not found["output"].any()
    assert not found["rows"].any()


def test_rows_that_the_model_returns_leave_a_tied_resource_embedding_dense():
    with tf.Graph().as_default() as graph, scope("resource"):
        table = kernel(5, 3, name="v")
        rows = tf.gather(table, tf.placeholder(tf.int32, [2]))
        gather = next(op for op in graph.get_operations() if op.type == "ResourceGather")
        output = tf.matmul(rows, table, transpose_b=True) @ kernel(5, 2)
        plan = plan_graph(graph, SPEC, [output, gather.outputs[0]])
    assert [site.variable for site in plan.sites] == ["layer/kernel"]
    assert "which the model returns, gathers from it through its handle" in skips_of(plan)["v"]


def _complex_kernel() -> Any:
    return kernel(3, 3, name="v", dtype=tf.complex64, initializer=tf.zeros_initializer())


def _standardised(weight: Any) -> Any:
    mean, variance = tf.nn.moments(weight, [0])
    return (weight - mean) / tf.sqrt(variance + 1e-3)


SKIPPED = {
    "bias": (lambda: data(2, 3) @ kernel(3, 3) + kernel(3, name="v"), "a bias or scale: it has fewer than two axes"),
    "unread": (lambda: [kernel(3, 3, name="v"), data(2, 3) @ kernel(3, 3)][1], "nothing in this graph reads it"),
    "local": (
        lambda: data(2, 3) @ kernel(3, 3) @ kernel(3, 3, name="v", collections=["local_variables"]),
        "a local variable: checkpoints do not hold it",
    ),
    "empty": (
        lambda: tf.concat([data(2, 3) @ kernel(3, 3), data(2, 3) @ kernel(3, 0, name="v")], 1),
        "it has no entries",
    ),
    "complex": (
        lambda: tf.abs(tf.complex(data(2, 3), 0.0) @ _complex_kernel()) @ kernel(3, 3),
        "its type complex64 is not a real floating-point type",
    ),
    "elementwise": (
        lambda: data(2, 3) * kernel(2, 3, name="v") @ kernel(3, 3),
        "no rule masks what Mul 'mul' reads",
    ),
    "no read rule": (
        lambda: data(2, 3) @ kernel(3, 3) @ tf.tanh(kernel(3, 3, name="v")),
        "through Tanh 'Tanh', which no read rule covers",
    ),
    "standardised": (
        lambda: data(2, 3) @ kernel(3, 3) @ _standardised(kernel(3, 3, name="v")),
        "through Sub 'sub', which no read rule covers",
    ),
    "low rank": (
        lambda: data(2, 3) @ kernel(3, 3) @ (kernel(3, 1, name="v") * kernel(1, 3, name="u")),
        "through Mul 'mul', a product of several weights, which no read rule covers",
    ),
    "two weights": (
        lambda: data(2, 3) @ kernel(3, 3) + tf.tanh(kernel(2, 3, name="v") @ kernel(3, 3, name="u")),
        "every input of MatMul comes from variables alone",
    ),
}


@KINDS
@pytest.mark.parametrize("case", SKIPPED)
def test_what_is_left_dense_has_its_reason(kind: str, case: str):
    build, reason = SKIPPED[case]
    with tf.Graph().as_default() as graph, scope(kind):
        plan = plan_graph(graph, SPEC, [build()])
    assert [site.variable for site in plan.sites] == ["layer/kernel"]
    assert reason in skips_of(plan)["v"]


def _images(*shape: int) -> Any:
    return tf.constant(np.arange(np.prod(shape)).reshape(shape), tf.uint8)


def _scaled_in_a_function(values: Any) -> Any:
    scale = tf.identity(kernel(3, name="scale"))
    return tf.function(lambda x: x * scale, autograph=False)(values)


# What a layer reads where the graph holds the data as a constant.
CONSTANT_DATA = {
    "as it is": lambda: tf.ones([4, 3]) * 2.0,
    "normalized": lambda: tf.layers.batch_normalization(tf.constant(np.ones([4, 3], np.float32)), training=True),
    "scaled": lambda: tf.constant(np.ones([4, 3], np.float32)) * kernel(3, name="scale"),
    "cast and scaled": lambda: tf.cast(_images(4, 3), tf.float32) / kernel(name="scale"),
    "looked up": lambda: tf.nn.embedding_lookup(kernel(9, 3, name="table"), tf.constant([1, 2, 2, 8])),
    "in a function": lambda: _scaled_in_a_function(tf.constant(np.ones([4, 3], np.float32))),
}


@KINDS
@pytest.mark.parametrize("case", CONSTANT_DATA)
def test_constant_data_is_data_also_behind_variables(kind: str, case: str):
    with tf.Graph().as_default() as graph, scope(kind):
        hidden = tf.matmul(CONSTANT_DATA[case](), kernel(3, 5))
        outputs = [tf.matmul(tf.tanh(hidden), kernel(5, 2, name="next/kernel"))]
        assert {site.variable for site in plan_graph(graph, SPEC, outputs).sites} == {"layer/kernel", "next/kernel"}


# What a weight is multiplied by where there is no data: statistics of weights, in which numbers are held, too.
NO_DATA = {
    "a vector": lambda weight: kernel(1, 3, name="u", trainable=False) @ weight,
    "normalized vector": lambda weight: tf.nn.l2_normalize(kernel(1, 3, name="u", trainable=False)) @ weight,
    "itself": lambda weight: tf.matmul(weight, weight, transpose_a=True) - np.eye(3, dtype=np.float32),
    "a masked vector": lambda weight: (kernel(1, 3, name="u", trainable=False) * np.float32([[1, 0, 1]])) @ weight,
    "part of a vector": lambda weight: tf.reshape(kernel(1, 6, name="u", trainable=False), [2, 3]) @ weight,
    "towards orthogonality": lambda weight: (
        weight @ (1.5 * np.eye(3, dtype=np.float32) - 0.5 * tf.matmul(weight, weight, transpose_a=True))
    ),
}


@KINDS
@pytest.mark.parametrize("case", NO_DATA)
def test_a_statistic_of_weights_is_no_layer(kind: str, case: str):
    with tf.Graph().as_default() as graph, scope(kind):
        weight = kernel(3, 3)
        output = data(2, 3) @ weight
        loss = tf.reduce_sum(output) + 0.1 * tf.reduce_sum(tf.square(NO_DATA[case](weight)))
        (site,) = plan_graph(graph, SPEC, [output], [loss]).sites
        assert site.variable == "layer/kernel"
        assert [consumer.op for consumer in site.consumers] == [output.op.name]


GATHERS = tuple(WeightRule(op, (0,), "embedding", data_input=1) for op in ("GatherV2", "ResourceGather"))


@KINDS
@pytest.mark.parametrize("is_tied", [False, True])
def test_a_rule_for_what_takes_a_handle_leaves_the_weight_dense(kind: str, is_tied: bool):
    with tf.Graph().as_default() as graph, scope(kind):
        table = kernel(5, 3, name="v")
        rows = tf.nn.embedding_lookup(table, [1, 2]) @ kernel(3, 3)
        output = tf.matmul(rows, table, transpose_b=True) if is_tied else rows
        masker = Masker(graph, SPEC, (*DEFAULT_RULES, *GATHERS))
        masker.mask([output], strict=True)
    if kind == "ref":
        assert set(masker.masks) == {"v", "layer/kernel"}
    else:
        assert set(masker.masks) == {"layer/kernel"}
        assert skips_of(masker.plan) == {
            "v": "ResourceGather 'embedding_lookup' takes its handle, and a mask needs its value"
        }


@KINDS
def test_the_parts_of_a_weight_have_the_names_of_a_partitioned_mask(kind: str):
    with tf.Graph().as_default() as graph, scope(kind):
        partitioner = tf.fixed_size_partitioner(2)
        alone = kernel(4, 3, name="alone/w", partitioner=partitioner)
        first, second = (kernel(3, 3, name=f"both/{name}", partitioner=partitioner) for name in "uv")
        plan = plan_graph(graph, SPEC, [data(2, 4) @ alone @ first @ second])
    assert {site.variable: (site.mask, site.threshold) for site in plan.sites} == {
        f"{weight}/part_{number}": (f"{stem}mask/part_{number}", f"{stem}threshold")
        for weight, stem in (("alone/w", "alone/"), ("both/u", "both/u_"), ("both/v", "both/v_"))
        for number in range(2)
    }
    assert plan.sites[1].part == ("alone/w", (4, 3), (2, 0))


@KINDS
def test_a_cast_that_a_regularizer_reads_too_gets_a_raw_copy(kind: str):
    with tf.Graph().as_default() as graph, scope(kind):
        weight, batch = kernel(3, 3), data(2, 3)
        half = tf.transpose(tf.cast(weight, tf.float64))
        data_loss = tf.reduce_mean(tf.cast(batch, tf.float64) @ half)
        penalty = tf.nn.l2_loss(half)
        loss = data_loss + penalty
        Masker(graph, SPEC).mask([loss], strict=True)
        gradient = tf.gradients(loss, weight)[0]
    found = mask_and_zero(
        graph, {"data": data_loss, "penalty": penalty, "gradient": gradient}, {batch: np.ones([2, 3])}
    )
    assert (found["data"], found["penalty"]) == (0, 4.5)
    assert (found["gradient"] == 1).all()


@KINDS
def test_depthwise_kernels_are_masked_on_request_only(kind: str):
    with tf.Graph().as_default() as graph, scope(kind):
        output = tf.layers.separable_conv2d(data(2, 5, 5, 3), 4, 3, name="layer")
        plan = plan_graph(graph, SPEC, [output])
        requested = plan_graph(graph, PruningSpec(0.5, 1, 10, also="depthwise"), [output])
    assert [site.variable for site in plan.sites] == ["layer/pointwise_kernel"]
    reasons = skips_of(plan)
    assert reasons["layer/depthwise_kernel"] == "depthwise weights are masked only on request (also: depthwise)"
    assert {site.variable for site in requested.sites} == {"layer/pointwise_kernel", "layer/depthwise_kernel"}


@KINDS
def test_planning_changes_nothing(kind: str):
    with tf.Graph().as_default() as graph, scope(kind):
        output = data(2, 3) @ kernel(3, 3)
        before = snapshot(graph)
        plan_graph(graph, SPEC, [output])
    assert snapshot(graph) == before


@KINDS
def test_a_weight_that_is_itself_an_output_stays_raw_only_where_it_is_regularized(kind: str):
    with tf.Graph().as_default() as graph, scope(kind):
        weight, batch = kernel(3, 3), data(2, 3)
        shown = tf.identity(weight * 2.0, name="shown")
        output = tf.matmul(batch, weight)
        Masker(graph, SPEC).mask([output, shown], strict=True)
    found = mask_and_zero(graph, {"shown": shown, "output": output}, {batch: np.ones([2, 3])})
    assert not found["shown"].any()
    assert not found["output"].any()


@KINDS
def test_a_regularizer_in_a_cond_reads_the_raw_weight(kind: str):
    with tf.Graph().as_default() as graph, scope(kind):
        weight, batch = kernel(3, 3), data(2, 3)
        is_training = tf.placeholder_with_default(True, [])
        penalty = tf.cond(is_training, lambda: tf.nn.l2_loss(weight), lambda: 0.0)
        data_loss = tf.reduce_mean(batch @ weight)
        Masker(graph, SPEC).mask([data_loss + penalty], strict=True)
    found = mask_and_zero(graph, {"data": data_loss, "penalty": penalty}, {batch: np.ones([2, 3])})
    assert found == {"data": 0, "penalty": 4.5}
