"""What masking does to every toy graph, over ref and resource variables."""

from typing import Any, Dict, Tuple

import pytest
import tensorflow.compat.v1 as tf

from fixtures.toys import TOYS, Toy, ToyGraph, build_toy
from graph_masker.masker import Masker
from graph_masker.spec import PruningSpec
from tests.helpers.bits import assert_same_bits, differences, unsigned_zeros
from tests.helpers.graphs import collection_names, snapshot
from tests.helpers.running import initialize, normal_value, random_mask, single_threaded, variables_by_name

ROWS = [pytest.param(toy, kind, id=f"{toy.name}-{kind}-{toy.rule}") for toy in TOYS for kind in toy.kinds]


def masked_toy(toy: Toy, kind: str) -> Tuple[ToyGraph, Masker]:
    built = build_toy(toy, kind)
    masker = Masker(built.graph, PruningSpec(0.5, 1, 10, also=toy.also))
    masker.mask(outputs=[built.output], strict=True)
    return built, masker


def run(built: ToyGraph, toy: Toy, assigned: Dict[str, Any]) -> Dict[str, Any]:
    """Returns the output and the gradients of a loss, with some variables set and all others as named."""
    with built.graph.as_default():
        loss = tf.reduce_sum(tf.square(built.output))
        variables = variables_by_name(built.graph)
        gradients = tf.gradients(loss, [variables[name] for name in toy.sites])
    with single_threaded(built.graph) as session:
        initialize(session)
        for name, variable in variables.items():
            dtype = variable.dtype.base_dtype.as_numpy_dtype
            if name in assigned:
                variable.load(assigned[name], session)
            elif variable in built.graph.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES):
                variable.load(normal_value(name, variable.shape.as_list(), dtype), session)
        fetched = {"output": built.output, **{f"gradient {name}": g for name, g in zip(toy.sites, gradients)}}
        return session.run(fetched, built.feed)


@pytest.mark.parametrize("toy, kind", ROWS)
def test_plan_holds_the_expected_weights(toy: Toy, kind: str):
    _, masker = masked_toy(toy, kind)
    assert {site.variable: site.op_types for site in masker.plan.sites} == toy.sites
    assert {site.kind for site in masker.plan.sites} == {kind}
    assert not [consumer for site in masker.plan.sites for consumer in site.consumers if consumer.backward]


@pytest.mark.parametrize("toy, kind", ROWS)
def test_masks_of_ones_change_no_bit(toy: Toy, kind: str):
    dense = run(build_toy(toy, kind), toy, {})
    assert_same_bits(run(masked_toy(toy, kind)[0], toy, {}), dense)


@pytest.mark.parametrize("toy, kind", ROWS)
def test_masked_equals_dense_with_weights_masked_by_hand(toy: Toy, kind: str):
    built, masker = masked_toy(toy, kind)
    masks, products = {}, {}
    for item in masker.masked_variables:
        name, dtype = item.site.variable, item.weight.dtype.base_dtype.as_numpy_dtype
        masks[name] = random_mask(name, item.site.shape, dtype)
        products[name] = masks[name] * normal_value(name, item.site.shape, dtype)
    found = run(built, toy, {masker.masks[name].op.name: mask for name, mask in masks.items()})
    expected = run(build_toy(toy, kind), toy, products)
    for name, mask in masks.items():
        assert expected[f"gradient {name}"][mask == 0].any(), "the dense gradient shows nothing: all zero"
        expected[f"gradient {name}"] = expected[f"gradient {name}"] * mask
    for site in masker.plan.sites:
        if not all(read.shared for read in site.reads):
            # In a loop or cond the mask meets each summand of the gradient, and a sum of zeros of both signs is +0.
            for side in (found, expected):
                side[f"gradient {site.variable}"] = unsigned_zeros(side[f"gradient {site.variable}"])
    assert_same_bits(found, expected)


def test_masks_of_ones_differ_from_random_masks():
    toy = next(toy for toy in TOYS if toy.name == "conv2d")
    built, masker = masked_toy(toy, "ref")
    mask = masker.masks["layer/kernel"]
    found = run(built, toy, {mask.op.name: random_mask("layer/kernel", mask.shape.as_list())})
    assert len(differences(found, run(build_toy(toy, "ref"), toy, {}))) == 2


@pytest.mark.parametrize("toy, kind", ROWS)
def test_masking_twice_changes_nothing(toy: Toy, kind: str):
    built, masker = masked_toy(toy, kind)
    before, collections, plan = snapshot(built.graph), collection_names(built.graph), masker.plan
    masker.mask(outputs=[built.output], strict=True)
    again = Masker(built.graph, masker.spec)
    again.mask(outputs=[built.output], strict=True)
    assert snapshot(built.graph) == before
    assert collection_names(built.graph) == collections
    assert masker.plan == plan
    assert set(again.masks) == set(masker.masks)


@pytest.mark.parametrize("toy, kind", ROWS)
def test_one_mask_per_variable_and_no_original_op_lost(toy: Toy, kind: str):
    original = snapshot(build_toy(toy, kind).graph)
    built, masker = masked_toy(toy, kind)
    masked = snapshot(built.graph)
    for name, (op_type, inputs, controls) in original.items():
        assert masked[name][0] == op_type
        assert len(masked[name][1]) == len(inputs)
        assert masked[name][2] == controls
    for key in ("masks", "thresholds", "masked_weights", "kernel"):
        assert len(built.graph.get_collection(key)) == len(toy.sites)
    assert set(masker.masks) == set(toy.sites)
