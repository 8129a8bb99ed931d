"""Nets written once over a set of layers: plain ones, or tf.contrib.model_pruning's masked ones."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import tensorflow.compat.v1 as tf
from tensorflow.contrib import layers as contrib_layers
from tensorflow.contrib import model_pruning, slim
from tensorflow.contrib.framework import arg_scope
from tensorflow.contrib.model_pruning.python.layers import core_layers, rnn_cells
from tensorflow.contrib.model_pruning.python.layers import layers as masked_layers

from tests.oracle.training import SPEC, Model


def _slim_conv(layers: Any, images: Any) -> Any:
    decay = slim.l2_regularizer(1e-3)
    norm = {"is_training": True, "decay": 0.9}
    with arg_scope(
        [layers.conv2d, layers.fully_connected],
        weights_regularizer=decay,
        normalizer_fn=contrib_layers.batch_norm,
        normalizer_params=norm,
    ):
        net = layers.conv2d(images, 6, [3, 3], scope="conv1")
        net = layers.conv2d(net, 8, [3, 3], stride=2, scope="conv2")
        net = layers.conv2d(net, 8, [1, 1], scope="conv3")
        net = tf.layers.flatten(slim.max_pool2d(net, 2))
        logits = layers.fully_connected(net, 5, activation_fn=None, normalizer_fn=None, scope="logits")
    return _loss(logits, images) + tf.losses.get_regularization_loss()


def _slim_dense(layers: Any, rows: Any) -> Any:
    net = layers.fully_connected(rows, 16, scope="first")
    net = layers.fully_connected(net, 12, activation_fn=tf.tanh, scope="second")
    return _loss(layers.fully_connected(net, 5, activation_fn=None, scope="logits"), rows)


def _layers_conv(layers: Any, images: Any) -> Any:
    decay = tf.keras.regularizers.l2(1e-3)
    net = layers.conv2d(images, 6, 3, activation=tf.nn.relu, kernel_regularizer=decay, name="conv1")
    net = layers.conv2d(net, 8, 3, strides=2, padding="same", kernel_regularizer=decay, name="conv2")
    net = layers.dense(tf.layers.flatten(net), 5, kernel_regularizer=decay, name="logits")
    return _loss(net, images) + tf.losses.get_regularization_loss()


def _layers_dense(layers: Any, rows: Any) -> Any:
    net = layers.dense(rows, 16, activation=tf.nn.relu, name="first")
    net = layers.dense(net, 12, activation=tf.tanh, use_bias=False, name="second")
    return _loss(layers.dense(net, 5, name="logits"), rows)


def _shared(layers: Any, images: Any) -> Any:
    """Two towers that share their convolution, as a detector's predictors do."""
    towers = []
    for number, tower in enumerate((images, tf.nn.avg_pool2d(images, 2, 2, "SAME"))):
        net = layers.conv2d(tower, 6, [3, 3], scope="shared", reuse=number > 0)
        net = layers.conv2d(net, 6, [3, 3], activation_fn=None, scope="again", reuse=number > 0)
        towers.append(tf.reduce_mean(net, [1, 2]))
    return _loss(layers.fully_connected(towers[0] - towers[1], 5, activation_fn=None, scope="logits"), images)


def _recurrent(layers: Any, sequences: Any) -> Any:
    outputs, _ = tf.nn.dynamic_rnn(layers.cell(7, name="lstm"), sequences, dtype=tf.float32)
    return _loss(outputs[:, -1], sequences)


def _upsampled(layers: Any, images: Any) -> Any:
    """Plain layers only: contrib's has no masked ones for these."""
    decay = slim.l2_regularizer(1e-3)
    net = layers.separable_conv2d(images, 6, [3, 3], depth_multiplier=1, scope="separable", weights_regularizer=decay)
    net = layers.conv2d_transpose(net, 5, [3, 3], stride=2, scope="up1", weights_regularizer=decay)
    net = layers.conv2d_transpose(net, 4, [3, 3], stride=1, scope="up2")
    logits = layers.fully_connected(tf.reduce_mean(net, [1, 2]), 5, activation_fn=None, scope="logits")
    return _loss(logits, images) + tf.losses.get_regularization_loss()


