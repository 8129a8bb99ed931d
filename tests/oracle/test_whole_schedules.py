"""Masks and thresholds of contrib's own Pruning, after every step of whole schedules, from the same text."""

import functools
from typing import Any, Dict, List, NamedTuple

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from tensorflow.contrib import model_pruning

from graph_masker.masker import Masker
from graph_masker.spec import PruningSpec
from tests.helpers.bits import assert_same_bits, differences
from tests.helpers.running import initialize, single_threaded, variables_by_name
from tests.oracle.nets import NETS
from tests.oracle.training import contribs_pruning_of, train_auto_masked, train_hand_masked

LAST = 120
SHAPES = {"conv/weights": (3, 3, 4, 6), "dense/weights": (24, 10), "logits/weights": (10, 5)}

# begin >= frequency, and the frequency divides the way to the end: nothing is to differ.
EQUAL = {
    "all defaults but the begin": "begin_pruning_step=10",
    "decay": "threshold_decay=0.3,begin_pruning_step=10,end_pruning_step=120,target_sparsity=0.8",
    "map": "weight_sparsity_map=[conv/:0.4,^dense:0.9],begin_pruning_step=10,end_pruning_step=110,target_sparsity=0.7",
    "function beside the updates": "begin_pruning_step=20,end_pruning_step=120,sparsity_function_begin_step=5,"
    "sparsity_function_end_step=90,target_sparsity=0.85",
    "function beyond the updates": "begin_pruning_step=20,end_pruning_step=60,sparsity_function_begin_step=10,"
    "sparsity_function_end_step=200,target_sparsity=0.9",
    "initial sparsity": "begin_pruning_step=12,end_pruning_step=120,pruning_frequency=12,initial_sparsity=0.3,"
    "sparsity_function_begin_step=12,sparsity_function_end_step=120,target_sparsity=0.75",
    "linear": "begin_pruning_step=10,sparsity_function_exponent=1,target_sparsity=0.9",
    "every step": "begin_pruning_step=1,pruning_frequency=1,sparsity_function_end_step=77,target_sparsity=0.9",
    "blocks, averaged": "block_height=4,block_width=3,begin_pruning_step=10,target_sparsity=0.7",
    "blocks, the highest": "block_height=1,block_width=4,block_pooling_function=MAX,begin_pruning_step=10",
    "blocks by a map": "block_dims_map=[dense:5x1,logits:2x-1],begin_pruning_step=10,target_sparsity=0.75,"
    "threshold_decay=0.2",
    "all at once": "begin_pruning_step=9,end_pruning_step=114,pruning_frequency=7,sparsity_function_begin_step=3,"
    "sparsity_function_end_step=101,sparsity_function_exponent=2,initial_sparsity=0.05,target_sparsity=0.8,"
    "threshold_decay=0.6,weight_sparsity_map=[conv/:0.5,dense:0.65]",
}


class Walk(NamedTuple):
    """What each of the two did with the same weights: by step, masks, thresholds and the step of the last update."""

    ours: List[Dict[str, Any]]
    contribs: List[Dict[str, Any]]

    def differing(self) -> List[int]:
        """Returns the steps after which a mask or a threshold differs."""
        return [
            step
            for step, (one, other) in enumerate(zip(self.ours, self.contribs), 1)
            if differences(_state(one), _state(other))
        ]


def _state(values: Dict[str, Any]) -> Dict[str, Any]:
    return {name: value for name, value in values.items() if "mask_update" not in name}


@functools.lru_cache(maxsize=None)
def _weight(shape: Any, step: int) -> Any:
    """A weight that wanders, all of whose magnitudes differ."""
    start, end = (np.random.RandomState(len(shape) + seed).normal(size=shape) for seed in (1, 2))
    mean = start + (end - start) * step / LAST
    ranks = np.argsort(np.argsort(np.abs(mean), axis=None)).reshape(shape)
    value = (np.sign(mean) * np.square((1 + ranks) * (1 + step / 997))).astype(np.float32)
    assert len(np.unique(np.abs(value))) == value.size
    return value


