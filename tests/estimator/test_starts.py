"""Weights that start from a checkpoint: their masks start from that checkpoint's, or at one where it has none."""

import logging

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from fixtures.estimators import CONV, DENSE, SPEC, batches, estimator_spec, plain_model_fn, read_all, run_config
from graph_masker import auto_mask
from tests.helpers.bits import assert_same_bits, differences

WEIGHTS = (CONV, DENSE, "conv/bias", "dense/bias")
MASKS = ("conv/mask", "dense/mask")
LAST = "model_pruning/last_mask_update_step"


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Directories of a dense and of a masked checkpoint, both of step 8."""
    folder = tmp_path_factory.mktemp("sources")
    tf.estimator.Estimator(plain_model_fn, str(folder / "dense"), run_config()).train(batches(), steps=8)
    tf.estimator.Estimator(auto_mask(plain_model_fn, SPEC), str(folder / "masked"), run_config()).train(
        batches(), steps=8
    )
    return {name: str(folder / name) for name in ("dense", "masked")}


class _Look(tf.train.SessionRunHook):
    """Notes all variables before the first step."""

    def begin(self):
        self.variables = {variable.op.name: variable for variable in tf.global_variables()}

    def after_create_session(self, session, coord):
        self.values = session.run(self.variables)


def _starts(model_fn, directory, warm_start=None, **options):
    """Returns what training starts from, and what it has after two steps."""
    look = _Look()
    estimator = tf.estimator.Estimator(
        auto_mask(model_fn, SPEC), str(directory), run_config(), warm_start_from=warm_start, **options
    )
    estimator.train(batches(), steps=2, hooks=[look])
    return look.values, read_all(str(directory))


def _check(values, source, masked, counted=False, names=WEIGHTS):
    """Asserts that weights are those of a checkpoint and masks too, or all ones."""
    expected = read_all(source)
    assert_same_bits({name: values[name] for name in names}, {name: expected[name] for name in names})
    for name in MASKS:
        weight = next(weight for weight in (CONV, DENSE) if weight.startswith(name.partition("/")[0]))
        comes = masked and weight in names
        assert_same_bits({name: values[name]}, {name: expected[name] if comes else np.ones_like(values[name])})
        threshold = name.replace("mask", "threshold")
        assert values[threshold] == (expected[threshold] if comes else 0)
    assert values[LAST] == (expected[LAST] if counted and masked else -1)
    assert values["global_step"] == (expected["global_step"] if counted else 0)


def _settings(source, patterns, names=None):
    return tf.estimator.WarmStartSettings(source, patterns, var_name_to_prev_var_name=names)


PATTERNS = {"default": ".*", "pattern": "dense|conv", "list": [".*"], "names": ["conv/kernel", "conv/bias", "dense/"]}


@pytest.mark.parametrize("source", ["dense", "masked"])
@pytest.mark.parametrize("kind", PATTERNS)
def test_warm_start_settings(tmp_path, sources, source, kind, caplog):
    with caplog.at_level(logging.WARNING, logger="tensorflow"):
        values, after = _starts(plain_model_fn, tmp_path, _settings(sources[source], PATTERNS[kind]))
    _check(values, sources[source], source == "masked", counted=kind == "list")
    asked = source == "dense" and kind in ("list", "names")
    assert ("which it was asked for; masks follow their weights" in caplog.text) == asked
    # One that starts anew prunes by its own steps; one that goes on from step 8 either has done so or catches up.
    assert after[LAST] == ({"masked": 8, "dense": 9}[source] if kind == "list" else 2)


def test_a_warm_start_of_part_of_the_model(tmp_path, sources):
    values, _ = _starts(plain_model_fn, tmp_path, _settings(sources["masked"], "conv"))
    _check(values, sources["masked"], True, names=("conv/kernel", "conv/bias"))


def test_a_masked_list_warm_start_goes_on_as_the_run_itself(tmp_path, sources):
    """Everything, slots and step included, comes along: the run is that which the source would have continued."""
    _, warm = _starts(plain_model_fn, tmp_path / "warm", _settings(sources["masked"], [".*"]))
    for source in tf.io.gfile.glob(sources["masked"] + "/*"):
        tf.io.gfile.makedirs(str(tmp_path / "resumed"))
        tf.io.gfile.copy(source, str(tmp_path / "resumed" / source.rpartition("/")[2]))
    _, resumed = _starts(plain_model_fn, tmp_path / "resumed")
    assert_same_bits(warm, resumed)
    _, other = _starts(plain_model_fn, tmp_path / "other", _settings(sources["masked"], ".*"))
    assert differences(other, resumed)


def _renamed(features, labels, mode):
    with tf.variable_scope("net"):
        return plain_model_fn(features, labels, mode)


@pytest.mark.parametrize("source", ["dense", "masked"])
def test_other_names_in_the_source(tmp_path, sources, source):
    names = {f"net/{name}": name for name in WEIGHTS}
    values, _ = _starts(_renamed, tmp_path, _settings(sources[source], "net/", names))
    plain = {name.replace("net/", ""): value for name, value in values.items()}
    _check(plain, sources[source], source == "masked")


def _initialized(source, assignment_map, late=False):
    """A model_fn that calls init_from_checkpoint before its gradients, as the Object Detection API does, or after."""

    def initialize():
        tf.train.init_from_checkpoint(source, assignment_map())

    def model_fn(features, labels, mode):
        spec = estimator_spec(
            features, labels, mode, tf.train.GradientDescentOptimizer(0.1), (lambda: None) if late else initialize
        )
        if late:
            initialize()
        return spec

    return model_fn


def _variables(*names):
    known = {variable.op.name: variable for variable in tf.global_variables()}
    return {name: known[name] for name in names or WEIGHTS}


MAPS = {
    "root": lambda: {"/": "/"},
    "scopes": lambda: {"conv/": "conv/", "dense/": "dense/"},
    "names": lambda: {name: name for name in WEIGHTS},
    "variables": _variables,
}


@pytest.mark.parametrize("late", [False, True], ids=["before gradients", "after gradients"])
@pytest.mark.parametrize("source", ["dense", "masked"])
@pytest.mark.parametrize("kind", MAPS)
def test_init_from_checkpoint(tmp_path, sources, kind, source, late):
    values, _ = _starts(_initialized(sources[source], MAPS[kind], late), tmp_path)
    _check(values, sources[source], source == "masked", counted=kind == "root")


def test_a_mask_that_is_asked_for_by_name_is_an_own_choice(tmp_path, sources):
    """The convolution's weight comes without its mask's counterpart: the dense layer's mask alone is named."""
    names = {"dense/mask": "dense/mask"}
    values, _ = _starts(_initialized(sources["masked"], lambda: names, late=True), tmp_path)
    expected = read_all(sources["masked"])
    assert values["dense/mask"].tobytes() == expected["dense/mask"].tobytes()
    assert values["conv/mask"].min() == 1
    assert values[DENSE].tobytes() != expected[DENSE].tobytes()


