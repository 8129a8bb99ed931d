"""Instance masks of the demo's scenes, as they are drawn, written and read."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from object_detection.data_decoders import tf_example_decoder
from object_detection.protos import input_reader_pb2

from examples.digit_scenes import digits, drawing, models, records, scenes


@pytest.fixture(scope="module")
def some():
    return list(scenes.make_scenes(digits.load_digits(), 6, models.MODELS["mask_rcnn"].style, 3))


def test_a_mask_fills_its_box_and_no_other(some):
    for scene in some:
        side = scene.image.shape[0]
        assert scene.masks.shape == (len(scene.labels), side, side)
        assert scene.masks.sum(axis=0).max() == 1
        for mask, box in zip(scene.masks, scene.boxes):
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            bounds = [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]
            assert np.array_equal(np.array(bounds, np.float32) / side, box)
            assert scene.image[mask].min() >= scenes.INK


def test_the_apis_decoder_reads_the_masks(some):
    with tf.Graph().as_default():
        decoder = tf_example_decoder.TfExampleDecoder(
            load_instance_masks=True, instance_mask_type=input_reader_pb2.PNG_MASKS
        )
        example = tf.placeholder(tf.string, [])
        decoded = decoder.decode(example)
        with tf.Session() as session:
            for number, scene in enumerate(some):
                text = records.to_example(scene, str(number)).SerializeToString()
                found = session.run(decoded, {example: text})
                assert np.array_equal(found["groundtruth_instance_masks"], scene.masks.astype(np.float32))
                assert np.array_equal(found["groundtruth_boxes"], scene.boxes)
                assert np.array_equal(found["image"], scene.image)


def test_a_mask_is_stretched_over_its_box():
    mask = np.zeros((4, 2), np.float32)
    mask[:, 1] = 1
    pasted = drawing.paste(mask, np.array([0.25, 0.5, 0.75, 1.0], np.float32), 16)
    rows, columns = np.nonzero(pasted)
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (4, 12, 12, 16)
    assert pasted.sum() == 8 * 4
    assert not drawing.paste(mask, np.array([0.5, 0.5, 0.5, 0.5], np.float32), 16).any()
    # What reaches over the border is cut off.
    assert drawing.paste(np.ones((4, 4), np.float32), np.array([-1, -1, 2, 2], np.float32), 8).all()
