"""What a net holds: entries and nonzero entries by kind, and what they come to compressed."""

import zlib
from typing import Any, Dict, List, NamedTuple, Sequence

import numpy as np
import tensorflow.compat.v1 as tf

import graph_masker
from benchmarks.accuracy.images import SIDE
from benchmarks.accuracy.net import model_fn
from benchmarks.accuracy.settings import Case, Training
from graph_masker.files.sizes import GZIP

MASKED, FIRST, DEPTHWISE, NORM, BIAS = "masked", "first", "depthwise", "norm", "bias"
KINDS = (MASKED, FIRST, DEPTHWISE, NORM, BIAS)

# As in the paper, the first convolution stays dense, as do depthwise ones: few parameters that each do much.
FIRST_CONVOLUTION = "MobilenetV1/Conv2d_0/"


class Variables(NamedTuple):
    """Variables of a net by name.

    Attributes:
        kinds: the trainable ones, each with its kind.
        statistics: moving means and variances.
    """

    kinds: Dict[str, str]
    statistics: List[str]


def pruning_spec(case: Case, training: Training) -> graph_masker.PruningSpec:
    """Returns how a case is pruned while it trains; of a dense one, what would be masked."""
    begin, end = round(training.begin * training.steps), round(training.end * training.steps)
    return graph_masker.PruningSpec(
        target_sparsity=case.sparsity,
        begin_step=begin,
        end_step=end,
        frequency=max((end - begin) // training.updates, 1),
        exponent=training.exponent,
        exclude=[FIRST_CONVOLUTION],
    )


def variables_of(case: Case, training: Training) -> Variables:
    """Builds the original graph and returns its variables."""
    with tf.Graph().as_default() as graph:
        images = tf.placeholder(tf.float32, [1, SIDE, SIDE, 1])
        predicted = model_fn(images, None, tf.estimator.ModeKeys.PREDICT, {"case": case, "training": training})
        plan = graph_masker.plan_graph(graph, pruning_spec(case, training), outputs=[predicted.predictions["logits"]])
        trainable = [variable.op.name for variable in tf.trainable_variables()]
        others = [variable.op.name for variable in tf.model_variables() if variable.op.name not in trainable]
    maskable = {site.variable for site in plan.sites}
    return Variables({name: MASKED if name in maskable else _kind(name) for name in trainable}, others)


def _kind(name: str) -> str:
    if name.startswith(FIRST_CONVOLUTION) and name.endswith("/weights"):
        return FIRST
    for end, kind in (("/depthwise_weights", DEPTHWISE), ("/gamma", NORM), ("/beta", NORM), ("/biases", BIAS)):
        if name.endswith(end):
            return kind
    raise ValueError(f"{name}: expected a weight of MobileNet V1")


def count(checkpoint: str, variables: Variables) -> Dict[str, Any]:
    """Counts a checkpoint of the original graph.

    Args:
        checkpoint: its prefix.
        variables: of that graph.

    Returns:
        ``entries`` and ``nonzero`` by kind; ``statistics``, entries of moving means and variances; and the bytes of
        all these values, one after the other, as they are (``bytes``) and by gzip (``gzip``).
    """
    reader = tf.train.load_checkpoint(checkpoint)
    entries, nonzero = dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0)
    for name, kind in variables.kinds.items():
        values = reader.get_tensor(name)
        entries[kind] += values.size
        nonzero[kind] += int(np.count_nonzero(values))
    statistics = sum(reader.get_tensor(name).size for name in variables.statistics)
    raw, zipped = _compressed(reader, sorted([*variables.kinds, *variables.statistics]))
    return {"entries": entries, "nonzero": nonzero, "statistics": statistics, "bytes": raw, "gzip": zipped}


def _compressed(reader: Any, names: Sequence[str]) -> Sequence[int]:
    packer = zlib.compressobj(wbits=GZIP)
    raw = zipped = 0
    for name in names:
        data = reader.get_tensor(name).tobytes()
        raw += len(data)
        zipped += len(packer.compress(data))
    return raw, zipped + len(packer.flush())