def _fused(layers: Any, sequences: Any) -> Any:
    """A kernel that is split, a partitioned and a transposed one, and one read in both branches of a cond."""
    kernel = tf.get_variable("split/kernel", [3, 8])
    first, second = tf.split(kernel, 2, axis=1)
    rows = sequences[:, 0]
    net = tf.tanh(rows @ first) * tf.sigmoid(rows @ second)
    parts = tf.get_variable("parts/kernel", [4, 6], partitioner=tf.fixed_size_partitioner(2))
    net = tf.tanh(net @ parts)
    turned = tf.get_variable("turned/kernel", [7, 6])
    net = tf.tanh(net @ tf.transpose(turned))
    shared = tf.get_variable("shared/kernel", [7, 7])
    net = tf.cond(tf.reduce_sum(rows) > 0, lambda: tf.tanh(net @ shared), lambda: net @ shared[:, ::-1])
    net += tf.tanh(net @ shared) @ shared
    penalty = 1e-2 * (tf.nn.l2_loss(shared) + tf.reduce_sum(tf.abs(kernel)))
    return _loss(tf.layers.dense(net, 5, name="logits"), sequences) + penalty


def _branches(layers: Any, images: Any) -> Any:
    """Two views through one block of parallel branches: every layer of a reused scope, one of them with two readers."""
    views = []
    for number, view in enumerate((images, tf.reverse(images, [2]))):
        with tf.variable_scope("block", reuse=number > 0):
            stem = layers.conv2d(view, 5, [3, 3], scope="stem")
            narrow = layers.conv2d(stem, 4, [1, 1], scope="branch_0")
            wide = layers.conv2d(layers.conv2d(stem, 4, [1, 1], scope="reduce"), 5, [3, 3], scope="branch_1")
            pooled = layers.conv2d(slim.avg_pool2d(stem, 2, 1, "SAME"), 3, [1, 1], scope="branch_2")
            views.append(tf.reduce_mean(tf.concat([narrow, wide, pooled], 3), [1, 2]))
    logits = layers.fully_connected(tf.concat(views, 1), 5, activation_fn=None, scope="logits")
    return _loss(logits, images)


def _projected(layers: Any, sequences: Any) -> Any:
    """As many units in the projection as in the cell: contrib's mask has the wrong shape for any other number."""
    cell = layers.cell(6, use_peepholes=True, num_proj=6, cell_clip=3.0)
    outputs, _ = tf.nn.dynamic_rnn(cell, sequences, dtype=tf.float32)
    return _loss(outputs[:, -1], sequences)


def _two_weights(layers: Any, rows: Any) -> Any:
    """One scope with two weights, as recurrent cells written by hand have."""
    with tf.variable_scope("cell"):
        first, second = tf.get_variable("input_kernel", [10, 8]), tf.get_variable("state_kernel", [8, 8])
        state = tf.tanh(tf.matmul(rows, layers.weight(first)))
        state = tf.tanh(tf.matmul(state, layers.weight(second)))
    return _loss(state, rows)


def _loss(logits: Any, batch: Any) -> Any:
    labels = tf.cast(tf.reduce_sum(batch, list(range(1, batch.shape.ndims))) > 0, tf.int32)
    return tf.losses.sparse_softmax_cross_entropy(labels, logits)


def _clipped_momentum(loss: Any) -> Any:
    optimizer = tf.train.MomentumOptimizer(0.05, 0.9)
    gradients, variables = zip(*optimizer.compute_gradients(loss))
    gradients, _ = tf.clip_by_global_norm(gradients, 0.5)
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        return optimizer.apply_gradients(zip(gradients, variables), tf.train.get_global_step())


def _adam(loss: Any) -> Any:
    return tf.train.AdamOptimizer(0.01).minimize(loss, tf.train.get_global_step())


def _rms(loss: Any) -> Any:
    return tf.train.RMSPropOptimizer(0.01, momentum=0.9).minimize(loss, tf.train.get_global_step())


def _masked_conv2d(inputs: Any, filters: int, kernel_size: int, **options: Any) -> Any:
    return core_layers.MaskedConv2D(filters, kernel_size, **options).apply(inputs)


def _masked_dense(inputs: Any, units: int, **options: Any) -> Any:
    return core_layers.MaskedFullyConnected(units, **options).apply(inputs)


