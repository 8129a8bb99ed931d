"""Movement and taylor against numpy: what is added up, when, and the masks that follow."""

from dataclasses import replace
from typing import Any, List

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from graph_masker import mask_graph
from graph_masker.errors import PlanError, SurgeryError
from graph_masker.estimator import auto_mask
from graph_masker.schedule import update_steps
from graph_masker.spec import PruningSpec, Rule
from tests.engine.nets import CONV, DENSE, WAYS, WEIGHTS, Net, Values, descent, mask_of, record, threshold_of, training
from tests.engine.scores import MOVEMENT, REFERENCES, TAYLOR, Reference
from tests.helpers.bits import assert_same_bits, differences

STEPS = 26
SPEC = PruningSpec(0.8, 3, 23, frequency=4, initial_sparsity=0.2, criterion="movement", continue_from_masks=False)
COUNT = "model_pruning/accumulated_steps"
NETS = {
    "ref, momentum": Net(),
    "resource, descent": Net(use_resource=True, optimizer=descent),
    "fp64, clipped": Net(tf.float64, clipped=True),
    "fp64, resource": Net(tf.float64, use_resource=True, optimizer=descent),
    "summaries": Net(clipped=True, summarized=True),
    "fp16": Net(tf.float16, optimizer=descent),
}


def found(recorded: List[Values], criterion: str) -> List[Values]:
    """Returns what a reference predicts, as it was."""
    steps = []
    for values in recorded[1:]:
        step = {f"{name} sum": values[name.replace("kernel", criterion)] for name in WEIGHTS}
        step.update({f"{name} mask": values[mask_of(name)] for name in WEIGHTS})
        step.update({f"{name} threshold": values[threshold_of(name)] for name in WEIGHTS})
        if COUNT in values:
            step["count"] = values[COUNT]
        steps.append(step)
    return steps


def flat(steps: List[Values]) -> Values:
    """Returns everything under one name each."""
    return {f"step {number}: {name}": value for number, step in enumerate(steps, 1) for name, value in step.items()}


@pytest.mark.parametrize(
    "name, way", [*((name, "auto_mask") for name in NETS), ("fp64, clipped", "mask_graph"), ("fp16", "mask_graph")]
)
@pytest.mark.parametrize("criterion", REFERENCES)
def test_sums_masks_and_thresholds_equal_the_reference(criterion: str, name: str, way: str):
    net = NETS[name]
    spec = replace(SPEC, criterion=criterion)
    recorded = record(net, spec, STEPS, WAYS[way])
    expected = REFERENCES[criterion].run(net, spec, recorded)
    assert_same_bits(flat(found(recorded, criterion)), flat(expected))
    masks = {name: recorded[-1][mask_of(name)] for name in WEIGHTS}
    assert all(0.7 < 1 - mask.mean() < 0.9 for mask in masks.values())
    # Not the masks of plain magnitudes, which would pass where the criterion had no say.
    weight = np.abs(recorded[update_steps(spec)[-1]][CONV])
    assert (weight[masks[CONV] == 0].max() > weight[masks[CONV] == 1].min()).all()


@pytest.mark.parametrize("criterion", REFERENCES)
def test_thresholds_are_smoothed_in_the_scores_own_scale(criterion: str):
    """Averages with averages, and movements with their signs."""
    spec = replace(SPEC, criterion=criterion, threshold_decay=0.25)
    recorded = record(Net(), spec, STEPS)
    assert_same_bits(flat(found(recorded, criterion)), flat(REFERENCES[criterion].run(Net(), spec, recorded)))
    other = REFERENCES[criterion].run(Net(), replace(spec, threshold_decay=0.26), recorded)
    assert differences(flat(found(recorded, criterion)), flat(other))
    masks = [values[mask_of(DENSE)].mean() for values in recorded]
    assert masks[0] == 1 and 0 < masks[-1] < 0.6


@pytest.fixture(scope="module")
def recordings():
    return {criterion: record(Net(), replace(SPEC, criterion=criterion), STEPS) for criterion in REFERENCES}


