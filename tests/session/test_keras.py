"""Keras models in graph mode: fitted inside masking() or after it, saved, loaded, resumed, made an Estimator."""

import contextlib
import logging
import threading

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tensorflow.compat.v2 as tf2

from graph_masker import PruningSpec, UsageError, auto_mask_estimator, masking
from graph_masker.masker import Masker
from tests.helpers.bits import assert_same_bits, differences
from tests.helpers.running import normal_value
from tests.session.nets import CONFIG, value_of

SPEC = PruningSpec(target_sparsity=0.75, begin_step=2, end_step=10, frequency=3)
X, Y = normal_value("x", [16, 12]), normal_value("y", [16, 4])
STEPS = 12


def model(optimizer=None, lazily=False):
    layers = tf.keras.layers
    first = {} if lazily else {"input_shape": (12,)}
    net = tf.keras.Sequential(
        [
            layers.Dense(8, "relu", kernel_initializer=value_of("first"), **first),
            layers.BatchNormalization(),
            layers.Dense(4, kernel_initializer=value_of("second")),
        ]
    )
    net.compile(optimizer or tf.keras.optimizers.Adam(0.05), "mse")
    return net


def fit(net, steps=STEPS):
    net.fit(X, Y, batch_size=16, epochs=steps, verbose=0, shuffle=False)


@pytest.fixture(autouse=True)
def graph_and_session():
    with tf.Graph().as_default(), tf.Session(config=CONFIG):
        yield


def values_of(net, masks):
    session = tf.keras.backend.get_session()
    masked = session.run({f"mask {number}": mask for number, mask in enumerate(masks.values())})
    weights = {str(number): value for number, value in enumerate(net.get_weights())}
    optimizer = {f"optimizer {number}": value for number, value in enumerate(net.optimizer.get_weights())}
    return {**masked, **weights, **optimizer}


@pytest.fixture(scope="module")
def expected():
    """Trained one batch at a time; after each, an update runs that was built explicitly."""
    with tf.Graph().as_default(), tf.Session(config=CONFIG):
        net = model()
        masker = Masker(tf.get_default_graph(), SPEC)
        with masker.watching_gradients():
            net._make_train_function()
        update = masker.attach_update(step=net.optimizer.iterations)
        session = tf.keras.backend.get_session()
        session.run([variable.initializer for variable in masker.state_variables])
        for _ in range(STEPS):
            net.train_on_batch(X, Y)
            session.run(update)
        return values_of(net, masker.masks)


def check(values, expected):
    assert_same_bits(values, expected)
    assert sorted(np.mean(value) for name, value in values.items() if name.startswith("mask")) == [0.25, 0.25]


def test_fitted_inside(expected):
    with masking(SPEC) as masker:
        net = model()
        fit(net)
        check(values_of(net, masker.masks), expected)


def test_fitted_after(expected):
    with masking(SPEC) as masker:
        net = model()
    fit(net)
    check(values_of(net, masker.masks), expected)


def test_built_when_fitted(expected):
    with masking(SPEC) as masker:
        net = model(lazily=True)
        fit(net)
        check(values_of(net, masker.masks), expected)


def test_predicted_before_it_is_fitted(expected):
    with masking(SPEC) as masker:
        net = model()
        dense = net.predict(X)
        fit(net)
        check(values_of(net, masker.masks), expected)
        assert not np.array_equal(net.predict(X), dense)


def test_predicted_before_masking_is_an_error_that_names_the_remedy():
    net = model()
    net.predict(X)
    with pytest.raises(UsageError, match=r"dense.*can have run already.*before the model is built"), masking(SPEC):
        fit(net)


def test_fitted_twice_the_first_time_with_a_frozen_layer(caplog):
    """Each fit has a train op of its own, and neither is told that it misses what the other one writes."""
    caplog.set_level(logging.WARNING, logger="tensorflow")
    with masking(SPEC) as masker:
        net = model()
        net.layers[0].trainable = False
        net.compile(tf.keras.optimizers.Adam(0.05), "mse")
        fit(net)
        net.layers[0].trainable = True
        net.compile(tf.keras.optimizers.Adam(0.05), "mse")
        fit(net)
        masks = tf.keras.backend.get_session().run(list(masker.masks.values()))
    assert [np.mean(mask) for mask in masks] == [0.25, 0.25]
    assert not [record for record in caplog.records if "graph_masker" in record.getMessage()]


