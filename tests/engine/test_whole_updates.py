"""Every structure and allocation through a real training loop, against the numpy reference at each update."""

from typing import Any, Dict, List, NamedTuple

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from graph_masker.masker import Masker
from graph_masker.schedule import sparsity_at, update_steps, weight_sparsity_at
from graph_masker.spec import PruningSpec
from tests.helpers.bits import assert_same_bits, differences
from tests.helpers.running import initialize, single_threaded
from tests.reference import selection as reference

STEPS = 12
SCHEDULE = {"begin_step": 2, "end_step": 11, "frequency": 3}
# Where the output is: the last axis, but for the transposed convolution.
AXES = {"conv/kernel": (-1,), "up/kernel": (-2,), "fc/kernel": (-1,), "logits/kernel": (-1,)}


class Update(NamedTuple):
    """What one step left behind."""

    step: int
    weights: Dict[str, Any]
    masks: Dict[str, Any]
    thresholds: Dict[str, Any]


def train(spec: PruningSpec, use_resource: bool = False) -> List[Update]:
    """Trains a net of four kernels, and returns weights, masks and thresholds after every step."""
    with tf.Graph().as_default() as graph, tf.variable_scope(tf.get_variable_scope(), use_resource=use_resource):
        tf.set_random_seed(1)
        hidden = tf.layers.conv2d(tf.random_normal([2, 6, 6, 3], seed=1), 8, 3, activation=tf.nn.relu, name="conv")
        hidden = tf.layers.conv2d_transpose(hidden, 6, 3, name="up")
        hidden = tf.layers.dense(tf.layers.flatten(hidden), 13, name="fc")
        loss = tf.reduce_mean(tf.square(tf.layers.dense(hidden, 5, name="logits")))
        step = tf.train.get_or_create_global_step()
        masker = Masker(graph, spec)
        with masker.watching_gradients():
            train_op = tf.train.MomentumOptimizer(0.02, 0.9).minimize(loss, step)
        masker.mask(losses=[loss], strict=True)
        update = masker.attach_update(train_op)
        items = {item.site.variable: item for item in masker.masked_variables}
    assert set(items) == set(AXES)
    found = []
    with single_threaded(graph) as session:
        initialize(session)
        for number in range(1, STEPS + 1):
            session.run(update)
            weights, masks, thresholds = session.run(
                [{name: getattr(item, key) for name, item in items.items()} for key in ("weight", "mask", "threshold")]
            )
            found.append(Update(number, weights, masks, thresholds))
    return found


def by_units(name: str, value: Any, structure: Any) -> Any:
    if structure == "element":
        return reference.Elements()
    if structure == "channel" or "channel" in structure:
        return reference.Channels("l1" if structure == "channel" else structure["channel"], AXES[name])
    return reference.Blocks(*structure["block"], structure.get("pooling", "avg"), AXES[name])


def expected(spec: PruningSpec, structure: Any, update: Update) -> Dict[str, Any]:
    """Returns the masks and thresholds that the update of a step makes of its weights."""
    sparsity = sparsity_at(spec, update.step)
    if spec.allocation == "global":
        names = list(update.weights)
        chosen = _together(spec, structure, [update.weights[name] for name in names], names, sparsity)
    else:
        chosen = {name: _alone(name, value, structure, sparsity) for name, value in update.weights.items()}
    return {
        **{f"{name} mask": one.mask for name, one in chosen.items()},
        **{f"{name} threshold": one.threshold for name, one in chosen.items()},
    }


def _alone(name: str, value: Any, structure: Any, sparsity: float) -> Any:
    if isinstance(structure, str) and ":" in structure:
        n, m = map(int, structure.split(":"))
        return reference.select_n_of_m(value, sparsity, n, m, AXES[name])
    return reference.select(value, sparsity, by_units(name, value, structure))


def _together(spec: PruningSpec, structure: Any, values: Any, names: Any, sparsity: float) -> Dict[str, Any]:
    assert structure == "element"
    least = [reference.kept_units(value.size, spec.max_sparsity) for value in values]
    return dict(zip(names, reference.select_together(values, sparsity, reference.Elements(), least)))


def flat(update: Update) -> Dict[str, Any]:
    return {
        **{f"{name} mask": value for name, value in update.masks.items()},
        **{f"{name} threshold": value for name, value in update.thresholds.items()},
    }


