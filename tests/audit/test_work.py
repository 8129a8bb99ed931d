"""Shapes against TensorFlow's own, and multiply-adds against half of what tf.profiler counts of the same graph."""

from typing import Any, Dict, Tuple

import pytest
import tensorflow.compat.v1 as tf

from graph_masker import PruningSpec, mask_graph, report_model
from graph_masker.shapes import Shapes
from graph_masker.view import TensorRef
from tests.helpers.running import initialize


def _mobilenet(images: Any) -> Any:
    from nets import mobilenet_v1

    return mobilenet_v1.mobilenet_v1(images, 10, is_training=False, global_pool=True)[0]


def _inception(images: Any) -> Any:
    from nets import inception_v2

    return inception_v2.inception_v2(images, 10, is_training=True)[0]


def _nasnet(images: Any) -> Any:
    from nets.nasnet import nasnet

    return nasnet.build_nasnet_cifar(images, 10, is_training=False)[0]


def _layers(images: Any) -> Any:
    features = tf.layers.conv2d(images, 8, [3, 5], [2, 1], "same", name="a")
    features = tf.layers.conv2d(features, 8, 3, dilation_rate=2, name="dilated")
    features = tf.layers.conv2d(features, 8, 3, padding="same", dilation_rate=3, name="dilated_same")
    features = tf.layers.separable_conv2d(features, 6, 3, depth_multiplier=2, name="separable")
    features = tf.layers.max_pooling2d(tf.pad(features, [[0, 0], [1, 2], [0, 3], [0, 0]]), 3, 2)
    features = tf.concat([features, tf.nn.avg_pool2d(features, 3, 1, "SAME")], -1)
    features = tf.layers.conv3d(tf.expand_dims(features, 3), 4, [3, 3, 1], name="volume")
    rows = tf.reshape(features, [1, -1])
    return tf.layers.dense(rows, 7, name="dense")


NETS = {"mobilenet": (_mobilenet, 96), "inception": (_inception, 96), "nasnet": (_nasnet, 32), "layers": (_layers, 33)}


def _built(name: str, size: Any = None) -> Tuple[Any, Any]:
    net, known = NETS[name]
    graph = tf.Graph()
    with graph.as_default():
        net(tf.placeholder(tf.float32, [1, size or known, size or known, 3], name="images"))
    return graph, known


def _disagreements(graph: Any, definition: Any, **options: Any) -> Dict[str, Any]:
    """Returns the tensors whose shape we find, and find to be another than TensorFlow does."""
    shapes = Shapes(definition, **options)
    found = {}
    for op in graph.get_operations():
        for index, tensor in enumerate(op.outputs):
            ours = shapes.of(TensorRef(op.name, index))
            if ours is None or tensor.shape.ndims is None or op.type == "VarHandleOp":
                continue
            theirs = tuple(tensor.shape.as_list())
            if len(ours) != len(theirs) or any(a != b for a, b in zip(ours, theirs) if None not in (a, b)):
                found[tensor.name] = (ours, theirs)
    return found


def _unknown(graph: Any, definition: Any, **options: Any) -> Any:
    """Returns the convolutions whose output has a size that we do not find."""
    shapes = Shapes(definition, **options)
    kinds = ("Conv2D", "Conv3D", "DepthwiseConv2dNative")
    names = [op.name for op in graph.get_operations() if op.type in kinds]
    assert names
    return [name for name in names if None in (shapes.of(TensorRef(name)) or (None,))]


@pytest.mark.parametrize("name", NETS)
def test_shapes_that_the_graph_does_not_tell_are_tensorflows(name: str) -> None:
    graph, _ = _built(name)
    definition = graph.as_graph_def(add_shapes=False)
    assert _disagreements(graph, definition) == {}
    assert _unknown(graph, definition) == []


def test_a_wrong_shape_is_seen() -> None:
    """The control of `_disagreements`."""
    graph, _ = _built("layers")
    definition = graph.as_graph_def(add_shapes=False)
    next(node for node in definition.node if node.name == "a/Conv2D").attr["strides"].list.i[1] = 1
    assert "a/Conv2D:0" in _disagreements(graph, definition)


def test_the_size_of_images_fills_in_what_the_graph_does_not_tell() -> None:
    graph, size = _built("mobilenet")
    definition = graph.as_graph_def(add_shapes=False)
    images = next(node for node in definition.node if node.name == "images")
    for axis in (1, 2):
        images.attr["shape"].shape.dim[axis].size = -1
    assert _unknown(graph, definition) != []
    assert _unknown(graph, definition, image_size=(size, size)) == []
    assert _disagreements(graph, definition, image_size=(size, size)) == {}
    assert _disagreements(graph, definition, image_size=(size + 32, size)) != {}