def _build(shapes: Dict[str, Any], weight_of: Any) -> None:
    tf.train.get_or_create_global_step()
    for name, shape in shapes.items():
        weight = weight_of(tf.get_variable(name, shape), name.partition("/")[0])
        if len(shape) == 4:
            tf.nn.conv2d(tf.placeholder(tf.float32, [1, 5, 5, shape[2]]), weight, 1, "SAME")
        else:
            tf.matmul(tf.placeholder(tf.float32, [1, shape[0]]), weight)


def _record(graph: Any, update: Any, shapes: Dict[str, Any], last: int) -> List[Dict[str, Any]]:
    variables = variables_by_name(graph)
    fetched = {name: v for name, v in variables.items() if name.endswith(("mask", "threshold", "mask_update_step"))}
    assert len(fetched) == 2 * len(shapes) + 1
    found = []
    with single_threaded(graph) as session:
        initialize(session)
        for step in range(1, last + 1):
            values = {"global_step": step, **{name: _weight(shape, step) for name, shape in shapes.items()}}
            loaded = [variables[name].initializer for name in values]
            session.run(loaded, {op.inputs[1]: value for op, value in zip(loaded, values.values())})
            session.run(update)
            found.append(session.run(fetched))
    return found


def walk(hparams: str, shapes: Any = None, last: int = LAST) -> Walk:
    """Updates masks of the same weights, step by step, by both."""
    shapes = shapes or SHAPES
    return Walk(_ours(hparams, shapes, last), _contribs(hparams, shapes, last))


def _ours(hparams: str, shapes: Dict[str, Any], last: int) -> List[Dict[str, Any]]:
    with tf.Graph().as_default() as graph:
        _build(shapes, lambda weight, scope: weight)
        masker = Masker(graph, PruningSpec.from_hparams(hparams))
        masker.mask(strict=True)
        return _record(graph, masker.attach_update(tf.no_op()), shapes, last)


def _contribs(hparams: str, shapes: Dict[str, Any], last: int) -> List[Dict[str, Any]]:
    with tf.Graph().as_default() as graph:
        _build(shapes, lambda weight, scope: model_pruning.apply_mask(weight, scope))
        return _record(graph, contribs_pruning_of(hparams).conditional_mask_update_op(), shapes, last)


def _updates(steps: List[Dict[str, Any]]) -> List[int]:
    return [step for step, values in enumerate(steps, 1) if values["model_pruning/last_mask_update_step"] == step]


@pytest.mark.parametrize("hparams", EQUAL.values(), ids=EQUAL)
def test_every_mask_and_threshold_equals_contribs(hparams: str):
    found = walk(hparams)
    assert found.differing() == []
    assert _updates(found.ours) == _updates(found.contribs)
    assert len(_updates(found.ours)) >= 5
    sparsities = [1 - value.mean() for name, value in found.ours[-1].items() if name.endswith("/mask")]
    assert min(sparsities) > 0.3, "nothing was pruned"


@pytest.fixture(scope="module")
def contribs():
    return _contribs(EQUAL["all at once"], SHAPES, 40)


@pytest.mark.parametrize(
    "changed",
    [
        ("threshold_decay=0.6", "threshold_decay=0.61"),
        ("dense:0.65", "dense:0.66"),
        ("conv/:0.5", "conv/:0.51"),
        ("target_sparsity=0.8", "target_sparsity=0.81"),
        ("sparsity_function_exponent=2", "sparsity_function_exponent=2.1"),
        ("sparsity_function_end_step=101", "sparsity_function_end_step=103"),
        ("begin_pruning_step=9", "begin_pruning_step=16"),
    ],
    ids=lambda pair: pair[1],
)
def test_other_hyper_parameters_are_seen(changed: Any, contribs: Any):
    hparams = EQUAL["all at once"]
    assert hparams.count(changed[0]) == 1
    assert Walk(_ours(hparams.replace(*changed), SHAPES, 40), contribs).differing()


