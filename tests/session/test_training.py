"""However a graph is trained inside masking(), it trains as with an update that is run explicitly, bit for bit."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from tensorflow.contrib import slim
from tensorflow.contrib import training as contrib_training

from graph_masker import PruningSpec, masking
from graph_masker.steps import OWN_STEP
from tests.helpers.bits import assert_same_bits, differences
from tests.session.nets import CONFIG, SPEC, STATE, STEPS, all_values, loss, optimizer, oracle, trained


def run(*train_ops, steps=STEPS):
    """Runs train ops together in a plain session; returns all variables in the end."""
    with tf.Session(config=CONFIG) as session:
        session.run(tf.global_variables_initializer())
        for _ in range(steps):
            session.run(train_ops)
        return all_values(session)


def checkpoint(directory):
    reader = tf.train.load_checkpoint(str(directory))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def raw(tmp_path):
    return run(optimizer().minimize(loss(), tf.train.get_or_create_global_step()))


def raw_without_step(tmp_path):
    values = run(optimizer().minimize(loss()))
    assert values[OWN_STEP] == STEPS
    return values


def raw_with_a_step_of_any_name(tmp_path):
    batch = tf.Variable(0.0, trainable=False, name="batch", dtype=tf.float32)
    return run(optimizer().minimize(loss(), batch))


def init_op_made_before_gradients(tmp_path):
    value = loss()
    init, step = tf.global_variables_initializer(), tf.train.get_or_create_global_step()
    train_op = optimizer().minimize(value, step)
    rest = tf.variables_initializer([v for v in tf.global_variables() if "Momentum" in v.name or v is step])
    with tf.Session(config=CONFIG) as session:
        for _ in range(2):  # The second time, it starts anew: masks too.
            session.run([init, rest])
            for _ in range(STEPS):
                session.run(train_op)
        return all_values(session)


def session_that_ran_before(tmp_path):
    with tf.Session(config=CONFIG) as session:
        value = loss()
        session.run(tf.global_variables_initializer())
        session.run(value)
        known = set(tf.global_variables())
        train_op = optimizer().minimize(value, tf.train.get_or_create_global_step())
        session.run(tf.variables_initializer([v for v in tf.global_variables() if v not in known]))
        for _ in range(STEPS):
            session.run(train_op)
        return all_values(session)


def callables(tmp_path):
    train_op = optimizer().minimize(loss(), tf.train.get_or_create_global_step())
    with tf.Session(config=CONFIG) as session:
        session.run(tf.global_variables_initializer())
        step = session.make_callable(train_op)
        for _ in range(STEPS):
            step()
        return all_values(session)


def by_name(tmp_path):
    optimizer().minimize(loss(), tf.train.get_or_create_global_step(), name="train_it")
    return run(tf.get_default_graph().get_operation_by_name("train_it"))


def averaged_afterwards(tmp_path):
    train_op = optimizer().minimize(loss(), tf.train.get_or_create_global_step())
    with tf.control_dependencies([train_op]):
        averaged = tf.train.ExponentialMovingAverage(0.5).apply(tf.trainable_variables())
    return run(averaged)


def step_assigned_in_a_group(tmp_path):
    step = tf.train.get_or_create_global_step()
    return run(tf.group(optimizer().minimize(loss()), step.assign(step + 1)))


def two_optimizers_in_a_group(tmp_path):
    value, step = loss(), tf.train.get_or_create_global_step()
    conv = [v for v in tf.trainable_variables() if v.name.startswith("conv")]
    dense = [v for v in tf.trainable_variables() if v.name.startswith("dense")]
    gradients = tf.gradients(value, [*conv, *dense])
    first = optimizer().apply_gradients(zip(gradients[:2], conv))
    second = optimizer().apply_gradients(zip(gradients[2:], dense), step)
    return run(tf.group(first, second))


def count_after_two_optimizers(tmp_path):
    value, step = loss(), tf.train.get_or_create_global_step()
    pairs = optimizer().compute_gradients(value)
    ops = [optimizer().apply_gradients(pairs[:2]), optimizer().apply_gradients(pairs[2:])]
    with tf.control_dependencies(ops):
        counted = tf.assign_add(step, 1)
    return run(counted)


def accumulated(tmp_path):
    """Gradients are added up over two runs of half their size, exactly, and applied by a third run."""
    pairs = optimizer().compute_gradients(0.5 * loss())
    sums = [tf.Variable(tf.zeros(v.shape), trainable=False) for _, v in pairs]
    add = tf.group(*(total.assign_add(gradient) for total, (gradient, _) in zip(sums, pairs)))
    clear = tf.group(*(total.initializer for total in sums))
    step = tf.train.get_or_create_global_step()
    apply = optimizer().apply_gradients([(total.read_value(), v) for total, (_, v) in zip(sums, pairs)], step)
    with tf.Session(config=CONFIG) as session:
        session.run(tf.global_variables_initializer())
        for _ in range(STEPS):
            for op in (clear, add, add, apply):
                session.run(op)
        return all_values(session)


def in_a_cond(tmp_path):
    pairs = optimizer().compute_gradients(loss())
    step = tf.train.get_or_create_global_step()
    wanted = tf.placeholder_with_default(True, [])
    tf.cond(wanted, lambda: optimizer().apply_gradients(pairs, step, name="train"), tf.no_op, name="maybe")
    with tf.Session(config=CONFIG) as session:
        session.run(tf.global_variables_initializer())
        for _ in range(STEPS):
            session.run("maybe/Merge:0", {wanted: False})
            session.run("maybe/Merge:0")
        return all_values(session)


def monitored(tmp_path):
    train_op = optimizer().minimize(loss(), tf.train.get_or_create_global_step())
    hooks = [tf.train.StopAtStepHook(last_step=STEPS)]
    with tf.train.MonitoredTrainingSession(checkpoint_dir=str(tmp_path), hooks=hooks, config=CONFIG) as session:
        while not session.should_stop():
            session.run(train_op)
    return checkpoint(tmp_path)


def supervised(tmp_path):
    train_op = optimizer().minimize(loss(), tf.train.get_or_create_global_step())
    supervisor = tf.train.Supervisor(logdir=str(tmp_path))
    with supervisor.managed_session(config=CONFIG) as session:
        for _ in range(STEPS):
            session.run(train_op)
        supervisor.saver.save(session, str(tmp_path / "end"))
    return checkpoint(tmp_path / "end")


def slim_loop(tmp_path):
    train_op = slim.learning.create_train_op(loss(), optimizer())
    slim.learning.train(train_op, str(tmp_path), number_of_steps=STEPS, session_config=CONFIG)
    return checkpoint(tmp_path)


def tf_slim_loop(tmp_path):
    import tf_slim

    train_op = tf_slim.learning.create_train_op(loss(), optimizer())
    tf_slim.learning.train(train_op, str(tmp_path), number_of_steps=STEPS, session_config=CONFIG)
    return checkpoint(tmp_path)


def contrib_loop(tmp_path):
    train_op = contrib_training.create_train_op(loss(), optimizer())
    hooks = [tf.train.StopAtStepHook(num_steps=STEPS)]
    contrib_training.train(train_op, str(tmp_path), hooks=hooks, config=CONFIG)
    return checkpoint(tmp_path)


def plain_estimator(tmp_path):
    def model_fn(mode):
        value = loss()
        return tf.estimator.EstimatorSpec(
            mode, loss=value, train_op=optimizer().minimize(value, tf.train.get_global_step())
        )

    def steps():
        return tf.data.Dataset.from_tensors(({}, 0)).repeat()

    config = tf.estimator.RunConfig(session_config=CONFIG)
    tf.estimator.Estimator(lambda features, labels, mode: model_fn(mode), str(tmp_path), config).train(
        steps, steps=STEPS
    )
    return checkpoint(tmp_path)


WAYS = [
    raw,
    raw_without_step,
    raw_with_a_step_of_any_name,
    init_op_made_before_gradients,
    session_that_ran_before,
    callables,
    by_name,
    averaged_afterwards,
    step_assigned_in_a_group,
    two_optimizers_in_a_group,
    count_after_two_optimizers,
    accumulated,
    in_a_cond,
    monitored,
    supervised,
    slim_loop,
    tf_slim_loop,
    contrib_loop,
    plain_estimator,
]


@pytest.fixture(scope="module")
def expected():
    return oracle()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
def test_training_equals_an_explicit_update(tmp_path, expected, way, use_resource):
    with tf.Graph().as_default():
        scope = tf.variable_scope(tf.get_variable_scope(), use_resource=use_resource)
        with masking(SPEC) as masker, scope:
            values = way(tmp_path)
    names = dict(trained(expected))
    if way is two_optimizers_in_a_group or way is count_after_two_optimizers or way is accumulated:
        names.pop("dense/kernel/Momentum")  # It has another name there.
    assert_same_bits({name: values[name] for name in names}, names)
    assert values["model_pruning/last_mask_update_step"] == 10
    assert [np.mean(values[name]) for name in STATE if name.endswith("mask")] == [0.25, 0.25]
    assert set(masker.plan.to_json()) and masker.update_op is not None


def test_the_update_may_be_fetched_beside_the_train_op(expected):
    """It is there once the train op is, before any run, and runs once."""
    with tf.Graph().as_default(), masking(SPEC) as masker:
        value = loss()
        assert masker.update_op is None
        train_op = optimizer().minimize(value, tf.train.get_or_create_global_step())
        assert masker.update_op is not None
        assert_same_bits(trained(run(train_op, masker.update_op)), trained(expected))


def test_an_update_one_step_off_is_seen(expected):
    later = PruningSpec(target_sparsity=0.75, begin_step=3, end_step=11, frequency=3)
    assert differences(trained(oracle(later)), trained(expected))


def test_training_after_masking_was_left(expected):
    with tf.Graph().as_default():
        with masking(SPEC):
            train_op = optimizer().minimize(loss(), tf.train.get_or_create_global_step())
        assert_same_bits(trained(run(train_op)), trained(expected))


def test_the_update_runs_with_the_step_that_is_being_made():
    """Right at begin_step, in the run that makes it, not in the one after."""
    with tf.Graph().as_default(), masking(SPEC) as masker:
        step = tf.train.get_or_create_global_step()
        train_op = optimizer().minimize(loss(), step)
        with tf.Session(config=CONFIG) as session:
            session.run(tf.global_variables_initializer())
            last = []
            for _ in range(STEPS):
                session.run(train_op)
                last.append(session.run("model_pruning/last_mask_update_step:0"))
            assert last == [-1, 2, 2, 2, 5, 5, 5, 8, 8, 10, 10, 10]
            assert session.run(step) == STEPS
        assert set(masker.masks) == {"conv/kernel", "dense/kernel"}
