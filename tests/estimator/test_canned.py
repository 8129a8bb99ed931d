"""Canned Estimators: trained, evaluated, exported, resumed and folded; the original predicts the same, bit for bit."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from fixtures.estimators import read_all, run_config
from graph_masker import PlanError, PruningSpec, SourceError, auto_mask_estimator, fold_checkpoint
from graph_masker.files.bundle import read_index
from graph_masker.files.source import CheckpointReader
from graph_masker.schedule import kept_entries
from tests.helpers.bits import assert_same_bits
from tests.helpers.turns import representatives

SPEC = PruningSpec(target_sparsity=0.75, begin_step=2, end_step=8, frequency=3)
SIZES = tf.fixed_size_partitioner
WORDS = ["ant", "bee", "cat", "dog"]


def _data(classes):
    random = np.random.RandomState(0)
    features = {
        "x": random.rand(32, 12).astype(np.float32),
        "word": np.array(WORDS)[random.randint(0, 4, 32)],
    }
    labels = random.randint(0, classes, 32) if classes else random.rand(32).astype(np.float32)
    return lambda: tf.data.Dataset.from_tensor_slices((dict(features), labels)).repeat().batch(8)


X = tf.feature_column.numeric_column("x", shape=[12])
WORD = tf.feature_column.categorical_column_with_vocabulary_list("word", WORDS)


def _columns():
    return [X, tf.feature_column.embedding_column(WORD, 5)]


def _classifier(directory, **options):
    options = {"hidden_units": [16, 8], "n_classes": 3, **options}
    return tf.estimator.DNNClassifier(feature_columns=_columns(), model_dir=directory, config=run_config(), **options)


def _partitioned_regressor(directory):
    return tf.estimator.DNNRegressor(
        [16, 8], _columns(), directory, config=run_config(), optimizer="Ftrl", input_layer_partitioner=SIZES(2)
    )


def _own_head(directory):
    """A model_fn around a canned head, every variable of which is partitioned."""

    def model_fn(features, labels, mode):
        with tf.variable_scope("net", partitioner=SIZES(3)):
            hidden = tf.layers.dense(tf.feature_column.input_layer(features, _columns()), 12, tf.nn.relu)
            logits = tf.layers.dense(hidden, 3)
        optimizer = tf.train.AdagradOptimizer(0.1)

        def train_op(loss):
            return optimizer.minimize(loss, tf.train.get_global_step())

        return tf.estimator.MultiClassHead(3).create_estimator_spec(
            features, mode, logits, labels, train_op_fn=train_op
        )

    return tf.estimator.Estimator(model_fn, directory, run_config())


def _combined(directory):
    return tf.estimator.DNNLinearCombinedClassifier(
        directory,
        linear_feature_columns=[X, WORD],
        dnn_feature_columns=_columns(),
        dnn_hidden_units=[16, 8],
        input_layer_partitioner=SIZES(2),
        config=run_config(),
    )


DNN = {"dnn/hiddenlayer_0/kernel", "dnn/hiddenlayer_1/kernel", "dnn/logits/kernel"}
CANNED = {
    "adagrad": (_classifier, 3, DNN),
    "batch norm": (lambda directory: _classifier(directory, batch_norm=True, dropout=0.3), 3, DNN),
    "partitioned, Ftrl": (_partitioned_regressor, 0, DNN),
    "combined": (_combined, 2, {*DNN, "linear/linear_model/x/weights"}),
    "own head": (_own_head, 3, {"net/dense/kernel", "net/dense_1/kernel"}),
}


def _predictions(estimator, inputs):
    found = next(iter(estimator.predict(inputs, yield_single_examples=False)))
    return {name: value for name, value in found.items() if value.dtype.kind in "fi"}


@pytest.mark.parametrize("name", representatives(CANNED, ("adagrad", "partitioned, Ftrl", "combined")))
def test_the_whole_life_of_a_canned_estimator(tmp_path, name):
    make, classes, weights = CANNED[name]
    inputs = _data(classes)

    def masked(directory):
        return auto_mask_estimator(make(str(tmp_path / directory)), SPEC)

    masked("model").train(inputs, steps=12)
    whole = _read(str(tmp_path / "model"))
    assert len([key for key in whole if key.endswith("mask")]) == len(weights)
    for weight in weights:
        # The parts of a weight are ranked together: the count is that of the whole.
        mask = whole[f"{weight.rpartition('/')[0]}/mask"]
        assert int(mask.sum()) == kept_entries(mask.size, SPEC.target_sparsity), weight
    if name != "batch norm":  # Dropout draws anew when training is resumed.
        for steps in (4, 8):
            masked("parts").train(inputs, steps=steps)
        assert_same_bits(_read(str(tmp_path / "parts")), whole)
    found = _predictions(masked("model"), inputs)
    scores = masked("model").evaluate(inputs, steps=2)
    fold_checkpoint(str(tmp_path / "model"), str(tmp_path / "folded"))
    plain = make(str(tmp_path / "folded"))
    assert_same_bits(_predictions(plain, inputs), found)
    assert scores == plain.evaluate(inputs, steps=2)
    # Negative control: without masks the predictions are others.
    raw = _predictions(make(str(tmp_path / "model")), inputs)
    assert any(raw[key].tobytes() != found[key].tobytes() for key in found)
    assert _exported(masked("model"), tmp_path / "saved", found)


def _read(directory):
    """Returns every tensor of a checkpoint, and every part of those that it does not hold whole."""
    reader = CheckpointReader(tf.train.latest_checkpoint(directory))
    values, parts = {}, [tensor for tensor in read_index(reader.prefix).tensors.values() if tensor.part]
    for name in reader.names():
        try:
            values[name] = reader.tensor(name)
        except SourceError:
            assert name in {tensor.name for tensor in parts}
    lone = [tensor for tensor in parts if tensor.name not in values]
    return {**values, **{f"{name} {part}": reader.part(name, part) for name, part in lone}}


def _exported(estimator, folder, expected):
    specification = tf.feature_column.make_parse_example_spec(_columns())
    receiver = tf.estimator.export.build_parsing_serving_input_receiver_fn(specification)
    path = estimator.export_saved_model(str(folder), receiver).decode()
    inputs = _data(0)
    with tf.Graph().as_default(), tf.Session() as session:
        features = session.run(tf.data.make_one_shot_iterator(inputs()).get_next()[0])
        signatures = tf.saved_model.load(session, ["serve"], path).signature_def
        signature = signatures["predict"]
        examples = [
            tf.train.Example(
                features=tf.train.Features(
                    feature={
                        "x": tf.train.Feature(float_list=tf.train.FloatList(value=x)),
                        "word": tf.train.Feature(bytes_list=tf.train.BytesList(value=[word])),
                    }
                )
            ).SerializeToString()
            for x, word in zip(features["x"], features["word"])
        ]
        key = next(key for key in ("logits", "predictions") if key in expected)
        found = session.run(signature.outputs[key].name, {signature.inputs["examples"].name: examples})
    return found.tobytes() == expected[key].tobytes()


@pytest.mark.parametrize("source", ["dense", "masked"])
def test_warm_start_of_a_canned_estimator(tmp_path, source):
    before = _classifier(str(tmp_path / "source"))
    (auto_mask_estimator(before, SPEC) if source == "masked" else before).train(_data(3), steps=8)
    values = read_all(str(tmp_path / "source"))

    class Look(tf.train.SessionRunHook):
        def begin(self):
            variables = {variable.op.name: variable for variable in tf.global_variables()}
            self.asked = [variables[f"dnn/logits/{name}/part_0"] for name in ("mask", "kernel")]

        def after_create_session(self, session, coord):
            self.mask, self.kernel = session.run(self.asked)

    look = Look()
    warm = _classifier(str(tmp_path / "warm"), warm_start_from=str(tmp_path / "source"))
    auto_mask_estimator(warm, SPEC).train(_data(3), steps=1, hooks=[look])
    assert look.kernel.tobytes() == values["dnn/logits/kernel"].tobytes()
    expected = values["dnn/logits/mask"] if source == "masked" else np.ones([8, 3], np.float32)
    assert look.mask.tobytes() == expected.tobytes()


def test_a_linear_model_of_words_has_nothing_to_mask(tmp_path):
    linear = tf.estimator.LinearClassifier([WORD], str(tmp_path), n_classes=3, config=run_config())
    with pytest.raises(PlanError, match="no weight to mask"):
        auto_mask_estimator(linear, SPEC).train(_data(3), steps=1)


def test_a_linear_model_of_numbers_is_masked(tmp_path):
    def make(directory):
        return tf.estimator.LinearClassifier([X, WORD], directory, n_classes=3, config=run_config())

    auto_mask_estimator(make(str(tmp_path / "model")), SPEC).train(_data(3), steps=9)
    found = _predictions(auto_mask_estimator(make(str(tmp_path / "model")), SPEC), _data(3))
    result = fold_checkpoint(str(tmp_path / "model"), str(tmp_path / "folded"))
    assert [weight.variable for weight in result.weights] == ["linear/linear_model/x/weights"]
    assert_same_bits(_predictions(make(str(tmp_path / "folded")), _data(3)), found)


def test_parts_without_a_whole_are_restored_and_folded(tmp_path):
    """Ftrl's slots of a partitioned embedding: a dense checkpoint goes on masked, and they come through folding."""
    _partitioned_regressor(str(tmp_path / "model")).train(_data(0), steps=4)
    dense = _read(str(tmp_path / "model"))
    lone = {name for name in dense if " " in name}
    assert len(lone) == 4

    class Look(tf.train.SessionRunHook):
        def begin(self):
            self.asked = {variable.op.name: variable for variable in tf.global_variables()}

        def after_create_session(self, session, coord):
            self.values = session.run(self.asked)

    look = Look()
    auto_mask_estimator(_partitioned_regressor(str(tmp_path / "model")), SPEC).train(_data(0), steps=6, hooks=[look])
    slots = {name: value.tobytes() for name, value in look.values.items() if "embedding_weights/" in name}
    assert {dense[name].tobytes() for name in lone} <= set(slots.values())
    trained = _read(str(tmp_path / "model"))
    prefix = tf.train.latest_checkpoint(str(tmp_path / "model"))
    fold_checkpoint(prefix, str(tmp_path / "folded"))
    reader = CheckpointReader(str(tmp_path / "folded"))
    for name in lone:
        assert reader.part(*name.split(" ", 1)).tobytes() == trained[name].tobytes()
        assert trained[name].tobytes() != dense[name].tobytes()
    # No graph is needed to know which parts there are. Which weight is whose mask's follows from names, then.
    tf.io.gfile.remove(prefix + ".meta")
    fold_checkpoint(prefix, str(tmp_path / "again"))
    with open(str(tmp_path / "folded.index"), "rb") as one, open(str(tmp_path / "again.index"), "rb") as other:
        assert one.read() == other.read()


def test_another_spec_goes_on_in_the_same_directory(tmp_path):
    def train(steps, **spec):
        auto_mask_estimator(_classifier(str(tmp_path)), PruningSpec(**spec)).train(_data(3), max_steps=steps)
        return read_all(str(tmp_path))

    first = train(10, target_sparsity=0.5, begin_step=2, end_step=8, frequency=3)
    then = train(20, target_sparsity=0.75, begin_step=12, end_step=18, frequency=3)
    name = "dnn/hiddenlayer_1/mask"
    assert first[name].mean() == 0.5
    assert then[name].mean() == 0.25
    assert np.all(then[name] <= first[name])
    assert then["model_pruning/last_mask_update_step"] == 18
