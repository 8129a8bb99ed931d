"""model_fns of every signature and kind, and every kind of train_op: each trains as the usual one, bit for bit."""

import functools

import pytest
import tensorflow.compat.v1 as tf

from fixtures.estimators import SPEC, batches, plain_model_fn, read_all, run_config
from graph_masker import auto_mask, auto_mask_estimator
from tests.helpers.bits import assert_same_bits, differences

STEPS = 9
PARAMS = {"rate": 0.1}


def _fixed():
    """The labels of the batches, for a model_fn that is given none."""
    return tf.data.make_one_shot_iterator(batches()()).get_next()[1]


def _build(features, labels, mode):
    return plain_model_fn(features, labels, mode)


def features_only(features):
    return _build(features, _fixed(), "train")


def features_and_mode(features, mode):
    return _build(features, _fixed(), mode)


def features_and_labels(features, labels):
    return _build(features, labels, "train")


def usual(features, labels, mode):
    return _build(features, labels, mode)


def everything(features, labels, mode, params, config):
    assert params == PARAMS and config.tf_random_seed == 7
    return _build(features, labels, mode)


def everything_in_another_order(config, params, mode, labels, features):
    assert params == PARAMS and config.tf_random_seed == 7
    return _build(features, labels, mode)


def config_and_no_mode(features, labels, config):
    assert config.tf_random_seed == 7
    return _build(features, labels, "train")


def with_defaults(features, labels=None, mode=None, params=None, config=None):
    assert params == PARAMS and config.tf_random_seed == 7
    return _build(features, labels, mode)


def keyword_only(features, *, labels, mode, params, config):
    assert params == PARAMS and config.tf_random_seed == 7
    return _build(features, labels, mode)


def keyword_only_with_defaults(features, labels, *, mode=None, rate=0.1):
    assert rate == 0.1
    return _build(features, labels, mode)


def any_keywords(features, labels, **kwargs):
    return _build(features, labels, kwargs.get("mode", "train"))


def mode_set_before(features, labels, **kwargs):
    assert kwargs["mode"] == "set before"
    return _build(features, labels, "train")


def keywords_beside_mode(features, labels, mode, **kwargs):
    return _build(features, labels, mode)


def _with_more(features, labels, rate, mode, params=None):
    assert rate == 0.1 and params == PARAMS
    return _build(features, labels, mode)


def _params_first(params, features, labels, mode):
    assert params == PARAMS
    return _build(features, labels, mode)


class Model:
    def method(self, features, labels, mode, params):
        assert params == PARAMS
        return _build(features, labels, mode)

    @classmethod
    def of_class(cls, features, labels, mode):
        return _build(features, labels, mode)

    @staticmethod
    def static(features, labels, mode):
        return _build(features, labels, mode)


class Callable:
    def __call__(self, features, labels, mode, config):
        assert config.tf_random_seed == 7
        return _build(features, labels, mode)


