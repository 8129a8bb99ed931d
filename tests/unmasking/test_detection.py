"""The untouched SSD MobileNet V1 of the Object Detection API: its training and evaluation graphs, unmasked."""

import pytest
import tensorflow.compat.v1 as tf

from examples.digit_scenes import config, records, training
from examples.digit_scenes.layout import prepare
from graph_masker import PruningSpec, auto_mask
from graph_masker.unmasking import unmask_meta_graph
from tests.unmasking.comparing import differences

SPEC = PruningSpec(target_sparsity=0.8, begin_step=1, end_step=5, frequency=2)
SIDE, CLASSES, BOXES = 96, 10, 5


@pytest.fixture(scope="module")
def model_fn(tmp_path_factory):
    """The API's own model_fn, made by its own entry point."""
    layout = prepare(tmp_path_factory.mktemp("ssd") / "demo")
    records.write_label_map(layout.label_map)
    phase = config.Phase(layout.pruned, 5, 1e-3)
    phase.folder.mkdir(exist_ok=True)
    config.write_config(phase, layout)
    made = []

    def creator(*args, **kwargs):
        from object_detection import model_lib

        made.append(model_lib.create_model_fn(*args, **kwargs))
        return made[-1]

    training.make_estimator(phase, 1, model_fn_creator=creator)
    return made[-1]


def _meta_graph(model_fn, mode):
    with tf.Graph().as_default():
        tf.set_random_seed(1)
        tf.train.get_or_create_global_step()
        features = {
            "image": tf.placeholder(tf.float32, [1, SIDE, SIDE, 3]),
            "true_image_shape": tf.placeholder(tf.int32, [1, 3]),
            "original_image": tf.placeholder(tf.uint8, [1, SIDE, SIDE, 3]),
            "original_image_spatial_shape": tf.placeholder(tf.int32, [1, 2]),
            "hash": tf.placeholder(tf.int32, [1]),
        }
        labels = {
            "num_groundtruth_boxes": tf.placeholder(tf.int32, [1]),
            "groundtruth_boxes": tf.placeholder(tf.float32, [1, BOXES, 4]),
            "groundtruth_classes": tf.placeholder(tf.float32, [1, BOXES, CLASSES]),
            "groundtruth_weights": tf.placeholder(tf.float32, [1, BOXES]),
        }
        spec = model_fn(features=features, labels=labels, mode=mode)
        saver = spec.scaffold.saver if spec.scaffold is not None and spec.scaffold.saver is not None else None
        saver = saver or tf.train.Saver(sharded=True)
        return tf.train.export_meta_graph(saver_def=saver.saver_def)


@pytest.mark.parametrize("mode", [tf.estimator.ModeKeys.TRAIN, tf.estimator.ModeKeys.PREDICT])
def test_unmasked_ssd_is_the_dense_one(model_fn, mode):
    masked, dense = _meta_graph(auto_mask(model_fn, SPEC), mode), _meta_graph(model_fn, mode)
    lines = differences(unmask_meta_graph(masked), dense)
    assert not lines, "\n".join(lines[:12])
    assert len(differences(masked, dense)) > 100