def test_the_last_source_counts(tmp_path, sources):
    def model_fn(features, labels, mode):
        spec = _initialized(sources["masked"], _variables, late=True)(features, labels, mode)
        tf.train.init_from_checkpoint(sources["dense"], _variables(DENSE))
        return spec

    values, _ = _starts(model_fn, tmp_path)
    masked, dense = read_all(sources["masked"]), read_all(sources["dense"])
    assert values["conv/mask"].tobytes() == masked["conv/mask"].tobytes()
    assert values[DENSE].tobytes() == dense[DENSE].tobytes()
    assert values["dense/mask"].min() == 1 and values["dense/threshold"] == 0


def test_a_missing_weight_is_still_an_error(tmp_path, sources):
    def larger(features, labels, mode):
        tf.get_variable("one_more", [2])
        return plain_model_fn(features, labels, mode)

    with pytest.raises(ValueError, match="Tensor one_more is not found"):
        _starts(larger, tmp_path, _settings(sources["dense"], [".*"]))


def test_averages_of_a_masked_model(tmp_path, sources):
    """A weight that starts from its moving average gets the weight's mask."""

    def averaged(features, labels, mode):
        spec = estimator_spec(features, labels, mode, tf.train.GradientDescentOptimizer(0.1))
        with tf.control_dependencies([spec.train_op]):
            return spec._replace(train_op=tf.train.ExponentialMovingAverage(0.5).apply(tf.trainable_variables()))

    tf.estimator.Estimator(auto_mask(averaged, SPEC), str(tmp_path / "source"), run_config()).train(batches(), steps=8)
    names = {name: f"{name}/ExponentialMovingAverage" for name in WEIGHTS}
    values, _ = _starts(plain_model_fn, tmp_path / "model", _settings(str(tmp_path / "source"), ".*", names))
    source = read_all(str(tmp_path / "source"))
    for name, key in names.items():
        assert values[name].tobytes() == source[key].tobytes()
    for name in MASKS:
        assert values[name].tobytes() == source[name].tobytes()