def test_contribs_defaults_differ_by_the_update_at_the_begin_alone():
    """contrib waits for `pruning_frequency` steps at first; ours updates at step 1, the first after step 0."""
    found = walk("")
    assert _updates(found.contribs) == list(range(10, LAST + 1, 10))
    assert _updates(found.ours) == [1, *range(10, LAST + 1, 10)]
    assert found.differing() == list(range(1, 10))


def test_the_final_update_is_the_one_that_contrib_misses():
    found = walk("begin_pruning_step=25,end_pruning_step=60,sparsity_function_begin_step=25,"
                 "sparsity_function_end_step=60,target_sparsity=0.8", last=80)  # fmt: skip
    assert _updates(found.contribs) == [25, 35, 45, 55]
    assert _updates(found.ours) == [25, 35, 45, 55, 60]
    assert found.differing() == list(range(60, 81))


def test_where_no_entry_would_stay_contrib_fails_and_one_stays():
    shapes = {"dense/weights": (24, 10), "tiny/weights": (2, 2)}
    hparams = "begin_pruning_step=10,target_sparsity=0.95,sparsity_function_end_step=60"
    # At step 40 the tiny weight is asked for 0.915; 4 (1 - 0.915) is below a half.
    until = walk(hparams, shapes=shapes, last=39)
    assert until.differing() == []
    with pytest.raises(tf.errors.InvalidArgumentError, match="-1 is not in"):
        _contribs(hparams, shapes, 40)
    at = _ours(hparams, shapes, 80)
    assert _updates(at) == [10, 20, 30, 40, 50, 60, 70, 80]
    for values, step in zip(at[39:], range(40, 81)):
        weight = _weight((2, 2), step // 10 * 10)
        assert_same_bits({"mask": values["tiny/mask"]}, {"mask": np.float32(np.abs(weight) == np.abs(weight).max())})
        assert values["tiny/threshold"] == np.abs(weight).max()


TRAINED = {
    "slim conv, batch norm, decay, clipped momentum": "begin_pruning_step=10,end_pruning_step=50,threshold_decay=0.3,"
    "weight_sparsity_map=[conv1:0.4,conv2:0.85],sparsity_function_begin_step=4,sparsity_function_end_step=44",
    "tf.layers dense, clipped momentum": "begin_pruning_step=5,pruning_frequency=5,initial_sparsity=0.1,"
    "target_sparsity=0.9,sparsity_function_end_step=41,sparsity_function_exponent=1",
}


@pytest.mark.parametrize("name", TRAINED)
def test_training_equals_that_of_a_hand_masked_net(name: str):
    model, hparams = NETS[name], TRAINED[name]
    theirs = train_hand_masked(model, model.spec, hparams=hparams)
    ours = train_auto_masked(model, PruningSpec.from_hparams(hparams), theirs.initial)
    assert_same_bits(ours.flat(), theirs.flat())


def test_training_by_other_hyper_parameters_is_seen():
    name = "tf.layers dense, clipped momentum"
    theirs = train_hand_masked(NETS[name], NETS[name].spec, hparams=TRAINED[name])
    other = PruningSpec.from_hparams(TRAINED[name].replace("_end_step=41", "_end_step=42"))
    assert differences(train_auto_masked(NETS[name], other, theirs.initial).flat(), theirs.flat())


def test_where_a_lagging_threshold_would_end_a_weight_its_best_entry_stays(monkeypatch: Any):
    """Weights that shrink fall below the average of thresholds that were found while they were large."""
    shrinking = {step: 0.5**step * _weight((24, 10), step) for step in range(1, 41)}
    monkeypatch.setattr(f"{__name__}._weight", lambda shape, step: shrinking[step])
    found = walk("begin_pruning_step=10,threshold_decay=0.9", {"dense/weights": (24, 10)}, 40)
    assert found.contribs[-1]["dense/mask"].sum() == 0
    assert found.ours[-1]["dense/mask"].sum() == 1
    assert found.ours[-1]["dense/threshold"] == np.abs(shrinking[40]).max()
    alike = [step for step in range(1, 41) if found.contribs[step - 1]["dense/mask"].any()]
    assert alike and not set(alike) & set(found.differing())