@pytest.mark.parametrize(
    "criterion, wrong",
    [
        ("movement", Reference(lambda weight, gradient: weight * gradient, averaged=False)),
        ("movement", replace(MOVEMENT, averaged=True)),
        ("movement", replace(MOVEMENT, previous=False)),
        ("taylor", replace(TAYLOR, averaged=False)),
        ("taylor", replace(TAYLOR, previous=False)),
        ("taylor", Reference(lambda weight, gradient: np.abs(weight * gradient), averaged=True)),
    ],
    ids=["sign", "movement averaged", "weight after the step", "taylor not averaged", "weight after", "absolute"],
)
def test_a_wrong_reference_is_seen(recordings: Any, criterion: str, wrong: Reference):
    expected = wrong.run(Net(), replace(SPEC, criterion=criterion), recordings[criterion])
    assert differences(flat(found(recordings[criterion], criterion)), flat(expected))


@pytest.mark.parametrize("criterion", REFERENCES)
def test_both_ways_of_masking_give_the_same_training(recordings: Any, criterion: str):
    after = record(Net(), replace(SPEC, criterion=criterion), STEPS, WAYS["mask_graph"])
    assert_same_bits(flat(after), flat(recordings[criterion]))


def test_what_else_is_fetched_with_a_step_adds_nothing():
    net, spec = Net(clipped=True, summarized=True), replace(SPEC, criterion="taylor")
    alone = record(net, spec, STEPS)
    with training(net, spec) as run:
        summaries = tf.summary.merge_all()
        gradients = [op.outputs[0] for op in run.graph.get_operations() if op.name.endswith("masked_weight_grad/Mul_1")]
        assert summaries is not None and len(gradients) == 2
        steps = [run.values()]
        for _ in range(STEPS):
            run.run(summaries, *gradients)
            steps.append(run.values())
    assert_same_bits(flat(steps), flat(alone))
    assert differences(flat(steps), flat(record(net, replace(spec, frequency=5), STEPS)))


def test_a_summary_alone_reads_no_gradient_that_is_not_its_own():
    """Summaries of pruning may be asked for at any time, and add nothing up."""
    with training(Net(), replace(SPEC, criterion="taylor")) as run:
        run.steps(5)
        before = run.values()
        run.session.run(tf.summary.merge_all())
        assert_same_bits(run.values(), before)


def test_criteria_by_rule_stand_side_by_side():
    rules = (Rule(CONV, criterion="taylor"), Rule(DENSE, criterion="movement"))
    spec = replace(SPEC, criterion="magnitude", rules=rules)
    recorded = record(Net(), spec, STEPS)
    assert "conv/taylor" in recorded[0] and "dense/movement" in recorded[0]
    assert not {"conv/movement", "dense/taylor"} & set(recorded[0])
    for name, criterion in ((CONV, "taylor"), (DENSE, "movement")):
        expected = REFERENCES[criterion].run(Net(), spec, recorded)
        for step, values in enumerate(recorded[1:]):
            one = {"mask": values[mask_of(name)], "sum": values[name.replace("kernel", criterion)]}
            other = {"mask": expected[step][f"{name} mask"], "sum": expected[step][f"{name} sum"]}
            assert_same_bits(one, other)


def test_partitioned_weights_are_ranked_as_wholes():
    def build(partitioner: Any) -> Any:
        with tf.Graph().as_default() as graph:
            tf.train.get_or_create_global_step()
            weight = tf.get_variable("dense/kernel", [12, 5], partitioner=partitioner)
            batch = tf.placeholder(tf.float32, [4, 12])
            loss = tf.reduce_mean(tf.square(tf.matmul(batch, weight) - 1.0))
            train_op = descent().minimize(loss, tf.train.get_global_step())
            masker = mask_graph(graph, replace(SPEC, criterion="taylor"), losses=[loss])
            masks = [masker.masks[name] for name in sorted(masker.masks)]
            sums = [v for v in tf.global_variables() if "/taylor" in v.op.name]
            assert len(masks) == len(sums) == (3 if partitioner else 1)
            found = []
            with tf.Session() as session:
                session.run(tf.global_variables_initializer())
                start = np.random.RandomState(1).normal(size=[12, 5]).astype(np.float32)
                parts = sorted(tf.trainable_variables(), key=lambda part: part.op.name)
                for part, value in zip(parts, np.split(start, len(parts))):
                    part.load(value, session)
                for step in range(STEPS):
                    value = np.random.RandomState(step).normal(size=[4, 12]).astype(np.float32)
                    session.run([train_op, masker.update_op], {batch: value})
                    parts = session.run([masks, sums])
                    found.append({"mask": np.concatenate(parts[0]), "sum": np.concatenate(parts[1])})
                return flat(found)

    whole = build(None)
    assert_same_bits(build(tf.fixed_size_partitioner(3)), whole)
    assert whole[f"step {STEPS}: mask"].mean() == pytest.approx(0.2)