def _apply_mask(weight: Any) -> Any:
    """Gives the mask a scope of its own: contrib's is always called `mask`, which a scope can hold only once."""
    return model_pruning.apply_mask(weight, scope=weight.op.name.rpartition("/")[2])


def _plain_lstm(units: int, **options: Any) -> Any:
    """contrib's cell takes no name, so that its scope is that of its class."""
    return tf.nn.rnn_cell.LSTMCell(units, name="masked_lstm_cell", **options)


_SLIM = SimpleNamespace(conv2d=slim.conv2d, fully_connected=slim.fully_connected)
_MASKED_SLIM = SimpleNamespace(conv2d=masked_layers.masked_conv2d, fully_connected=masked_layers.masked_fully_connected)
_LAYERS = SimpleNamespace(conv2d=tf.layers.conv2d, dense=tf.layers.dense)
_MASKED_LAYERS = SimpleNamespace(conv2d=_masked_conv2d, dense=_masked_dense)
_CELLS = SimpleNamespace(cell=tf.nn.rnn_cell.BasicLSTMCell)
_MASKED_CELLS = SimpleNamespace(cell=rnn_cells.MaskedBasicLSTMCell)
_LSTM = SimpleNamespace(cell=_plain_lstm)
_MASKED_LSTM = SimpleNamespace(cell=rnn_cells.MaskedLSTMCell)
_WEIGHTS = SimpleNamespace(weight=lambda weight: weight)
_MASKED_WEIGHTS = SimpleNamespace(weight=_apply_mask)

# contrib's cell leaves its projection dense.
_NO_PROJECTION = replace(SPEC, exclude=("/projection/",))
_TWO_WEIGHTS_NAMES = {
    "cell/input_kernel/mask": "cell/input_kernel_mask",
    "cell/input_kernel/threshold": "cell/input_kernel_threshold",
    "cell/state_kernel/mask": "cell/state_kernel_mask",
    "cell/state_kernel/threshold": "cell/state_kernel_threshold",
}

IMAGES, ROWS, SEQUENCES = (4, 8, 8, 3), (6, 10), (4, 5, 3)

NETS = {
    "slim conv, batch norm, decay, clipped momentum": Model(_slim_conv, _clipped_momentum, _SLIM, _MASKED_SLIM, IMAGES),
    "slim dense, Adam": Model(_slim_dense, _adam, _SLIM, _MASKED_SLIM, ROWS),
    "tf.layers conv, decay, Adam": Model(_layers_conv, _adam, _LAYERS, _MASKED_LAYERS, IMAGES),
    "tf.layers dense, clipped momentum": Model(_layers_dense, _clipped_momentum, _LAYERS, _MASKED_LAYERS, ROWS),
    "shared convolutions, clipped momentum": Model(_shared, _clipped_momentum, _SLIM, _MASKED_SLIM, IMAGES),
    "LSTM in dynamic_rnn, clipped momentum": Model(_recurrent, _clipped_momentum, _CELLS, _MASKED_CELLS, SEQUENCES),
    "branches of a reused scope, Adam": Model(_branches, _adam, _SLIM, _MASKED_SLIM, IMAGES),
    "LSTM with peepholes and projection, clipped momentum": Model(
        _projected, _clipped_momentum, _LSTM, _MASKED_LSTM, SEQUENCES, spec=_NO_PROJECTION
    ),
    "two weights in one scope, clipped momentum": Model(
        _two_weights, _clipped_momentum, _WEIGHTS, _MASKED_WEIGHTS, ROWS, names=_TWO_WEIGHTS_NAMES
    ),
}

# Of layers that tf.contrib.model_pruning has no masked twins for: oracles of one way of masking for another.
PLAIN_NETS = {
    "separable and transposed convolutions, RMSProp": Model(_upsampled, _rms, slim, None, IMAGES),
    "separable and transposed convolutions, clipped momentum": Model(_upsampled, _clipped_momentum, slim, None, IMAGES),
    "kernels in parts, clipped momentum": Model(_fused, _clipped_momentum, None, None, SEQUENCES),
    "kernels in parts, Adam": Model(_fused, _adam, None, None, SEQUENCES),
}
