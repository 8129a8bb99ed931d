"""Keeps TensorFlow quiet. Tests build their graphs in `tf.Graph().as_default()` and leave the default one alone."""

import gc
import os
import warnings

import pytest
from xdist.scheduler import LoadFileScheduling

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tensorflow.compat.v1 as tf

# What was imported stays. The collector, which graphs keep busy, walks through it no more: a sixth of all time.
gc.freeze()

assert tf.__version__.startswith("1.15"), tf.__version__


class ModelsFirst(LoadFileScheduling):
    """Begins with real models: a file is one process's, and these files take minutes. xdist begins with many tests."""

    def _assign_work_unit(self, node):
        first = min(self.workqueue, key=lambda scope: "tests/models/" not in scope)
        self.workqueue.move_to_end(first, last=False)
        super()._assign_work_unit(node)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Sees to the order in which two processes take files."""
    return ModelsFirst(config, log) if config.getvalue("dist") == "loadfile" else None
