"""Keeps TensorFlow quiet. Tests build their graphs in `tf.Graph().as_default()` and leave the default one alone."""

import os
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tensorflow.compat.v1 as tf

assert tf.__version__.startswith("1.15"), tf.__version__
