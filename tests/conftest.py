"""Keeps TensorFlow quiet; every test starts from an empty default graph."""

import os
import warnings

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tensorflow.compat.v1 as tf


@pytest.fixture(autouse=True)
def empty_default_graph():
    tf.reset_default_graph()
    yield
    tf.reset_default_graph()
