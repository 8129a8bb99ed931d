"""Models that people write and that are easy to mask wrongly: masked and folded predictions must agree, bit for bit."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from fixtures.estimators import batches, read_all, run_config
from graph_masker import PruningSpec, auto_mask, fold_checkpoint
from graph_masker.schedule import kept_entries

SPEC = PruningSpec(target_sparsity=0.8, begin_step=0, end_step=8, frequency=4)


def _weight(name, shape, **options):
    return tf.get_variable(name, shape, initializer=tf.random_normal_initializer(stddev=0.3), **options)


def _head_in_training_only(x, mode):
    with tf.variable_scope("net"):
        logits = tf.matmul(x, _weight("w", [72, 3]))
        return logits, (tf.matmul(x, _weight("w_aux", [72, 3])) if mode == "train" else None)


def _op_named_mask_in_training_only(x, mode):
    with tf.variable_scope("fc"):
        weight = _weight("w", [72, 3])
        if mode == "train":
            x = x * tf.cast(tf.random_uniform(tf.shape(x)) > 0.3, tf.float32, name="mask")
        return tf.matmul(x, weight), None


def _printed_weight(x, mode):
    weight = _weight("n/w", [72, 72])
    hidden = tf.nn.relu(tf.matmul(x, weight))
    hidden = tf.nn.relu(tf.matmul(hidden, tf.Print(weight, [tf.reduce_mean(weight)])))
    return tf.matmul(hidden, _weight("out/w", [72, 3])), None


def _fast_weights(x, mode):
    weight = _weight("a/w", [72, 3])
    gradient = tf.gradients(tf.reduce_mean(tf.matmul(x, weight) ** 2), weight)[0]
    return tf.matmul(x, tf.subtract(weight, 0.1 * gradient, name="adapted")), None


def _deep_dense(x, mode):
    hidden = tf.layers.dense(tf.layers.dense(x, 16, tf.nn.relu), 16, tf.nn.relu)
    return tf.layers.dense(hidden, 3), None


def _user_collections(x, mode):
    tf.add_to_collection("masks", tf.cast(x > 0, tf.float32))
    hidden = tf.layers.dense(x, 16, tf.nn.relu)
    tf.add_to_collection("kernel", hidden)
    return tf.layers.dense(hidden, 3), None


def _fixed_filters(x, mode):
    bank = _weight("mel/bank", [72, 16], trainable=False)
    outside = tf.Variable(np.eye(16, dtype=np.float32), trainable=False, collections=[], name="c/dct")
    tf.add_to_collection(tf.GraphKeys.LOCAL_VARIABLES, outside)
    return tf.layers.dense(tf.matmul(tf.matmul(x, bank), outside), 3), None


MODELS = {
    "head_in_training_only": (_head_in_training_only, {"net/w", "net/w_aux"}),
    "op_named_mask_in_training_only": (_op_named_mask_in_training_only, {"fc/w"}),
    "printed_weight": (_printed_weight, {"n/w", "out/w"}),
    "deep_dense": (_deep_dense, {"dense/kernel", "dense_1/kernel", "dense_2/kernel"}),
    "user_collections": (_user_collections, {"dense/kernel", "dense_1/kernel"}),
    "fixed_filters": (_fixed_filters, {"dense/kernel"}),
}


def _model_fn(build, wrap=lambda spec: spec):
    def model_fn(features, labels, mode):
        logits, auxiliary = build(tf.reshape(features, [-1, 72]), mode)
        predictions = {"logits": logits}
        if mode == "infer":
            return tf.estimator.EstimatorSpec(mode, predictions)
        loss = tf.losses.sparse_softmax_cross_entropy(labels, logits)
        if auxiliary is not None:
            loss += tf.losses.sparse_softmax_cross_entropy(labels, auxiliary)
        train_op = tf.train.AdamOptimizer(0.01).minimize(loss, tf.train.get_global_step())
        return wrap(tf.estimator.EstimatorSpec(mode, predictions, loss, train_op))

    return model_fn


def _constants():
    random = np.random.RandomState(3)
    images = random.rand(8, 6, 6, 2).astype(np.float32)
    return tf.constant(images), tf.constant(random.randint(0, 3, 8))


def _logits(model_fn, model_dir, inputs):
    estimator = tf.estimator.Estimator(model_fn, str(model_dir), run_config())
    return next(iter(estimator.predict(inputs, yield_single_examples=False)))["logits"]


@pytest.mark.parametrize("inputs", [batches(), _constants], ids=["dataset", "constants"])
@pytest.mark.parametrize("name", sorted(MODELS))
def test_masked_and_folded_predictions_agree(tmp_path, name, inputs):
    build, expected = MODELS[name]
    plans = {}
    masked = auto_mask(_model_fn(build), SPEC, on_plan=lambda plan, mode, config: plans.update({mode: plan}))
    tf.estimator.Estimator(masked, str(tmp_path / "model"), run_config()).train(inputs, steps=9)
    assert {site.variable for site in plans["train"].sites} == expected
    values = read_all(str(tmp_path / "model"))
    for site in plans["train"].sites:
        assert int(values[site.mask].sum()) == kept_entries(site.entries, 0.8), site.variable
    found = _logits(masked, tmp_path / "model", inputs)
    fold_checkpoint(str(tmp_path / "model"), str(tmp_path / "folded"))
    assert found.tobytes() == _logits(_model_fn(build), tmp_path / "folded", inputs).tobytes()
    # Negative control: without masks the predictions are others.
    assert found.tobytes() != _logits(_model_fn(build), tmp_path / "model", inputs).tobytes()


@pytest.mark.parametrize("mode", ["train", "eval", "infer"])
def test_fast_weights_start_from_the_masked_weight(mode):
    # Folding cannot give the same predictions here: the folded model's inner gradient knows no mask.
    with tf.Graph().as_default() as graph:
        tf.train.create_global_step()
        images, labels = _constants()
        auto_mask(_model_fn(_fast_weights), SPEC)(images, labels, mode)
        assert graph.get_operation_by_name("adapted").inputs[0].name == "a/w/masked_weight:0"
        assert graph.get_operation_by_name("MatMul").inputs[1].name == "a/w/masked_weight:0"


def test_what_is_not_trained_stays_dense_unless_it_is_included(tmp_path):
    plans = {}
    for name, spec in (("plain", SPEC), ("included", PruningSpec(0.8, 0, 8, 4, include="mel|dense"))):
        masked = auto_mask(
            _model_fn(_fixed_filters), spec, on_plan=lambda plan, mode, config, name=name: plans.update({name: plan})
        )
        tf.estimator.Estimator(masked, str(tmp_path / name), run_config()).train(batches(), steps=1)
    reasons = {skip.variable: skip.reason for skip in plans["plain"].skips}
    assert reasons["mel/bank"] == "not trainable; an include pattern masks it all the same"
    assert reasons["c/dct"] == "a local variable: checkpoints do not hold it"
    assert {site.variable for site in plans["included"].sites} == {"mel/bank", "dense/kernel"}


def test_an_init_fn_restores_a_dense_checkpoint_through_a_saver_of_its_own(tmp_path):
    plain = tf.estimator.Estimator(_model_fn(_deep_dense), str(tmp_path / "dense"), run_config())
    plain.train(batches(), steps=2)
    dense = plain.latest_checkpoint()

    def restoring(spec):
        saver = tf.train.Saver()
        return spec._replace(
            scaffold=tf.train.Scaffold(init_fn=lambda scaffold, session: saver.restore(session, dense))
        )

    seen = []

    class Look(tf.train.SessionRunHook):
        def after_create_session(self, session, coord):
            seen.append(session.run(["dense/kernel:0", "dense/mask:0"]))

    masked = auto_mask(_model_fn(_deep_dense, restoring), SPEC)
    tf.estimator.Estimator(masked, str(tmp_path / "model"), run_config()).train(batches(), steps=1, hooks=[Look()])
    assert seen[0][0].tobytes() == read_all(dense)["dense/kernel"].tobytes()
    assert seen[0][1].min() == 1.0


@pytest.mark.parametrize("average", ["ExponentialMovingAverage", "ema"])
def test_averages_are_folded_whatever_their_name(tmp_path, average):
    def model_fn(features, labels, mode):
        averages = tf.train.ExponentialMovingAverage(0.5, name=average)

        def wrap(spec):
            if mode == "train":
                with tf.control_dependencies([spec.train_op]):
                    return spec._replace(train_op=averages.apply(tf.trainable_variables()))
            return spec

        spec = _model_fn(_deep_dense, wrap)(features, labels, mode)
        if mode == "infer":
            saver = tf.train.Saver(averages.variables_to_restore())
            spec = spec._replace(scaffold=tf.train.Scaffold(saver=saver))
        return spec

    masked = auto_mask(model_fn, SPEC)
    tf.estimator.Estimator(masked, str(tmp_path / "model"), run_config()).train(batches(), steps=9)
    found = _logits(masked, tmp_path / "model", batches())
    result = fold_checkpoint(str(tmp_path / "model"), str(tmp_path / "folded"))
    assert set(result.copies) == {f"{name}/{average}" for name in MODELS["deep_dense"][1]}
    assert found.tobytes() == _logits(model_fn, tmp_path / "folded", batches()).tobytes()
