"""What masking does to every toy graph, over ref and resource variables."""

from typing import Any, Dict, Iterator, NamedTuple, Tuple

import pytest
import tensorflow.compat.v1 as tf

from fixtures.toys import TOYS, Toy, ToyGraph, build_toy
from graph_masker.masker import Masker
from graph_masker.spec import PruningSpec
from tests.helpers.bits import assert_same_bits, differences, unsigned_zeros
from tests.helpers.graphs import collection_names, snapshot
from tests.helpers.running import initialize, normal_value, random_mask, single_threaded, variables_by_name

ROWS = [pytest.param((toy, kind), id=f"{toy.name}-{kind}-{toy.rule}") for toy in TOYS for kind in toy.kinds]


class Row(NamedTuple):
    """A toy and its two graphs."""

    toy: Toy
    kind: str
    dense: ToyGraph
    built: ToyGraph
    masker: Masker


def _row(toy: Toy, kind: str) -> Row:
    return Row(toy, kind, build_toy(toy, kind), *masked_toy(toy, kind))


# The tests of one row follow each other, so that each graph is built once for all of them.
@pytest.fixture(scope="module", params=ROWS)
def row(request: Any) -> Row:
    """Without gradients: nothing that a test does changes its graphs."""
    return _row(*request.param)


class Learning:
    """The graphs of a row with gradients, in one session each."""

    def __init__(self, row: Row) -> None:
        self._rows = {"dense": row.dense, "masked": row.built}
        self._fetched: Dict[str, Any] = {}
        self._sessions: Dict[str, Any] = {}
        for name, built in self._rows.items():
            with built.graph.as_default():
                loss = tf.reduce_sum(tf.square(built.output))
                variables = variables_by_name(built.graph)
                gradients = tf.gradients(loss, [variables[site] for site in row.toy.sites])
            named = {f"gradient {site}": gradient for site, gradient in zip(row.toy.sites, gradients)}
            self._fetched[name] = {"output": built.output, **named}
            self._sessions[name] = single_threaded(built.graph)

    def run(self, name: str, assigned: Dict[str, Any]) -> Dict[str, Any]:
        """Returns the output and the gradients of a loss, with some variables set and all others as named."""
        built, session = self._rows[name], self._sessions[name]
        initialize(session)
        for variable_name, variable in variables_by_name(built.graph).items():
            dtype = variable.dtype.base_dtype.as_numpy_dtype
            if variable_name in assigned:
                variable.load(assigned[variable_name], session)
            elif variable in built.graph.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES):
                variable.load(normal_value(variable_name, variable.shape.as_list(), dtype), session)
        return session.run(self._fetched[name], built.feed)

    def close(self) -> None:
        for session in self._sessions.values():
            session.close()


@pytest.fixture(scope="module")
def learning(row: Row) -> Iterator[Learning]:
    """Other graphs than the row's: gradients are added to them."""
    found = Learning(_row(row.toy, row.kind))
    yield found
    found.close()


def masked_toy(toy: Toy, kind: str) -> Tuple[ToyGraph, Masker]:
    built = build_toy(toy, kind)
    masker = Masker(built.graph, PruningSpec(0.5, 1, 10, also=toy.also))
    masker.mask(outputs=[built.output], strict=True)
    return built, masker


def test_plan_holds_the_expected_weights(row: Row):
    plan = row.masker.plan
    assert {site.variable: site.op_types for site in plan.sites} == row.toy.sites
    assert {site.kind for site in plan.sites} == {row.kind}
    assert not [consumer for site in plan.sites for consumer in site.consumers if consumer.backward]


def test_masks_of_ones_change_no_bit(learning: Learning):
    assert_same_bits(learning.run("masked", {}), learning.run("dense", {}))


def test_masked_equals_dense_with_weights_masked_by_hand(row: Row, learning: Learning):
    masks, products = {}, {}
    for item in row.masker.masked_variables:
        name, dtype = item.site.variable, item.weight.dtype.base_dtype.as_numpy_dtype
        masks[name] = random_mask(name, item.site.shape, dtype)
        products[name] = masks[name] * normal_value(name, item.site.shape, dtype)
    found = learning.run("masked", {row.masker.masks[name].op.name: mask for name, mask in masks.items()})
    expected = learning.run("dense", products)
    for name, mask in masks.items():
        assert expected[f"gradient {name}"][mask == 0].any(), "the dense gradient shows nothing: all zero"
        expected[f"gradient {name}"] = expected[f"gradient {name}"] * mask
    for site in row.masker.plan.sites:
        if not all(read.shared for read in site.reads):
            # In a loop or cond the mask meets each summand of the gradient, and a sum of zeros of both signs is +0.
            for side in (found, expected):
                side[f"gradient {site.variable}"] = unsigned_zeros(side[f"gradient {site.variable}"])
    assert_same_bits(found, expected)


def test_masks_of_ones_differ_from_random_masks():
    row = _row(next(toy for toy in TOYS if toy.name == "conv2d"), "ref")
    mask, learning = row.masker.masks["layer/kernel"], Learning(row)
    found = learning.run("masked", {mask.op.name: random_mask("layer/kernel", mask.shape.as_list())})
    assert len(differences(found, learning.run("dense", {}))) == 2
    learning.close()


def test_masking_twice_changes_nothing(row: Row):
    built, masker = row.built, row.masker
    before, collections, plan = snapshot(built.graph), collection_names(built.graph), masker.plan
    masker.mask(outputs=[built.output], strict=True)
    again = Masker(built.graph, masker.spec)
    again.mask(outputs=[built.output], strict=True)
    assert snapshot(built.graph) == before
    assert collection_names(built.graph) == collections
    assert masker.plan == plan
    assert set(again.masks) == set(masker.masks)


def test_one_mask_per_variable_and_no_original_op_lost(row: Row):
    original, masked = snapshot(row.dense.graph), snapshot(row.built.graph)
    for name, (op_type, inputs, controls) in original.items():
        assert masked[name][0] == op_type
        assert len(masked[name][1]) == len(inputs)
        assert masked[name][2] == controls
    for key in ("masks", "thresholds", "masked_weights", "kernel"):
        assert len(row.built.graph.get_collection(key)) == len(row.toy.sites)
    assert set(row.masker.masks) == set(row.toy.sites)
