"""One selection over several weights."""

import functools
from typing import Any, Dict, List, Optional, Sequence

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from hypothesis import given
from hypothesis import strategies as st

from graph_masker.errors import UsageError
from graph_masker.selection import ELEMENTS, Blocks, Channels, Extent, Member, pieces, select_together
from tests.reference import selection as reference
from tests.selection.running import NEXT_TO_ONE, PIECE, SPARSITIES, examples, fitting, mismatch, normals, weights

COUNT = 3

# Structure, its reference, type, and whether scores have signs.
KINDS = {
    "elements": (ELEMENTS, reference.Elements(), tf.float32, False),
    "elements with signs": (ELEMENTS, reference.Elements(), tf.float32, True),
    "float64": (ELEMENTS, reference.Elements(), tf.float64, False),
    "float64 with signs": (ELEMENTS, reference.Elements(), tf.float64, True),
    "float16": (ELEMENTS, reference.Elements(), tf.float16, False),
    "blocks": (Blocks(2, 3, "max"), reference.Blocks(2, 3, "max"), tf.float32, False),
    "channels": (Channels("l2"), reference.Channels("l2"), tf.float32, False),
}


class Bench:
    """A graph that selects in some weights together."""

    def __init__(self, members: Sequence[Member]) -> None:
        usual, pieces.PIECE = pieces.PIECE, PIECE
        try:
            with tf.Graph().as_default() as self.graph:
                self._weights = [tf.placeholder(member.dtype) for member in members]
                self._sparsity = tf.placeholder(tf.float32, [])
                self._least = tf.placeholder(tf.int32, [len(members)])
                self._most = tf.placeholder(tf.int64, [])
                self._outputs = select_together(self._weights, members, self._sparsity, self._least, self._most)
        finally:
            pieces.PIECE = usual
        config = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
        self._session = tf.Session(graph=self.graph, config=config)

    def __call__(
        self, values: Sequence[Any], sparsity: float, least: Optional[Sequence[int]] = None, most=2**40
    ) -> Any:
        feed = dict(zip(self._weights, values))
        feed.update({self._sparsity: sparsity, self._least: least or [1] * len(values), self._most: most})
        return self._session.run(self._outputs, feed)


@functools.lru_cache(maxsize=None)
def bench(kind: str, extent: Extent = Extent.LARGE) -> Bench:
    structure, _, dtype, signed = KINDS[kind]
    return Bench([Member(structure, dtype, dtype, signed, extent)] * COUNT)


def mismatches(found: Sequence[Any], expected: Sequence[Any]) -> List[str]:
    assert len(found) == len(expected)
    return [lines for lines in map(mismatch, found, expected) if lines]


def check(kind: str, values: Sequence[Any], sparsity: float, least: Any = None, extent: Extent = Extent.LARGE) -> Any:
    found, finite = bench(kind, extent)(values, sparsity, least)
    _, units, _, signed = KINDS[kind]
    assert not mismatches(found, reference.select_together(values, sparsity, units, least, signed))
    assert finite.all()
    return found


@examples(25)
@given(st.data())
@pytest.mark.parametrize("kind", list(KINDS))
def test_equals_the_reference(kind: str, data: Any):
    exact = st.integers(-64, 64).map(lambda number: number / 8) if kind == "channels" else None
    values = data.draw(weights(KINDS[kind][2], 2, exact, COUNT))
    least = data.draw(st.sampled_from([None, [0, 1, 2], [5, 1, 1], [4, 9, 30], [500, 500, 500]]))
    check(kind, values, data.draw(SPARSITIES), least)


def _scaled(*scales: float) -> List[Any]:
    return [scale * normals([18, 12], seed).astype(np.float32) for seed, scale in enumerate(scales)]


CASES: Dict[str, List[Any]] = {
    "alike": _scaled(1, 1, 1),
    "one of little worth": _scaled(1, 1e-6, 1),
    "one above all": _scaled(1, 1000, 1),
    "zeros": _scaled(0, 0, 0),
    "one of zeros": _scaled(1, 0, 1),
    "many equal": [np.round(value * 2) / 2 for value in _scaled(1, 1, 1)],
    "denormals": _scaled(1e-42, 1e-41, 1e-42),
    "of any size": [normals([1, 1]), normals([20, 17]), normals([7])],
    "one without entries": [normals([4, 5]), np.zeros([0, 3], np.float32), normals([3])],
}