def _partitioned(features, labels, mode):
    kernel = tf.get_variable("parts/kernel", [72, 8], partitioner=tf.fixed_size_partitioner(3))
    hidden = tf.matmul(tf.reshape(features, [-1, 72]), kernel)
    loss = tf.losses.sparse_softmax_cross_entropy(labels, hidden)
    train_op = tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss, tf.train.get_global_step())
    return tf.estimator.EstimatorSpec(mode, {"logits": hidden}, loss, train_op)


@pytest.mark.parametrize("patterns", [".*", [".*"]], ids=["pattern", "list"])
@pytest.mark.parametrize("masked", [False, True], ids=["dense", "masked"])
def test_partitioned_weights(tmp_path, masked, patterns):
    model_fn = auto_mask(_partitioned, SPEC) if masked else _partitioned
    tf.estimator.Estimator(model_fn, str(tmp_path / "source"), run_config()).train(batches(), steps=8)
    values, _ = _starts(_partitioned, tmp_path / "model", _settings(str(tmp_path / "source"), patterns))
    source = read_all(str(tmp_path / "source"))
    for name in ("parts/kernel", "parts/mask"):
        found = np.concatenate([values[f"{name}/part_{number}"] for number in range(3)])
        expected = source[name] if name in source else np.ones_like(found)
        assert_same_bits({name: found}, {name: expected})
    assert ("parts/mask" in source) == masked


@pytest.mark.parametrize("source", ["dense", "masked"])
def test_an_init_fn_that_restores_weights(tmp_path, sources, source):
    """A saver of the weights alone takes their masks along, as a warm start does; step and slots stay new."""

    def make():
        saver = tf.train.Saver(tf.trainable_variables())
        prefix = tf.train.latest_checkpoint(sources[source])
        return tf.train.Scaffold(init_fn=lambda scaffold, session: saver.restore(session, prefix))

    def model_fn(features, labels, mode):
        return estimator_spec(features, labels, mode, scaffold=make)

    values, after = _starts(model_fn, tmp_path)
    _check(values, sources[source], source == "masked")
    assert after[LAST] == 2


@pytest.mark.parametrize("source", ["dense", "masked"])
def test_resuming_does_not_look_at_the_warm_start(tmp_path, sources, source):
    """A dense checkpoint in the model's own directory goes first: masks are ones, whatever was warm-started from."""
    tf.estimator.Estimator(plain_model_fn, str(tmp_path), run_config()).train(batches(), steps=4)
    own = tf.train.latest_checkpoint(str(tmp_path))
    values, _ = _starts(plain_model_fn, tmp_path, _settings(sources[source], ".*"))
    expected = read_all(own)
    assert_same_bits({name: values[name] for name in expected}, expected)
    assert all(values[name].min() == 1 for name in MASKS)


@pytest.mark.parametrize("scaffold", [True, False], ids=["init_op", "default"])
def test_an_init_op_of_the_model_reads_the_masks(tmp_path, sources, scaffold):
    """Built when masks exist and their weights, but not yet they, start from a checkpoint."""

    def model_fn(features, labels, mode):
        def initialize():
            tf.train.init_from_checkpoint(sources["masked"], _variables())

        def make():
            return tf.train.Scaffold(init_op=tf.global_variables_initializer()) if scaffold else None

        optimizer = tf.train.GradientDescentOptimizer(0.1)
        return estimator_spec(features, labels, mode, optimizer, initialize, make)

    _check(_starts(model_fn, tmp_path)[0], sources["masked"], True)


def test_a_graph_that_is_not_masked_starts_as_ever(sources):
    with tf.Graph().as_default(), tf.Session() as session:
        mask = tf.get_variable("conv/mask", [3, 3, 2, 4])
        with pytest.raises(ValueError, match="is not found in"):
            tf.train.init_from_checkpoint(sources["dense"], {"conv/mask": mask})
        tf.train.init_from_checkpoint(sources["masked"], {"conv/mask": mask})
        session.run(mask.initializer)
        assert session.run(mask).tobytes() == read_all(sources["masked"])["conv/mask"].tobytes()
        saver = tf.train.Saver()
        with pytest.raises(tf.errors.NotFoundError):
            saver.restore(session, tf.train.latest_checkpoint(sources["dense"]))