def _decorated(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


MODEL_FNS = {
    "features": features_only,
    "features, mode": features_and_mode,
    "features, labels": features_and_labels,
    "features, labels, mode": usual,
    "features, labels, config": config_and_no_mode,
    "all": everything,
    "all in another order": everything_in_another_order,
    "defaults": with_defaults,
    "keyword-only": keyword_only,
    "keyword-only with defaults": keyword_only_with_defaults,
    "any keywords": any_keywords,
    "keywords beside mode": keywords_beside_mode,
    "partial": functools.partial(_with_more, rate=0.1),
    "partial with the mode": functools.partial(usual, mode="train"),
    "partial of any keywords": functools.partial(mode_set_before, mode="set before"),
    "decorated partial": _decorated(functools.partial(usual, mode="train")),
    "partial of partial": functools.partial(functools.partial(_with_more, rate=0.1), params=PARAMS),
    "partial by position": functools.partial(_params_first, PARAMS),
    "partial of a method": functools.partial(Model().method, params=PARAMS),
    "partial of an object": functools.partial(Callable()),
    "method": Model().method,
    "class method": Model.of_class,
    "static method": Model.static,
    "object": Callable(),
    "decorated": _decorated(usual),
    "lambda": lambda features, labels, mode: _build(features, labels, mode),
}
GIVEN = ("all", "all in another order", "defaults", "keyword-only", "partial", "method")
ALWAYS_TRAIN = (
    "features",
    "features, labels",
    "features, labels, config",
    "partial with the mode",
    "partial of any keywords",
    "decorated partial",
)
SORTS = ("features", "all", "defaults", "keyword-only", "any keywords", "partial", "object", "decorated partial")
# An Estimator itself does not take these. What auto_mask makes of them, it takes.
NOT_TENSORFLOWS = {"keyword-only": ValueError, "decorated": ValueError, "decorated partial": ValueError}


def _examples():
    return batches()()


def _images():
    return batches()().map(lambda images, labels: images)


def _train(model_fn, directory, inputs=_examples, params=None, wrap="model_fn"):
    options = {"model_dir": str(directory), "config": run_config(), "params": params}
    if wrap == "model_fn":
        estimator = tf.estimator.Estimator(auto_mask(model_fn, SPEC), **options)
    else:
        estimator = auto_mask_estimator(tf.estimator.Estimator(model_fn, **options), SPEC)
    estimator.train(inputs, steps=STEPS)
    return estimator


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What the usual model_fn comes to, by its labels or by those that it makes itself."""

    def fixed(features, labels, mode):
        return usual(features, _fixed(), mode)

    found = {}
    for name, model_fn in (("given", usual), ("fixed", fixed)):
        folder = str(tmp_path_factory.mktemp(name))
        _train(model_fn, folder, _images if name == "fixed" else _examples)
        found[name] = read_all(folder)
    return found


# As auto_mask makes it, each; as auto_mask_estimator does, one of each sort.
SIGNATURES = [
    *(pytest.param(name, "model_fn", id=f"model_fn-{name}") for name in MODEL_FNS),
    *(
        pytest.param(name, "estimator", id=f"estimator-{name}", marks=() if name in SORTS else pytest.mark.slow)
        for name in MODEL_FNS
    ),
]


@pytest.mark.parametrize("name, wrap", SIGNATURES)
def test_every_signature(tmp_path, expected, name, wrap):
    takes_labels = name not in ("features", "features, mode")
    inputs, params = _examples if takes_labels else _images, PARAMS if name in GIVEN else None
    if wrap == "estimator" and name in NOT_TENSORFLOWS:
        with pytest.raises(NOT_TENSORFLOWS[name]):
            _train(MODEL_FNS[name], tmp_path, inputs, params, wrap)
        return
    estimator = _train(MODEL_FNS[name], tmp_path, inputs, params, wrap)
    assert_same_bits(read_all(str(tmp_path)), expected["given" if takes_labels else "fixed"])
    if name not in ALWAYS_TRAIN:
        prediction = next(iter(estimator.predict(_images, yield_single_examples=False)))
        assert prediction["logits"].shape == (8, 3)


def _operation(spec):
    assert isinstance(spec.train_op, tf.Operation)
    return spec.train_op


def _tensor(spec):
    with tf.control_dependencies([spec.train_op]):
        return tf.identity(spec.loss)


def _reference(spec):
    """What tf.assign_add returns for a reference variable."""
    count = tf.get_variable("runs", initializer=0, trainable=False, use_resource=False)
    with tf.control_dependencies([spec.train_op]):
        return tf.assign_add(count, 1)


def _unread(spec):
    """What a resource variable's own method returns: neither a tensor nor an operation."""
    count = tf.get_variable("runs", initializer=0, trainable=False, use_resource=True)
    with tf.control_dependencies([spec.train_op]):
        return count.assign_add(1)


def _group(spec):
    return tf.group(spec.train_op, tf.no_op())


@pytest.mark.parametrize("kind", [_operation, _tensor, _reference, _unread, _group])
def test_every_kind_of_train_op(tmp_path, expected, kind):
    def model_fn(features, labels, mode):
        spec = plain_model_fn(features, labels, mode)
        return spec if mode != "train" else spec._replace(train_op=kind(spec))

    estimator = tf.estimator.Estimator(auto_mask(model_fn, SPEC), str(tmp_path), run_config())
    estimator.train(_examples, steps=STEPS)
    values = read_all(str(tmp_path))
    if kind in (_reference, _unread):
        assert values.pop("runs") == STEPS
    assert_same_bits(values, expected["given"])
    # None, in every other mode, stays None.
    assert estimator.evaluate(_examples, steps=1)["global_step"] == STEPS


def test_no_train_op_in_training_is_the_estimators_error(tmp_path):
    def model_fn(features, labels, mode):
        loss = plain_model_fn(features, labels, mode).loss
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=None)

    for wrap in (lambda f: f, lambda f: auto_mask(f, SPEC)):
        with pytest.raises(ValueError, match="Missing train_op"):
            tf.estimator.Estimator(wrap(model_fn), str(tmp_path), run_config()).train(_examples, steps=1)


def test_other_inputs_give_other_bits(tmp_path, expected):
    """The control of the comparisons above."""
    _train(usual, tmp_path, batches(1))
    assert differences(read_all(str(tmp_path)), expected["given"])


def test_a_direct_call_gives_what_it_gives():
    """Without an Estimator: by position and by keyword, and defaults stay the model_fn's own."""
    seen = []

    def by_default(features, labels, mode="train", rate=0.5):
        seen.append((mode, rate))
        return plain_model_fn(features, labels, mode)

    def by_keyword(features, labels, **options):
        seen.append(options)
        return plain_model_fn(features, labels, options["mode"])

    for call in (
        lambda: auto_mask(by_default, SPEC)(*_examples_now()),
        lambda: auto_mask(by_default, SPEC)(*_examples_now(), "train", rate=0.1),
        lambda: auto_mask(by_keyword, SPEC)(*_examples_now(), mode="train"),
        lambda: auto_mask(usual, SPEC)(*_examples_now(), mode="train", config=None),
    ):
        with tf.Graph().as_default() as graph:
            tf.train.create_global_step()
            assert call().train_op.name.startswith("model_pruning/train_and_update_masks")
            assert graph.get_operation_by_name("conv/mask")
    assert seen == [("train", 0.5), ("train", 0.1), {"mode": "train"}]
    with tf.Graph().as_default(), pytest.raises(TypeError, match="labels"):
        auto_mask(usual, SPEC)(tf.zeros([1]))


def _examples_now():
    return tf.data.make_one_shot_iterator(_examples()).get_next()
