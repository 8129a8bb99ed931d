"""What Estimators export, by any call and in any mode, is the masked model: SavedModels compute the same bits."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from fixtures.estimators import (
    CONV,
    DENSE,
    SPEC,
    batches,
    plain_model_fn,
    read_all,
    run_config,
    saver_before_gradients,
)
from graph_masker import auto_mask, auto_mask_estimator
from graph_masker.schedule import kept_entries
from tests.helpers.bits import assert_same_bits, differences

MODES = tf.estimator.ModeKeys
TAGS = {MODES.TRAIN: "train", MODES.EVAL: "eval", MODES.PREDICT: "serve"}


def _exported(model_fn):
    """A model_fn that says what is to be exported."""

    def with_outputs(features, labels, mode):
        spec = model_fn(features, labels, mode)
        outputs = {"serving_default": tf.estimator.export.PredictOutput(spec.predictions)}
        return spec._replace(export_outputs=outputs) if mode == MODES.PREDICT else spec

    return with_outputs


def _serving():
    images = tf.placeholder(tf.float32, [None, 6, 6, 2], name="images")
    return tf.estimator.export.TensorServingInputReceiver(images, images)


def _supervised():
    with tf.Graph().as_default():
        examples = tf.placeholder(tf.float32, [None, 6, 6, 2], "images"), tf.placeholder(tf.int64, [None], "labels")
        return tf.estimator.experimental.build_raw_supervised_input_receiver_fn(*examples)


def _estimator(model_fn, directory, wrap="model_fn", **config):
    model_fn = _exported(model_fn)
    if wrap == "model_fn":
        return tf.estimator.Estimator(auto_mask(model_fn, SPEC), str(directory), run_config(**config))
    return auto_mask_estimator(tf.estimator.Estimator(model_fn, str(directory), run_config(**config)), SPEC)


def _batch(number=0):
    with tf.Graph().as_default(), tf.Session() as session:
        batch = tf.data.make_one_shot_iterator(batches()().skip(number)).get_next()
        return dict(zip(("images:0", "labels:0"), session.run(batch)))


def _loaded(path, mode, use):
    """Loads a SavedModel's graph of a mode; returns what `use` makes of its session and its signature's outputs."""
    with tf.Graph().as_default() as graph:
        config = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
        with tf.Session(graph=graph, config=config) as session:
            path = path.decode() if isinstance(path, bytes) else path
            meta_graph = tf.saved_model.load(session, [TAGS[mode]], path)
            (signature,) = meta_graph.signature_def.values()
            return use(session, {key: value.name for key, value in signature.outputs.items()})


def _served(path, mode=MODES.PREDICT):
    feed = {"images:0": _batch()["images:0"]}
    return _loaded(path, mode, lambda session, outputs: session.run({"logits": outputs["logits"]}, feed))


def _predicted(estimator, **options):
    return next(iter(estimator.predict(batches(), yield_single_examples=False, **options)))


def _check_masked(model_dir):
    values = read_all(str(model_dir))
    for weight in (CONV, DENSE):
        mask = values[weight.replace("kernel", "mask")]
        assert int(mask.sum()) == kept_entries(mask.size, SPEC.target_sparsity)


WRAPS = pytest.mark.parametrize("wrap", ["model_fn", "estimator"])


@WRAPS
@pytest.mark.parametrize("model_fn", [plain_model_fn, saver_before_gradients], ids=["plain", "early_saver"])
def test_every_mode_in_one_saved_model(tmp_path, model_fn, wrap):
    estimator = _estimator(model_fn, tmp_path / "model", wrap)
    estimator.train(batches(), steps=4)
    receivers = {MODES.TRAIN: _supervised(), MODES.EVAL: _supervised(), MODES.PREDICT: _serving}
    path = estimator.experimental_export_all_saved_models(str(tmp_path / "saved"), receivers)
    start = read_all(str(tmp_path / "model"))
    predicted = {"logits": _predicted(estimator)["logits"]}
    assert_same_bits(_served(path), predicted)
    evaluated = estimator.evaluate(batches(), steps=1)

    def evaluate(session, outputs):
        session.run(tf.get_collection(tf.saved_model.constants.MAIN_OP_KEY))
        found = session.run({key: outputs[key] for key in ("loss", "predictions/logits")}, _batch())
        return {"loss": found["loss"], "logits": found["predictions/logits"]}

    assert_same_bits(_loaded(path, MODES.EVAL, evaluate), {**predicted, "loss": evaluated["loss"]})

    def train(session, outputs):
        (train_op,) = tf.get_collection("saved_model_train_op")
        # 32 images in batches of 8: after 4 steps the batches begin anew.
        for number in range(4):
            session.run(train_op, _batch(number))
        return session.run({variable.op.name: variable for variable in tf.global_variables()})

    # The graph for training goes on as the Estimator does, an update of masks at 5 and one at 8 included.
    estimator.train(batches(), steps=4)
    trained = read_all(str(tmp_path / "model"))
    assert_same_bits(_loaded(path, MODES.TRAIN, train), trained)
    _check_masked(tmp_path / "model")
    assert differences(start, trained) and differences(_served(path), {"logits": _predicted(estimator)["logits"]})


def _exporters():
    smaller = lambda best_eval_result, current_eval_result: True  # noqa: E731
    return [
        tf.estimator.LatestExporter("latest", _serving, exports_to_keep=2),
        tf.estimator.FinalExporter("final", _serving),
        tf.estimator.BestExporter("best", _serving, compare_fn=smaller, exports_to_keep=1),
    ]


@WRAPS
def test_train_and_evaluate_with_exporters(tmp_path, wrap):
    estimator = _estimator(plain_model_fn, tmp_path / "model", wrap, save_checkpoints_steps=4)
    evaluated, _ = tf.estimator.train_and_evaluate(
        estimator,
        tf.estimator.TrainSpec(batches(), max_steps=12),
        tf.estimator.EvalSpec(batches(), steps=2, exporters=_exporters(), throttle_secs=0),
    )
    assert evaluated["global_step"] == 12
    assert evaluated["loss"] == estimator.evaluate(batches(), steps=2)["loss"]
    _check_masked(tmp_path / "model")
    # It equals a run of `train` alone, which evaluation in between interrupts nowhere.
    alone = _estimator(plain_model_fn, tmp_path / "alone", wrap)
    alone.train(batches(), steps=12)
    assert_same_bits(read_all(str(tmp_path / "model")), read_all(str(tmp_path / "alone")))
    exported = {name: sorted(tf.io.gfile.glob(str(tmp_path / "model" / "export" / name / "*"))) for name in _EXPORTERS}
    assert {name: len(paths) for name, paths in exported.items()} == {"latest": 2, "final": 1, "best": 1}
    predicted = {"logits": _predicted(estimator)["logits"]}
    assert_same_bits(_served(estimator.export_saved_model(str(tmp_path / "saved"), _serving)), predicted)
    for name in _EXPORTERS:
        assert_same_bits(_served(exported[name][-1]), predicted)
    # The one before, of step 8, is that of its own checkpoint.
    before = {"logits": _predicted(estimator, checkpoint_path=str(tmp_path / "model" / "model.ckpt-8"))["logits"]}
    assert_same_bits(_served(exported["latest"][0]), before)
    assert differences(before, predicted)


_EXPORTERS = ("latest", "final", "best")


def test_a_canned_estimator_is_trained_evaluated_and_exported(tmp_path):
    columns = [tf.feature_column.numeric_column("images", [72])]
    examples = np.random.RandomState(0).rand(32, 72).astype(np.float32), np.arange(32) % 3

    def input_fn():
        images, labels = examples
        return tf.data.Dataset.from_tensor_slices(({"images": images}, labels)).repeat().batch(8)

    ready = tf.estimator.DNNClassifier([16], columns, str(tmp_path), 3, config=run_config(save_checkpoints_steps=6))
    estimator = auto_mask_estimator(ready, SPEC)

    def serving():
        features = {"images": tf.placeholder(tf.float32, [None, 72])}
        return tf.estimator.export.ServingInputReceiver(features, features)

    evaluated, (path,) = tf.estimator.train_and_evaluate(
        estimator,
        tf.estimator.TrainSpec(input_fn, max_steps=12),
        tf.estimator.EvalSpec(input_fn, exporters=tf.estimator.FinalExporter("final", serving), steps=4),
    )
    assert evaluated["global_step"] == 12
    values = read_all(str(tmp_path))
    for layer in ("hiddenlayer_0", "logits"):
        mask = values[f"dnn/{layer}/mask"]
        assert int(mask.sum()) == kept_entries(mask.size, SPEC.target_sparsity)
    expected = next(iter(estimator.predict(input_fn, yield_single_examples=False)))["logits"]
    with tf.Graph().as_default(), tf.Session() as session:
        meta_graph = tf.saved_model.load(session, ["serve"], path.decode())
        signature = meta_graph.signature_def["predict"]
        feed = {signature.inputs["images"].name: examples[0][:8]}
        found = session.run(signature.outputs["logits"].name, feed)
    assert_same_bits({"logits": found}, {"logits": expected})