CASES = [
    ({"target_sparsity": 0.8}, "element"),
    ({"target_sparsity": 0.7}, {"block": [4, 1]}),
    ({"target_sparsity": 0.7}, {"block": [2, 3], "pooling": "max"}),
    ({"target_sparsity": 0.5}, {"block": [-1, 2]}),
    ({}, "2:4"),
    ({}, "1:3"),
    ({"target_sparsity": 0.9, "allocation": "global"}, "element"),
    ({"target_sparsity": 0.8, "allocation": "global", "max_sparsity": 0.81}, "element"),
]


@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
@pytest.mark.parametrize(("options", "structure"), CASES, ids=str)
def test_masks_and_thresholds_equal_the_reference(options: Any, structure: Any, use_resource: bool):
    # Ceilings of masks that the run itself has made are another test's.
    spec = PruningSpec(structure=structure, continue_from_masks=False, **SCHEDULE, **options)
    due = update_steps(spec)
    latest = None
    for update in train(spec, use_resource):
        if update.step in due:
            latest = expected(spec, structure, update)
        elif latest is None:
            latest = {name: np.ones_like(value) if "mask" in name else value for name, value in flat(update).items()}
        assert_same_bits(flat(update), latest)


def test_the_comparison_notices_another_structure():
    spec = PruningSpec(structure={"block": [4, 1]}, target_sparsity=0.7, **SCHEDULE)
    last = train(spec)[SCHEDULE["end_step"] - 1]
    assert differences(flat(last), expected(spec, {"block": [4, 2]}, last))
    assert differences(flat(last), expected(spec, "element", last))


def test_channels_go_whole_and_as_many_as_asked_for():
    """Norms are sums whose rounding depends on their order, so that counts and wholeness are what can be compared."""
    spec = PruningSpec(structure="channel", target_sparsity=0.5, **SCHEDULE)
    for name, mask in train(spec)[-1].masks.items():
        matrix = reference.to_matrix(mask, AXES[name])
        assert (matrix == matrix[0]).all()
        assert matrix[0].sum() == reference.kept_units(matrix.shape[1], sparsity_at(spec, STEPS))


def test_weights_beside_groups_follow_their_own_rules():
    rules = [
        {"match": "^up/", "sparsity": 0.5},
        {"match": "^fc/", "group": "heads"},
        {"match": "^logits/", "group": "heads"},
    ]
    spec = PruningSpec(0.75, allocation="global", rules=rules, continue_from_masks=False, **SCHEDULE)
    last = train(spec)[SCHEDULE["end_step"] - 1]
    alone = reference.select(last.weights["up/kernel"], weight_sparsity_at(spec, 0.5, 11), reference.Elements())
    conv = reference.select(last.weights["conv/kernel"], 0.75, reference.Elements())
    heads = reference.select_together(
        [last.weights["fc/kernel"], last.weights["logits/kernel"]], 0.75, reference.Elements()
    )
    found = dict(zip(AXES, (conv, alone, *heads)))
    assert_same_bits(last.masks, {name: one.mask for name, one in found.items()})
    assert_same_bits(last.thresholds, {name: one.threshold for name, one in found.items()})


@pytest.mark.parametrize("allocation", ["uniform", "global"])
def test_the_ceiling_of_ones_own_masks_changes_nothing(allocation: str):
    spec = {"target_sparsity": 0.8, "allocation": allocation, **SCHEDULE}
    kept, free = (train(PruningSpec(continue_from_masks=flag, **spec))[-1] for flag in (True, False))
    assert_same_bits(flat(kept), flat(free))


def test_one_not_finite_weight_stops_a_group_before_anything_is_written():
    with tf.Graph().as_default() as graph:
        step = tf.train.get_or_create_global_step()
        for name in ("one", "two", "three"):
            tf.matmul(tf.placeholder(tf.float32, [1, 4]), tf.get_variable(f"{name}/kernel", [4, 4]))
        rules = [{"match": "three", "sparsity": 0.5}]
        masker = Masker(graph, PruningSpec(0.75, 0, 10, allocation="global", rules=rules))
        masker.mask(strict=True)
        update = masker.attach_update(tf.assign_add(step, 1))
        items = {item.site.variable: item for item in masker.masked_variables}
    with single_threaded(graph) as session:
        initialize(session)
        items["two/kernel"].weight.load(np.full([4, 4], np.nan, np.float32), session)
        with pytest.raises(tf.errors.InvalidArgumentError, match="two/kernel") as caught:
            session.run(update)
        assert "one/kernel" not in str(caught.value.message)
        assert all((session.run(item.mask) == 1).all() for item in items.values())