def _in_a_loop(use_resource: bool) -> Any:
    """A kernel as a recurrence: the value of a ref variable enters the loop, of a resource variable its handle."""
    kernel = tf.get_variable("loop/kernel", [3, 3], use_resource=use_resource)
    state = tf.placeholder(tf.float32, [2, 3], name="batch")
    for_each = tf.while_loop(lambda step, state: step < 3, lambda step, state: (step + 1, state @ kernel), [0, state])
    return tf.reduce_mean(tf.square(for_each[1]))


def test_a_weight_read_inside_a_loop_is_refused():
    def model_fn(features: Any, mode: Any) -> Any:
        loss = _in_a_loop(use_resource=True)
        train_op = descent().minimize(loss, tf.train.get_or_create_global_step())
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op)

    refused = pytest.raises(
        SurgeryError, match=r"kernel: criterion movement needs its gradient outside of loops, conds"
    )
    with tf.Graph().as_default(), refused:
        auto_mask(model_fn, SPEC)(None, mode=tf.estimator.ModeKeys.TRAIN)
    with tf.Graph().as_default():
        magnitude = replace(SPEC, rules=(Rule("loop", criterion="magnitude"),))
        assert auto_mask(model_fn, magnitude)(None, mode=tf.estimator.ModeKeys.TRAIN).train_op is not None


@pytest.mark.parametrize("mode", [tf.estimator.ModeKeys.EVAL, tf.estimator.ModeKeys.PREDICT])
def test_where_nothing_is_trained_a_loop_is_no_matter(mode: str):
    """Decoders read in a loop what training reads outside of one."""

    def model_fn(features: Any, mode: Any) -> Any:
        loss = _in_a_loop(use_resource=True)
        return tf.estimator.EstimatorSpec(mode, predictions=loss, loss=loss)

    with tf.Graph().as_default() as graph:
        tf.train.get_or_create_global_step()
        auto_mask(model_fn, SPEC)(None, mode=mode)
        assert [v.op.name.rpartition("/")[2] for v in graph.get_collection("masks")] == ["mask"]


def test_a_weight_without_gradient_is_refused():
    with tf.Graph().as_default() as graph:
        loss = tf.add_n(Net().loss(tf.placeholder(tf.float32, [4, 6, 6, 2])))
        trained = [v for v in tf.trainable_variables() if v.op.name.startswith("dense/")]
        train_op = descent().minimize(loss, tf.train.get_or_create_global_step(), trained)
        with pytest.raises(PlanError, match=r"conv/kernel: criterion movement needs its gradient, found none"):
            mask_graph(graph, SPEC, losses=[loss], train_op=train_op)


@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
def test_a_weight_read_in_a_function_body_is_refused_where_its_handle_is(use_resource: bool):
    """The value of a ref variable is captured, so that its gradient leaves the function; of a resource, the handle."""

    def model_fn(features: Any, mode: Any) -> Any:
        loss = _in_a_loop(use_resource)
        train_op = descent().minimize(loss, tf.train.get_or_create_global_step())
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op)

    tf.enable_control_flow_v2()
    try:
        with tf.Graph().as_default() as graph:
            tf.train.get_or_create_global_step()
            if use_resource:
                with pytest.raises(SurgeryError, match=r"loop/kernel: .* read inside one \(a function body\)"):
                    auto_mask(model_fn, SPEC)(None, mode=tf.estimator.ModeKeys.TRAIN)
            else:
                auto_mask(model_fn, SPEC)(None, mode=tf.estimator.ModeKeys.TRAIN)
                assert graph.get_operation_by_name("loop/movement").type == "VariableV2"
    finally:
        tf.disable_control_flow_v2()
