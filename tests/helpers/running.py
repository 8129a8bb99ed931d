"""Deterministic sessions and variable values."""

import zlib
from typing import Any, Dict

import numpy as np
import tensorflow.compat.v1 as tf


def single_threaded(graph: Any) -> Any:
    """Returns a session that runs one op at a time, so that sums are taken in one order."""
    config = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    return tf.Session(graph=graph, config=config)


def as_written() -> Any:
    """Returns a session config that runs a graph as it is: nothing is folded, and no division becomes a product."""
    config = tf.ConfigProto()
    config.graph_options.optimizer_options.opt_level = tf.OptimizerOptions.L0
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    return config


def op_by_op(graph: Any) -> Any:
    """Returns a session that runs a graph as it was written."""
    return tf.Session(graph=graph, config=as_written())


def variables_by_name(graph: Any) -> Dict[str, Any]:
    """Returns the global variables of a graph by op name."""
    return {variable.op.name: variable for variable in graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)}


def initialize(session: Any) -> None:
    """Initializes all variables, in a way that adds no op to a graph twice."""
    variables = session.graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)
    session.run([variable.initializer for variable in variables])


def normal_value(name: str, shape: Any, dtype: Any = np.float32) -> Any:
    """Returns normal values that depend on the name alone."""
    return np.random.RandomState(zlib.crc32(name.encode())).normal(size=shape).astype(dtype)


def random_mask(name: str, shape: Any, dtype: Any = np.float32) -> Any:
    """Returns zeros and ones, both of them, that depend on the name alone."""
    flat = np.arange(int(np.prod(shape))) % 2
    np.random.RandomState(zlib.crc32(name.encode())).shuffle(flat)
    return flat.reshape(shape).astype(dtype)