def test_a_shifted_schedule_is_seen(expected):
    with masking(PruningSpec(target_sparsity=0.75, begin_step=3, end_step=11, frequency=3)) as masker:
        net = model()
        fit(net)
        assert differences(values_of(net, masker.masks), expected)


@pytest.mark.parametrize("name", ["model.h5", "weights.h5", "weights"], ids=["model", "weights_h5", "weights_tf"])
def test_what_keras_saves_is_what_the_model_computes_with(tmp_path, name):
    with masking(SPEC) as masker:
        net = model()
        fit(net)
        before, predicted = values_of(net, masker.masks), net.predict(X)
        save = net.save if name == "model.h5" else net.save_weights
        save(str(tmp_path / name))
        assert_same_bits(values_of(net, masker.masks), before)  # Training goes on as if nothing had been saved.
    with tf.Graph().as_default(), tf.Session(config=CONFIG):
        if name == "model.h5":
            loaded = _loaded(tmp_path / name)
        else:
            loaded = model()
            loaded.load_weights(str(tmp_path / name))
        assert loaded.predict(X).tobytes() == predicted.tobytes()
        assert np.mean(loaded.get_weights()[0] == 0) == 0.75


def test_what_is_saved_once_masking_is_left_is_pruned_too(tmp_path):
    with masking(SPEC):
        net = model()
        fit(net)
    net.save(str(tmp_path / "model.h5"))
    with tf.Graph().as_default(), tf.Session(config=CONFIG):
        loaded = _loaded(tmp_path / "model.h5")
        assert np.mean(loaded.get_weights()[0] == 0) == 0.75


def test_a_model_that_is_loaded_beside_the_trained_one_predicts_the_same(tmp_path):
    with masking(SPEC):
        net = model()
        fit(net)
        net.save(str(tmp_path / "model.h5"))
        assert _loaded(tmp_path / "model.h5").predict(X).tobytes() == net.predict(X).tobytes()


def _known_to_keras():
    """A context in which Keras makes the models of these tests from what it saved of them."""
    return tf.keras.utils.custom_object_scope({"initializer": value_of("first")})


def _loaded(path):
    with _known_to_keras():
        return tf.keras.models.load_model(str(path), compile=False)


SAVES = {
    "keras": lambda net, path: net.save(path, save_format="tf"),
    "function": lambda net, path: tf.keras.models.save_model(net, path, save_format="tf"),
    "object": tf2.saved_model.save,
    "export": tf.keras.experimental.export_saved_model,
}


def _saved_inside(how, path):
    """Trains a model and saves it while masking is on; returns what it predicts, and its weights after that."""
    with masking(SPEC), _known_to_keras():
        net = model()
        fit(net)
        predicted = net.predict(X)
        SAVES[how](net, path)
        return predicted, net.get_weights()


@pytest.mark.parametrize("how", list(SAVES))
def test_a_saved_model_computes_what_the_model_does(tmp_path, how):
    path = str(tmp_path / "saved")
    predicted, _ = _saved_inside(how, path)
    with tf.Graph().as_default(), tf.Session(config=CONFIG) as session:
        signature = tf.saved_model.loader.load(session, ["serve"], path).signature_def["serving_default"]
        (inputs,), (outputs,) = signature.inputs.values(), signature.outputs.values()
        assert session.run(outputs.name, {inputs.name: X}).tobytes() == predicted.tobytes()


LOADS = {"keras": tf.keras.models.load_model, "export": tf.keras.experimental.load_from_saved_model}


@pytest.mark.parametrize("how", list(LOADS))
def test_keras_loads_a_model_that_it_saved_inside(tmp_path, how):
    path = str(tmp_path / "saved")
    predicted, weights = _saved_inside(how, path)
    assert np.mean(weights[0] == 0) < 0.75
    with tf.Graph().as_default(), tf.Session(config=CONFIG), _known_to_keras():
        loaded = LOADS[how](path)
        assert loaded.predict(X).tobytes() == predicted.tobytes()
        assert np.mean(loaded.get_weights()[0] == 0) == 0.75


