"""Keeps TensorFlow quiet. Tests build their graphs in `tf.Graph().as_default()` and leave the default one alone."""

import gc
import os
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tensorflow.compat.v1 as tf

# What was imported stays. The collector, which graphs keep busy, walks through it no more: a sixth of all time.
gc.freeze()

assert tf.__version__.startswith("1.15"), tf.__version__


def pytest_collection_modifyitems(items):
    """Begins with real models: a file is one process's, and these files take minutes."""
    items.sort(key=lambda item: "tests/models/" not in item.nodeid)
