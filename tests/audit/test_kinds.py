"""One trained model as each of the kinds of files: the same layers, masks, zeros and sizes."""

from typing import Any, Dict

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from graph_masker import PruningSpec, mask_graph, report_model
from tests.helpers.running import initialize, normal_value, random_mask, single_threaded

KINDS = ["ckpt/model.ckpt", "saved", "frozen.pb"]


@pytest.fixture(scope="module", params=[False, True], ids=["ref", "resource"])
def written(request: Any, tmp_path_factory: Any) -> Any:
    folder = tmp_path_factory.mktemp("kinds")
    with tf.Graph().as_default() as graph, tf.variable_scope("", use_resource=request.param):
        images = tf.placeholder(tf.float32, [1, 9, 9, 3], name="images")
        features = tf.nn.relu(tf.layers.conv2d(images, 4, 3, name="conv"))
        features = tf.layers.separable_conv2d(features, 5, 3, name="separable")
        sequence = tf.reshape(features, [1, 25, 5])
        states, _ = tf.nn.dynamic_rnn(tf.nn.rnn_cell.BasicLSTMCell(6), sequence, dtype=tf.float32)
        output = tf.layers.dense(states[:, -1], 7, name="dense")
        masker = mask_graph(graph, PruningSpec(0.5, 0, 10), outputs=[output])
        with single_threaded(graph) as session:
            initialize(session)
            for variable, mask in masker.masks.items():
                mask.load(random_mask(variable, mask.shape.as_list()), session)
            for variable in graph.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES):
                variable.load(normal_value(variable.op.name, variable.shape.as_list()), session)
            (folder / "ckpt").mkdir()
            tf.train.Saver().save(session, str(folder / "ckpt" / "model.ckpt"))
            tf.saved_model.simple_save(session, str(folder / "saved"), {"images": images}, {"output": output})
            frozen = tf.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), [output.op.name])
    (folder / "frozen.pb").write_bytes(frozen.SerializeToString())
    return folder


def _layers(path: str) -> Dict[str, Any]:
    return {layer.variable: layer for layer in report_model(path).layers}


def test_every_kind_has_the_same_layers(written: Any) -> None:
    found = {kind: _layers(str(written / kind)) for kind in KINDS}
    for kind in KINDS:
        assert report_model(str(written / kind)).state == "masked"
        assert report_model(str(written / kind)).faults == ()
        assert set(found[kind]) == set(found[KINDS[0]])
        for name, layer in found[kind].items():
            expected = found[KINDS[0]][name]
            assert layer.measured == expected.measured, (kind, name)
            assert (layer.mask, layer.op_types, layer.shape) == (expected.mask, expected.op_types, expected.shape)
            assert (layer.positions, layer.dense_because) == (expected.positions, expected.dense_because)
    layer = found["frozen.pb"]["conv/kernel"]
    mask = random_mask("conv/kernel", [3, 3, 3, 4])
    assert layer.measured.mask_zeros == np.sum(mask == 0)
    assert layer.positions == 49


def test_other_weights_are_other_numbers(written: Any) -> None:
    """The control of the comparison above."""
    layers = _layers(str(written / "frozen.pb"))
    assert layers["conv/kernel"].measured != layers["dense/kernel"].measured