def test_a_function_saves_pruned_weights_as_the_method_does(tmp_path):
    with masking(SPEC):
        net = model()
        fit(net)
        tf.keras.models.save_model(net, str(tmp_path / "function.h5"))
        net.save(str(tmp_path / "method.h5"))
        found = [_loaded(tmp_path / f"{name}.h5").get_weights() for name in ("function", "method")]
    assert np.mean(found[0][0] == 0) == 0.75
    for one, other in zip(*found):
        np.testing.assert_array_equal(one, other)


def test_weights_folded_for_good(tmp_path):
    with masking(SPEC) as masker:
        net = model()
        fit(net)
    session, predicted = tf.keras.backend.get_session(), net.predict(X)
    with masker.folded(session):
        assert np.mean(net.get_weights()[0] == 0) == 0.75
    assert np.mean(net.get_weights()[0] == 0) < 0.75
    masker.fold_into_weights(session)
    assert np.mean(net.get_weights()[0] == 0) == 0.75
    assert net.predict(X).tobytes() == predicted.tobytes()


def test_resumed_from_a_saver(tmp_path, expected):
    with masking(SPEC) as masker:
        net = model()
        fit(net, 5)
        prefix = tf.train.Saver().save(tf.keras.backend.get_session(), str(tmp_path / "model.ckpt"))
    with tf.Graph().as_default(), tf.Session(config=CONFIG), masking(SPEC) as masker:
        net = model()
        net._make_train_function()
        tf.train.Saver().restore(tf.keras.backend.get_session(), prefix)
        fit(net, STEPS - 5)
        check(values_of(net, masker.masks), expected)


def test_resumed_from_saved_weights_reaches_the_target(tmp_path):
    with masking(SPEC):
        net = model()
        fit(net)
        net.save_weights(str(tmp_path / "w.h5"))
    with tf.Graph().as_default(), tf.Session(config=CONFIG), masking(SPEC) as masker:
        net = model()
        net.load_weights(str(tmp_path / "w.h5"))
        fit(net)
        masks = tf.keras.backend.get_session().run(masker.masks)
        assert [np.mean(mask) for mask in masks.values()] == [0.25, 0.25]


@pytest.mark.parametrize("inside", [False, True], ids=["auto_mask_estimator", "inside_masking"])
def test_model_to_estimator(tmp_path, inside):
    def steps():
        return tf.data.Dataset.from_tensors((X, Y)).repeat()

    config = tf.estimator.RunConfig(session_config=CONFIG)
    # The Estimator makes the model anew from its configuration.
    with _known_to_keras():
        net = model(tf.train.GradientDescentOptimizer(0.01))
        made = tf.keras.estimator.model_to_estimator(net, model_dir=str(tmp_path), config=config)
        estimator = auto_mask_estimator(made, SPEC)
        with contextlib.ExitStack() as stack:
            if inside:
                stack.enter_context(masking(SPEC, required=False))
            estimator.train(steps, steps=STEPS)
    masks = [name for name in estimator.get_variable_names() if name.endswith("/mask")]
    assert len(masks) == 2
    assert {np.mean(estimator.get_variable_value(name)) for name in masks} == {0.25}


@pytest.mark.parametrize("in_a_thread", [True, False], ids=["another thread", "the same"])
def test_a_pause_is_of_one_thread_alone(in_a_thread):
    graph = tf.Graph()

    def build_and_run():
        with graph.as_default(), tf.Session(config=CONFIG) as session:
            net = tf.layers.dense(tf.constant(X), 4, name="thread")
            step = tf.train.get_or_create_global_step()
            train = tf.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_mean(tf.square(net)), step)
            session.run(tf.global_variables_initializer())
            session.run(train)

    with tf.Graph().as_default(), masking(SPEC, required=False) as masker, masker.paused():
        worker = threading.Thread(target=build_and_run)
        if in_a_thread:
            worker.start()
            worker.join()
        else:
            build_and_run()
    masks = [variable.op.name for variable in graph.get_collection("masks")]
    assert masks == (["thread/mask"] if in_a_thread else [])
