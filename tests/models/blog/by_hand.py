"""Mask R-CNN Inception V2 masked by hand, as in the blog "Pruning Mask RCNN Models with TensorFlow".

The blog copies slim's Inception V2 and the API's feature extractor, and writes contrib's masked_conv2d where they say
slim.conv2d. Here the two files stay as they are: what they call slim is replaced while the model is built, which makes
of them what the copies are.
"""

import contextlib
from typing import Any, Callable, ContextManager, Iterator
from unittest import mock

import tensorflow.compat.v1 as tf
from nets import inception_v2
from object_detection import model_lib
from object_detection.models import faster_rcnn_inception_v2_feature_extractor as extractor
from tensorflow.contrib import slim
from tensorflow.contrib.model_pruning import masked_conv2d, masked_fully_connected

from graph_masker import PruningSpec
from tests.oracle.training import contribs_pruning

Substitution = Callable[[], ContextManager[None]]

# The files that the blog copies.
COPIED = (inception_v2, extractor)


class _MaskedSlim:
    """slim, but for its convolution. In argument scopes of the two files, too, as in the copies."""

    conv2d = staticmethod(masked_conv2d)

    def __getattr__(self, name: str) -> Any:
        return getattr(slim, name)


@contextlib.contextmanager
def copied_files() -> Iterator[None]:
    """What the blog does: backbone and feature extractor with masked convolutions, all other layers as they are."""
    with contextlib.ExitStack() as stack:
        for module in COPIED:
            stack.enter_context(mock.patch.object(module, "slim", _MaskedSlim()))
        yield


@contextlib.contextmanager
def every_file() -> Iterator[None]:
    """What nobody copies: slim's convolution and dense layer masked in all files that build the model."""
    with mock.patch.multiple(slim, conv2d=masked_conv2d, fully_connected=masked_fully_connected):
        yield


def masked_creator(substituted: Substitution, before: Callable[[], Any] = lambda: None) -> Callable[..., Any]:
    """Returns what `create_estimator_and_inputs` takes: the API's creator of a model_fn, with layers substituted.

    Args:
        substituted: the layers.
        before: called before each building of the model.
    """

    def create(*args: Any, **kwargs: Any) -> Any:
        model_fn = model_lib.create_model_fn(*args, **kwargs)

        def hand_masked(features: Any, labels: Any, mode: str, params: Any = None) -> Any:
            before()
            with substituted():
                return model_fn(features, labels, mode, params)

        return hand_masked

    return create


class UpdateHook(tf.train.SessionRunHook):
    """As in the blog: contrib's Pruning is made when the graph is ready, and its update runs after each step."""

    def __init__(self, spec: PruningSpec) -> None:
        self._spec = spec

    def begin(self) -> None:
        self._update = contribs_pruning(self._spec).conditional_mask_update_op()

    def after_run(self, run_context: Any, run_values: Any) -> None:
        run_context.session.run(self._update)
