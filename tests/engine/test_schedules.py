"""Every schedule through a training loop: updates at the scheduled steps and no other, each to the exact number."""

from dataclasses import replace
from typing import Any, Dict, List

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from graph_masker import mask_graph, plan_graph
from graph_masker.errors import PlanError
from graph_masker.plan import MaskPlan
from graph_masker.schedule import kept_entries, update_steps, weight_sparsity_at
from graph_masker.spec import Block, Channel, PruningSpec, Rule
from tests.engine.nets import BATCH, CONV, DENSE, WEIGHTS, Net, Values, before_gradients, descent, mask_of, training

STEPS = 24
LAST = "model_pruning/last_mask_update_step"
NET = Net(optimizer=descent)


def halving(step: int) -> float:
    """A schedule as library users write one."""
    return 0.8 if step >= 17 else 1 - 0.5 ** (1 + step / 6)


SPECS = {
    "polynomial": PruningSpec(0.85, 3, 20, frequency=4, initial_sparsity=0.15),
    "linear, every step": PruningSpec(0.6, 1, 12, frequency=1, exponent=1),
    "constant": PruningSpec(0.7, 5, 15, frequency=3, schedule="constant"),
    "constant, never ends": PruningSpec(0.7, 5, frequency=6, schedule="constant"),
    "one shot": PruningSpec(0.9, 7, schedule="one_shot"),
    "list": PruningSpec(0.8, 2, 15, frequency=4, schedule=(0.1, 0.1, 0.5, 0.75, 0.8)),
    "callable": PruningSpec(0.8, 2, 17, frequency=3, schedule=halving),
    "never ends": PruningSpec(0.75, 4, frequency=5, sparsity_begin_step=2, sparsity_end_step=16),
    "ends before its curve": PruningSpec(0.9, 2, 10, frequency=4, sparsity_begin_step=0, sparsity_end_step=30),
    "frequency beyond the end": PruningSpec(0.5, 3, 9, frequency=100),
    "target next to 1": PruningSpec(0.9999, 2, 8, frequency=2),
    "target 0": PruningSpec(0.0, 2, 8, frequency=2, schedule="constant"),
}
OWN_TARGETS = (Rule("conv", 0.35), Rule("dense", 0.66, optional=True))


def updates(recorded: List[Values]) -> List[int]:
    """Returns the steps after which the step of the last update had changed."""
    return [step for step in range(1, len(recorded)) if recorded[step][LAST] != recorded[step - 1][LAST]]


def kept(values: Values) -> Dict[str, int]:
    """Returns how many entries each mask keeps, and checks that it has nothing but zeros and ones."""
    masks = {name: values[mask_of(name)] for name in WEIGHTS}
    assert all(set(np.unique(mask)) <= {0, 1} for mask in masks.values())
    return {name: int(mask.sum()) for name, mask in masks.items()}


def expected(recorded: List[Values], spec: PruningSpec, targets: Dict[str, float]) -> List[Dict[str, int]]:
    """Returns how many entries each mask is to keep after each step."""
    sizes = {name: recorded[0][name].size for name in WEIGHTS}
    found = [dict(sizes)]
    for step in range(1, len(recorded)):
        now = {name: kept_entries(sizes[name], weight_sparsity_at(spec, targets[name], step)) for name in WEIGHTS}
        found.append(now if step in update_steps(spec, until=STEPS) else found[-1])
    return found


def train(spec: PruningSpec, steps: int = STEPS) -> List[Values]:
    with training(NET, spec, before_gradients) as run:
        return [run.values(), *run.steps(steps)]


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_masks_change_at_the_scheduled_steps_to_the_exact_number(spec: PruningSpec):
    recorded = train(spec)
    assert updates(recorded) == update_steps(spec, until=STEPS)
    assert [kept(values) for values in recorded] == expected(
        recorded, spec, dict.fromkeys(WEIGHTS, spec.target_sparsity)
    )
    between = [step for step in range(1, STEPS + 1) if step not in updates(recorded)]
    for step in between:
        assert all((recorded[step][mask_of(n)] == recorded[step - 1][mask_of(n)]).all() for n in WEIGHTS)