def _profiled(graph: Any) -> Dict[str, int]:
    """Returns half of the floating-point operations of every op that multiplies and adds."""
    options = tf.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    profile = tf.profiler.profile(graph, cmd="scope", options=options)
    counts: Dict[str, int] = {}

    def collect(node: Any) -> None:
        for child in node.children:
            counts[child.name] = child.float_ops // 2
            collect(child)

    collect(profile)
    return counts


@pytest.mark.parametrize("frozen", [False, True], ids=["checkpoint", "frozen"])
@pytest.mark.parametrize("name", ["mobilenet", "inception", "layers"])
def test_multiply_adds_are_half_of_what_the_profiler_counts(name: str, frozen: bool, tmp_path: Any) -> None:
    graph, _ = _built(name)
    profiled = _profiled(graph)
    consumers = {}
    for op in graph.get_operations():
        if op.type in ("Conv2D", "Conv3D", "DepthwiseConv2dNative", "MatMul"):
            read = op.inputs[1].op
            consumers[(read.inputs[0].op if read.type == "Identity" else read).name] = op
    output = next(op for op in reversed(graph.get_operations()) if op.type in ("BiasAdd", "Squeeze"))
    with tf.Session(graph=graph) as session, graph.as_default():
        initialize(session)
        if frozen:
            path = str(tmp_path / "frozen.pb")
            definition = tf.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), [output.name])
            (tmp_path / "frozen.pb").write_bytes(definition.SerializeToString())
        else:
            path = tf.train.Saver().save(session, str(tmp_path / "model.ckpt"))
    report = report_model(path)
    counted = {layer.variable: layer for layer in report.layers}
    assert set(counted) == set(consumers)
    assert len(report.counted) == len(report.layers)
    for variable, op in consumers.items():
        layer = counted[variable]
        # TensorFlow's profiler does not know volumes, nor the images that a dilated convolution is cut into.
        if op.type == "Conv3D":
            assert layer.multiply_adds == layer.entries * op.outputs[0].shape[1:4].num_elements()
        else:
            assert layer.multiply_adds == profiled[op.name], variable
    assert report.multiply_adds_left == sum((layer.entries - layer.zeros) * layer.positions for layer in report.layers)


def _saved(tmp_path: Any, build: Any, masked: bool = False) -> Any:
    with tf.Graph().as_default() as graph, tf.Session() as session:
        output = build()
        if masked:
            mask_graph(graph, PruningSpec(0.5, 0, 10), outputs=[output])
        initialize(session)
        prefix = tf.train.Saver().save(session, str(tmp_path / "model.ckpt"))
    return {layer.variable: layer for layer in report_model(prefix).layers}


@pytest.mark.parametrize("masked", [False, True])
def test_transposed_shared_and_batched_weights_count_every_use(masked: bool, tmp_path: Any) -> None:
    def build() -> Any:
        images = tf.placeholder(tf.float32, [None, 6, 5, 3])
        kernel = tf.get_variable("shared", [3, 3, 3, 3])
        features = tf.nn.conv2d(images, kernel, 1, "SAME")
        features = tf.nn.conv2d(features, kernel, 2, "SAME")
        features = tf.layers.conv2d_transpose(features, 4, 3, 2, name="up", use_bias=False)
        rows = tf.reshape(features, [-1, 7 * 4, 7])
        weight = tf.get_variable("batched", [1, 7, 9])
        rows = tf.matmul(rows, tf.tile(weight, [4, 1, 1]))
        return tf.matmul(tf.reshape(rows, [-1, 9]), tf.get_variable("left", [2, 9]), transpose_b=True)

    layers = _saved(tmp_path, build, masked)
    assert layers["shared"].positions == 6 * 5 + 3 * 3
    # Its kernel is laid at every position of what it reads, 3 x 3.
    assert layers["up/kernel"].positions == 3 * 3
    assert layers["left"].positions == 1
    assert layers["batched"].positions is None
    assert "reads" in layers["batched"].positions_unknown


def test_what_is_read_in_parts_is_not_counted(tmp_path: Any) -> None:
    def build() -> Any:
        weight = tf.get_variable("fused", [4, 6])
        one, other = tf.split(weight, 2, 1)
        return tf.matmul(tf.placeholder(tf.float32, [None, 4]), one) + tf.matmul(tf.ones([1, 4]), other)

    layer = _saved(tmp_path, build)["fused"]
    assert layer.positions is None
    assert "reads 12 entries, not the weight as it is" in layer.positions_unknown
