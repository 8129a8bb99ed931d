"""Mask R-CNN Inception V2 masked by hand, as in the blog "Pruning Mask RCNN Models with TensorFlow".

The blog copies slim's Inception V2 and the API's feature extractor, and writes contrib's masked_conv2d where they say
slim.conv2d. Here the two files stay as they are: what they call slim is replaced while the model is built, which makes
of them what the copies are.
"""

import contextlib
from typing import Any, Callable, ContextManager, Iterator, List, NamedTuple
from unittest import mock

import numpy as np
import tensorflow.compat.v1 as tf
from nets import inception_v2
from object_detection import model_lib
from object_detection.models import faster_rcnn_inception_v2_feature_extractor as extractor
from tensorflow.contrib import slim
from tensorflow.contrib.model_pruning import masked_conv2d, masked_fully_connected

from graph_masker import PruningSpec
from graph_masker.schedule import kept_entries, sparsity_at, update_steps
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


class Tie(NamedTuple):
    """A mask that contrib left with more entries than the schedule asks for.

    Attributes:
        step: of the update.
        mask: name.
        equal: entries of the same magnitude, bit for bit, at the cut.
        surplus: how many of them are too many.
    """

    step: int
    mask: str
    equal: int
    surplus: int


class UpdateHook(tf.train.SessionRunHook):
    """As in the blog: contrib's Pruning is made when the graph is ready, and its update runs after each step."""

    def __init__(self, spec: PruningSpec) -> None:
        self._spec = spec

    def begin(self) -> None:
        self._update = contribs_pruning(self._spec).conditional_mask_update_op()

    def after_run(self, run_context: Any, run_values: Any) -> None:
        run_context.session.run(self._update)


class TieHook(tf.train.SessionRunHook):
    """Takes surplus entries, those of highest index, out of masks in which contrib keeps too many.

    contrib keeps all entries at or above the k-th magnitude: more than k, if several are equal to it. auto_mask keeps
    k. Among ten million float32 weights two are equal at a cut now and then; nothing else of a mask is touched.

    Attributes:
        ties: what was found.
    """

    def __init__(self, spec: PruningSpec) -> None:
        self._spec = spec
        self._steps = set(update_steps(spec))
        self.ties: List[Tie] = []

    def begin(self) -> None:
        graph = tf.get_default_graph()
        self._masks = graph.get_collection("masks")
        self._values = [graph.get_collection(name) for name in ("kernel", "masks", "thresholds")]
        self._step = tf.train.get_global_step()

    def after_run(self, run_context: Any, run_values: Any) -> None:
        session = run_context.session
        step = int(session.run(self._step))
        if step not in self._steps:
            return
        for variable, weight, mask, threshold in zip(self._masks, *session.run(self._values)):
            magnitudes = np.abs(weight).reshape(-1)
            equal = np.flatnonzero(magnitudes == threshold)
            above = np.count_nonzero(magnitudes > threshold)
            assert len(equal) and np.array_equal(mask.reshape(-1), magnitudes >= threshold)
            kept = kept_entries(weight.size, sparsity_at(self._spec, step)) if len(equal) > 1 else above + 1
            assert above < kept <= above + len(equal)
            surplus = equal[kept - above :]
            if len(surplus):
                mask.reshape(-1)[surplus] = 0
                variable.load(mask, session)
                self.ties.append(Tie(step, variable.op.name, len(equal), len(surplus)))
