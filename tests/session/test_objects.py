"""tf.train.Checkpoint, which saves Python objects: masks are in its files, and training goes on from them."""

import logging

import pytest
import tensorflow.compat.v1 as tf
import tensorflow.compat.v2 as tf2

from graph_masker import auto_mask, mask_graph, masking
from tests.helpers.bits import assert_same_bits, differences
from tests.helpers.running import initialize, normal_value
from tests.session.nets import CONFIG, KERNELS, SPEC, STATE, STEPS, all_values, images, optimizer, value_of

KINDS = {"first": tf.train.Checkpoint, "second": tf2.train.Checkpoint}
# Between two updates, and after the last one: there masks come from nowhere else.
STOPS = (7, STEPS - 1)


def build(kind):
    """Builds the net of layers that are objects; returns its train op, and a checkpoint of all that there is."""
    conv = tf.layers.Conv2D(4, 3, activation=tf.nn.relu, name="conv", kernel_initializer=value_of("conv"))
    dense = tf.layers.Dense(4, name="dense", kernel_initializer=value_of("dense"))
    logits = dense(tf.layers.flatten(conv(images())))
    loss = tf.losses.mean_squared_error(normal_value("labels", [8, 4]), logits)
    step, trainer = tf.train.get_or_create_global_step(), optimizer()
    return trainer.minimize(loss, step), kind(conv=conv, dense=dense, trainer=trainer, step=step)


def by_masking(kind):
    """The graph is masked while it is built; returns the train op and the checkpoint."""
    with masking(SPEC):
        return build(kind)


def by_mask_graph(kind):
    """The graph is masked when it is built."""
    train, checkpoint = build(kind)
    masker = mask_graph(tf.get_default_graph(), SPEC, train_op=train)
    return tf.group(train, masker.update_op), checkpoint


def by_auto_mask(kind):
    """The graph is a model_fn's."""
    made = []

    def model_fn(features, labels, mode):
        train, checkpoint = build(kind)
        made.append(checkpoint)
        return tf.estimator.EstimatorSpec(mode, loss=tf.losses.get_total_loss(), train_op=train)

    spec = auto_mask(model_fn, SPEC)(None, None, tf.estimator.ModeKeys.TRAIN)
    return spec.train_op, made[0]


def dense(kind):
    """Nothing is masked."""
    return build(kind)


def run(make, kind, steps, folder=None, start=None, consumed=True):
    """Trains; returns all values, and the path of what was saved if a folder is given.

    Of a file of names TensorFlow never says that all of it was consumed.
    """
    with tf.Graph().as_default():
        train, checkpoint = make(kind)
        with tf.Session(config=CONFIG) as session:
            initialize(session)
            if start is not None:
                status = checkpoint.restore(start)
                (status.assert_consumed() if consumed else status).run_restore_ops(session)
            for _ in range(steps):
                session.run(train)
            with session.as_default():
                path = None if folder is None else checkpoint.save(str(folder / "model.ckpt"))
            return all_values(session), path


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("make", [by_masking, by_mask_graph, by_auto_mask], ids=lambda make: make.__name__[3:])
def test_training_goes_on_as_if_it_had_never_stopped(make, kind, tmp_path):
    whole, _ = run(make, KINDS[kind], STEPS)
    assert {*KERNELS, *STATE} <= set(whole)
    for stop in STOPS:
        halted, path = run(make, KINDS[kind], stop, tmp_path / str(stop))
        resumed, _ = run(make, KINDS[kind], STEPS - stop, start=path)
        assert_same_bits(_of_training(resumed), _of_training(whole))
        # The control: what was saved is not what it ends with.
        assert differences(halted, whole)


def _of_training(values):
    return {name: value for name, value in values.items() if "save_counter" not in name}


@pytest.mark.parametrize("make", [by_masking, by_mask_graph], ids=lambda make: make.__name__[3:])
def test_a_dense_file_is_restored_in_full_and_masks_start_at_one(make, tmp_path, caplog):
    before, path = run(dense, tf.train.Checkpoint, 3, tmp_path)
    with caplog.at_level(logging.WARNING, "tensorflow"):
        after, _ = run(make, tf.train.Checkpoint, 0, start=path)
    assert_same_bits({name: after[name] for name in KERNELS}, {name: before[name] for name in KERNELS})
    assert all(after[f"{layer}/mask"].all() for layer in ("conv", "dense"))
    assert caplog.text.count("holds no conv/mask") == caplog.text.count("they start as in a new run") == 1


def test_what_is_restored_before_the_model_is_built_is_restored_in_full(tmp_path):
    whole, _ = run(by_masking, tf.train.Checkpoint, STEPS)
    _, path = run(by_masking, tf.train.Checkpoint, STOPS[0], tmp_path)
    with tf.Graph().as_default(), masking(SPEC):
        checkpoint = tf.train.Checkpoint()
        status = checkpoint.restore(path)
        train, built = build(tf.train.Checkpoint)
        for name in ("conv", "dense", "trainer", "step"):
            setattr(checkpoint, name, getattr(built, name))
        with tf.Session(config=CONFIG) as session:
            status.assert_consumed().initialize_or_restore(session)
            for _ in range(STEPS - STOPS[0]):
                session.run(train)
            assert_same_bits(_of_training(all_values(session)), _of_training(whole))


def test_a_savers_file_is_restored_by_names(tmp_path):
    with tf.Graph().as_default():
        train, checkpoint = by_masking(tf.train.Checkpoint)
        # TensorFlow asks for that, too, and by this it comes into being.
        assert checkpoint.save_counter is not None
        saver = tf.train.Saver()
        with tf.Session(config=CONFIG) as session:
            initialize(session)
            for _ in range(STOPS[1]):
                session.run(train)
            path, before = saver.save(session, str(tmp_path / "model.ckpt")), all_values(session)
    after, _ = run(by_masking, tf.train.Checkpoint, 0, start=path, consumed=False)
    assert (before["conv/mask"] == 0).any()
    assert_same_bits({name: after[name] for name in before}, before)


def test_a_checkpoint_of_a_part_holds_the_masks_of_that_part(tmp_path):
    with tf.Graph().as_default():
        train, whole = by_masking(tf.train.Checkpoint)
        part = tf.train.Checkpoint(dense=whole.dense)
        with tf.Session(config=CONFIG) as session:
            initialize(session)
            session.run(train)
            names = {name for name, _ in tf.train.list_variables(part.save(str(tmp_path / "part"), session))}
    held = {name.split("/")[1] for name in names if name.startswith("graph_masker/")}
    assert held == {"dense.Smask", "dense.Sthreshold"}


def test_other_graphs_files_stay_as_they_are(tmp_path):
    _, path = run(dense, tf.train.Checkpoint, 1, tmp_path)
    assert not [name for name, _ in tf.train.list_variables(path) if "graph_masker" in name]
