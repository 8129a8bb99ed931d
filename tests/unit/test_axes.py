"""Which axes of a kernel make the output: checked by perturbing the kernel and seeing which outputs change."""

from typing import Any, Callable, Dict

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from graph_masker import tf_compat
from graph_masker.sites import find_sites
from rewriters import DEFAULT_RULES
from tests.helpers.running import initialize, single_threaded


def _kernel(*shape: int) -> Any:
    return tf.get_variable("kernel", shape)


def _ones(*shape: int) -> Any:
    return tf.placeholder_with_default(tf.ones(shape), shape)


def _conv1d() -> Any:
    return tf.nn.conv1d(_ones(2, 8, 3), _kernel(3, 3, 5), 1, "SAME")


def _conv2d() -> Any:
    return tf.nn.conv2d(_ones(2, 8, 8, 3), _kernel(3, 3, 3, 5), 1, "SAME")


def _transposed() -> Any:
    return tf.nn.conv2d_transpose(_ones(2, 4, 4, 5), _kernel(3, 3, 3, 5), [2, 8, 8, 3], 2)


def _conv3d() -> Any:
    return tf.nn.conv3d(_ones(2, 4, 4, 4, 3), _kernel(3, 3, 3, 3, 5), [1, 1, 1, 1, 1], "SAME")


def _depthwise() -> Any:
    return tf.nn.depthwise_conv2d(_ones(2, 8, 8, 3), _kernel(3, 3, 3, 2), [1, 1, 1, 1], "SAME")


def _matmul() -> Any:
    return tf.matmul(_ones(2, 4), _kernel(4, 5))


def _matmul_transposed() -> Any:
    return tf.matmul(_ones(2, 4), _kernel(5, 4), transpose_b=True)


def _matmul_left() -> Any:
    return tf.transpose(tf.matmul(_kernel(5, 4), _ones(4, 2)))


def _transpose_op() -> Any:
    return tf.matmul(_ones(2, 4), tf.transpose(_kernel(5, 4)))


def _dense_on_sequences() -> Any:
    return tf.layers.dense(_ones(2, 6, 4), 4)


def _cast() -> Any:
    return tf.matmul(tf.cast(_ones(2, 4), tf.float16), tf.cast(_kernel(4, 5), tf.float16))


EXPECTED: Dict[Callable[[], Any], Any] = {
    _conv1d: (-1,),
    _conv2d: (-1,),
    _transposed: (-2,),
    _conv3d: (-1,),
    _depthwise: (-2, -1),
    _matmul: (-1,),
    _matmul_transposed: (-2,),
    _matmul_left: (-2,),
    _transpose_op: (-2,),
    _dense_on_sequences: (-1,),
    _cast: (-1,),
}


def _axes(graph: Any) -> Any:
    (candidate,) = find_sites(tf_compat.view_of_graph(graph), DEFAULT_RULES).candidates
    return candidate.output_axes()


@pytest.mark.parametrize("build", EXPECTED, ids=lambda build: build.__name__.strip("_"))
def test_axes_are_those_whose_entries_change_one_output_channel(build: Callable[[], Any]):
    with tf.Graph().as_default() as graph:
        output = build()
        axes = _axes(graph)
        assert axes == EXPECTED[build]
        saved = tf.train.export_meta_graph(graph=graph)
    (candidate,) = find_sites(tf_compat.view_of_meta_graph(saved), DEFAULT_RULES).candidates
    assert candidate.output_axes() == axes
    with single_threaded(graph) as session:
        initialize(session)
        (kernel,) = graph.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES)[:1]
        value, before = session.run([kernel, output])
        for position in (tuple(0 for _ in value.shape), tuple(size - 1 for size in value.shape)):
            changed = value.copy()
            # All that an output channel is made of, and nothing else.
            channel = tuple(position[axis] if axis - value.ndim in axes else slice(None) for axis in range(value.ndim))
            changed[channel] += 1
            kernel.load(changed, session)
            differing = np.unique(np.nonzero(session.run(output) != before)[-1])
            assert len(differing) == 1


def test_axes_are_unknown_where_consumers_differ():
    with tf.Graph().as_default() as graph:
        kernel = _kernel(4, 4)
        tf.matmul(tf.matmul(_ones(2, 4), kernel), kernel, transpose_b=True)
        assert _axes(graph) is None


def test_axes_are_unknown_behind_a_reshape_that_moves_them():
    with tf.Graph().as_default() as graph:
        tf.matmul(_ones(2, 6), tf.reshape(_kernel(3, 4), [6, 2]))
        assert _axes(graph) is None