@pytest.mark.parametrize("extent", list(Extent), ids=lambda extent: extent.value)
@pytest.mark.parametrize("case", list(CASES))
def test_cases(case: str, extent: Extent):
    if case == "one without entries":
        extent = Extent.LARGE
    values = [fitting(value, extent) for value in CASES[case]]
    for sparsity in (0.0, 0.5, 0.97, NEXT_TO_ONE):
        for least in (None, [1, 30, 1], [100, 100, 100]):
            check("elements", values, sparsity, least, extent)


def test_a_common_threshold_keeps_what_lies_above_it_and_one_of_each():
    found = check("elements", CASES["one of little worth"], 0.5)
    common = found[0].threshold
    assert found[2].threshold == common > found[1].threshold > 0
    assert sum(item.mask.sum() for item in found) == 324
    assert found[1].mask.sum() == 1
    for item, value in zip(found, CASES["one of little worth"]):
        assert ((np.abs(value) >= item.threshold) == item.mask).all()


def test_no_more_than_restored_masks_keep():
    values = CASES["alike"]
    for most in (0, 10, 324, 400):
        found, _ = bench("elements")(values, 0.5, [1, 20, 1], most)
        expected = reference.select_together(values, 0.5, reference.Elements(), [1, 20, 1], most=most)
        assert not mismatches(found, expected)
        assert sum(item.mask.sum() for item in found) == min(324, max(22, most))


def test_what_is_not_finite_is_told():
    for bad in (np.nan, np.inf, -np.inf):
        values = [value.copy() for value in CASES["alike"]]
        values[1][3, 4] = bad
        assert list(bench("elements")(values, 0.5)[1]) == [True, False, True]


def test_each_weight_costs_three_calls():
    def ops(count: int) -> int:
        return len(Bench([Member(ELEMENTS, tf.float32, tf.float32)] * count).graph.get_operations())

    # The placeholder is the test's.
    assert ops(7) - ops(4) == 3 * (1 + 3)


def test_what_concerns_one_weight_is_built_beside_it():
    with tf.Graph().as_default() as graph:
        weights = [tf.placeholder(tf.float32) for _ in range(2)]
        contexts = [functools.partial(tf.device, f"/job:ps/task:{task}") for task in range(2)]
        select_together(weights, [Member(ELEMENTS, tf.float32, tf.float32)] * 2, tf.constant(0.5), beside=contexts)
    placed = [op.device for op in graph.get_operations() if op.device]
    assert sorted(placed) == ["/job:ps/task:0"] * 3 + ["/job:ps/task:1"] * 3


def test_comparison_sees_another_allocation():
    values = CASES["one above all"]
    found, _ = bench("elements")(values, 0.5)
    apart = [reference.select(value, 0.5, reference.Elements()) for value in values]
    assert mismatches(found, apart)
    together = reference.select_together(values, 0.5, reference.Elements())
    assert not mismatches(found, together)
    assert mismatches(found, reference.select_together(values, 0.5, reference.Elements(), [1, 1, 150]))
    assert mismatches(found, [together[1], together[0], together[2]])


def test_scores_that_cannot_be_compared_are_refused():
    single, double = (Member(ELEMENTS, dtype, dtype) for dtype in (tf.float32, tf.float64))
    signed = Member(ELEMENTS, tf.float32, tf.float32, signed=True)
    for members in ([single, double], [single, signed]):
        with pytest.raises(UsageError, match="put them into groups of their own"):
            Bench(members)
    with pytest.raises(UsageError, match="expected one member per weight and at least one, found 0 for 0"):
        Bench([])


def test_half_precision_and_float32_are_selected_together():
    members = [Member(ELEMENTS, dtype, dtype) for dtype in (tf.float16, tf.float32, tf.bfloat16)]
    values = [normals([6, 7], seed, member.dtype) for seed, member in enumerate(members)]
    found, _ = Bench(members)(values, 0.6)
    assert not mismatches(found, reference.select_together(values, 0.6, reference.Elements()))