@pytest.mark.parametrize("name", ["polynomial", "list", "constant", "never ends"])
def test_weights_with_targets_of_their_own_reach_them_exactly(name: str):
    spec = replace(SPECS[name], rules=OWN_TARGETS)
    recorded = train(spec)
    assert updates(recorded) == update_steps(spec, until=STEPS)
    assert [kept(values) for values in recorded] == expected(recorded, spec, {CONV: 0.35, DENSE: 0.66})
    assert kept(recorded[-1]) == {CONV: kept_entries(72, 0.35), DENSE: kept_entries(192, 0.66)}
    # The control: with the spec's target for both, the numbers are others.
    assert [kept(values) for values in recorded] != expected(recorded, spec, dict.fromkeys(WEIGHTS, 0.66))


@pytest.mark.parametrize("rules", [(), (Rule("conv", 0.5),)], ids=["all free", "one fixed"])
def test_erk_keeps_exactly_its_total(rules: Any):
    spec = PruningSpec(0.8, 2, 10, frequency=4, allocation="erk", rules=rules)
    last = kept(train(spec, 12)[-1])
    assert sum(last.values()) == kept_entries(72 + 192, 0.8)
    # 12 / 72 against 67 / 192, by the sums of their sizes.
    assert last[CONV] == 36 if rules else last[CONV] / 72 < last[DENSE] / 192


@pytest.mark.parametrize(
    "spec",
    [
        replace(SPECS["polynomial"], rules=(Rule("conv", exclude=True),)),
        replace(SPECS["polynomial"], exclude=("conv",)),
        replace(SPECS["polynomial"], include=("dense",)),
    ],
    ids=["rule", "exclude", "include"],
)
def test_what_is_excluded_stays_dense(spec: PruningSpec):
    with training(NET, spec) as run:
        last = run.steps(22)[-1]
    assert mask_of(CONV) not in last
    assert int(last[mask_of(DENSE)].sum()) == kept_entries(192, 0.85)


def test_a_rule_that_matches_nothing_is_an_error():
    spec = replace(SPECS["polynomial"], rules=(Rule("conv", 0.5), Rule("convolution9", 0.5)))
    with pytest.raises(PlanError, match=r"rules\[1\]\.match: 'convolution9' matches none of the 2 weights found"):
        train(spec, 1)
    optional = replace(spec, rules=(Rule("conv", 0.5), Rule("convolution9", 0.5, optional=True)))
    assert len(train(optional, 1)) == 2


def test_a_plan_with_rules_structures_and_criteria_round_trips():
    spec = PruningSpec(
        0.7,
        2,
        20,
        structure=Block(2, 2),
        rules=(Rule("conv", structure=Channel("l1"), criterion="taylor"), Rule("dense", 0.5)),
    )
    with tf.Graph().as_default() as graph:
        loss, penalty = NET.loss(tf.placeholder(tf.float32, BATCH))
        plan = plan_graph(graph, spec, losses=[loss, penalty])
    again = MaskPlan.from_json(plan.to_json())
    assert again == plan
    pruned = {site.variable: site.pruning for site in again.sites}
    assert pruned[CONV].structure == Channel("l1") and pruned[CONV].criterion == "taylor"
    assert pruned[DENSE].structure == Block(2, 2) and pruned[DENSE].target_sparsity == 0.5
    assert again != MaskPlan.from_json(plan.to_json().replace('"taylor"', '"movement"'))


def test_the_update_of_an_exported_graph_follows_the_schedule_too():
    """The train op of a masked MetaGraph, imported where nobody knows of graph_masker."""
    spec = SPECS["polynomial"]
    with tf.Graph().as_default() as graph:
        loss = tf.add_n(NET.loss(tf.placeholder(tf.float32, BATCH, name="batch")))
        train_op = NET.minimize(loss)
        masker = mask_graph(graph, spec, losses=[loss])
        both = tf.group(train_op, masker.update_op)
        meta_graph = tf.train.export_meta_graph()
    with tf.Graph().as_default() as graph, tf.Session() as session:
        tf.train.import_meta_graph(meta_graph)
        session.run(tf.global_variables_initializer())
        step = graph.get_tensor_by_name(f"{LAST}:0")
        made = []
        for number in range(1, STEPS + 1):
            session.run(both.name, {"batch:0": np.random.RandomState(number).normal(size=BATCH)})
            made.append(int(session.run(step)))
        assert [number for number, last in enumerate(made, 1) if number == last] == update_steps(spec)
        masks = session.run([graph.get_tensor_by_name(f"{mask_of(name)}:0") for name in WEIGHTS])
    assert [int(mask.sum()) for mask in masks] == [kept_entries(72, 0.85), kept_entries(192, 0.85)]
