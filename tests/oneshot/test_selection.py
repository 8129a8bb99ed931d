"""What numpy selects is what the engine's ops select, bit for bit: every structure and type, ties, odd edges."""

import functools
from typing import Any, Sequence

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from hypothesis import given
from hypothesis import strategies as st

from graph_masker import selection
from graph_masker.errors import SourceError
from graph_masker.oneshot import Weight, decide, keys, sums, zeroed
from graph_masker.plan import Pruning
from graph_masker.selection import Member, select_together
from graph_masker.spec import NM, Block, Channel, Element
from tests.helpers.turns import in_turns
from tests.reference import selection as reference
from tests.selection import running
from tests.selection.running import DTYPES, NEXT_TO_ONE, SPARSITIES, examples, normals, selector, weights

AXES = [(-1,), (-2,), (-2, -1), (-3, -1)]
BLOCKS = [(1, 1), (2, 3), (4, 1), (1, 4), (3, -1), (-1, 2), (-1, -1)]
PATTERNS = [(1, 2), (2, 4), (3, 5), (7, 40)]


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch: Any) -> None:
    """Vectors of some hundred entries have many pieces."""
    for module in (keys, sums):
        monkeypatch.setattr(module, "PIECE", 50)


def decided(values: Any, sparsity: float, structure: Any, axes: Any = (), signed: bool = False) -> Any:
    pruning = Pruning(sparsity, structure, output_axes=axes)
    (decision,) = decide([Weight("w", values.shape, values.dtype, pruning, lambda: values, signed)])
    return _selected(decision, values)


def _selected(decision: Any, values: Any) -> Any:
    stays = decision.stays(values)
    assert stays.dtype == bool
    return {"mask": stays.astype(np.float32).astype(values.dtype), "threshold": np.asarray(decision.threshold)}


def live(structure: Any, values: Any, sparsity: float, signed: bool) -> Any:
    return selector(structure, tf.as_dtype(values.dtype), signed)(values, sparsity)


def mismatch(found: Any, expected: Any) -> str:
    """Returns how masks and thresholds differ: how many units stay is not told here."""
    told = expected if isinstance(expected, dict) else expected._asdict()
    return running.mismatch(found, {key: told[key] for key in ("mask", "threshold")})


def _engine_structure(structure: Any, axes: Any, shape: Sequence[int]) -> Any:
    if isinstance(structure, Block):
        return selection.Blocks(structure.height, structure.width, structure.pooling, axes).at(shape)
    if isinstance(structure, Channel):
        return selection.Channels(structure.norm, axes)
    return selection.NOfM(structure.n, structure.m, axes) if isinstance(structure, NM) else selection.ELEMENTS


def check(values: Any, sparsity: float, structure: Any, axes: Any = (), signed: bool = False) -> None:
    found = decided(values, sparsity, structure, axes, signed)
    expected = live(_engine_structure(structure, axes, values.shape), values, sparsity, signed)
    assert not mismatch(found, expected)


structures = st.one_of(
    st.just(Element()),
    st.sampled_from(BLOCKS[:4]).flatmap(lambda size: st.sampled_from(["avg", "max"]).map(lambda p: Block(*size, p))),
    st.sampled_from(PATTERNS[1:3]).map(lambda size: NM(*size)),
    st.sampled_from([Channel("l1"), Channel("l2")]),
)


@examples(60)
@given(st.data())
def test_equals_the_engine(data: Any) -> None:
    _equals_the_engine(data)


@pytest.mark.slow
@examples(250)
@given(st.data())
def test_equals_the_engine_more_often(data: Any) -> None:
    _equals_the_engine(data)


def _equals_the_engine(data: Any) -> None:
    structure, dtype = data.draw(structures), data.draw(st.sampled_from(DTYPES))
    signed = structure != Channel("l2") and data.draw(st.booleans())
    axes = () if structure == Element() else data.draw(st.sampled_from(AXES[:2]))
    (values,) = data.draw(weights(dtype, least_rank=2 if axes else 1))
    check(values, data.draw(SPARSITIES), structure, axes, signed)


@pytest.mark.parametrize("dtype, axes", in_turns(DTYPES, AXES, lambda dtype: dtype.name))
@pytest.mark.parametrize("scale", [1.0, 1e-20, 1e-38])
def test_numbers_whose_sums_and_squares_round(dtype: Any, axes: Any, scale: float) -> None:
    """Where the order of a sum matters, and where what comes out is next to no normal float, or none."""
    values = (normals([5, 3, 7, 9]) * scale).astype(dtype.as_numpy_dtype)
    for sparsity in (0.0, 0.4, NEXT_TO_ONE):
        for structure in (Block(2, 3), Block(4, 1), Block(2, 2, "max"), Channel("l1"), Channel("l2"), NM(2, 4)):
            check(values, sparsity, structure, axes)


@pytest.mark.parametrize("sides, sign", in_turns(BLOCKS[1:], ("magnitudes", "signed")))
def test_blocks_of_every_shape(sides: Any, sign: str) -> None:
    signed = sign == "signed"
    for shape in ([12, 6], [7, 9], [2, 15], [1, 1]):
        for pooling in ("avg", "max"):
            check(normals(shape), 0.5, Block(*sides, pooling), (-1,), signed)


# One output each way: in lanes, in halves of lanes, in running sums; of everything.
LANES = [[40, 70], [3, 20000], [4, 9001], [9001, 4], [3, 2, 9003], [5, 40, 6], [1, 20, 8]]


@pytest.mark.parametrize("shape, size", in_turns(LANES, ("float32", "float64")))
def test_sums_are_taken_in_tensorflows_order(shape: Any, size: str) -> None:
    dtype = tf.as_dtype(size)
    for axes in ((-1,), (-2,)):
        for norm in ("l1", "l2"):
            check(normals(shape, dtype=dtype), 0.5, Channel(norm), axes)
        check(normals(shape, dtype=dtype), 0.5, Channel("l1"), axes, signed=True)


@pytest.mark.parametrize("n, m", PATTERNS)
def test_patterns_whose_last_group_is_short(n: int, m: int) -> None:
    for rows in (1, m - 1, m, 3 * m + 1):
        for values in (normals([rows, 11]), np.round(normals([rows, 11])), np.zeros([rows, 3], np.float32)):
            for sparsity in (0.0, 0.3, 1 - n / m):
                check(values, sparsity, NM(n, m), (-1,))


def test_weights_without_entries() -> None:
    for shape in ([0], [3, 0, 2]):
        found = decided(np.zeros(shape, np.float32), 0.5, Element())
        assert found["mask"].shape == tuple(shape)
        assert found["threshold"] == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_named(bad: float) -> None:
    values = normals([4, 9])
    values[3, 2] = bad
    for structure in (Element(), Channel(), Block(2, 2), NM(2, 4)):
        with pytest.raises(SourceError, match="w: the values by which it is pruned are not finite"):
            decided(values, 0.5, structure, (-1,))
    with pytest.raises(SourceError, match="w: expected values of a float type, found int32"):
        decided(np.zeros([3], np.int32), 0.5, Element())


@functools.lru_cache(maxsize=None)
def _together(structures: Any, dtypes: Any, signed: bool) -> Any:
    members = [Member(structure, dtype, dtype, signed) for structure, dtype in zip(structures, dtypes)]
    graph = tf.Graph()
    with graph.as_default():
        inputs = [tf.placeholder(dtype) for dtype in dtypes]
        sparsity, least = tf.placeholder(tf.float32, []), tf.placeholder(tf.int32, [len(members)])
        outputs, _ = select_together(inputs, members, sparsity, least)
    session = tf.Session(graph=graph)

    def run(values: Sequence[Any], requested: float, floors: Sequence[int]) -> Any:
        return session.run(outputs, {**dict(zip(inputs, values)), sparsity: requested, least: floors})

    return run


def check_together(
    values: Sequence[Any], sparsity: float, structure: Any, most_sparse: float = 1.0, signed: bool = False
) -> Any:
    pruning = Pruning(sparsity, structure, group="all", output_axes=() if structure == Element() else (-1,))
    found = decide(
        [
            Weight(str(number), value.shape, value.dtype, pruning, lambda value=value: value, signed)
            for number, value in enumerate(values)
        ],
        most_sparse,
    )
    kinds = [_engine_structure(structure, (-1,), value.shape) for value in values]
    floors = [
        1 if most_sparse == 1.0 else reference.kept_units(kind.units_in(value.shape), most_sparse)
        for kind, value in zip(kinds, values)
    ]
    run = _together(tuple(kinds), tuple(tf.as_dtype(value.dtype) for value in values), signed)
    expected = run(values, sparsity, floors)
    for decision, value, one in zip(found, values, expected):
        assert not mismatch(_selected(decision, value), one)
    return found


@examples(60)
@given(st.data())
def test_one_threshold_for_all_equals_the_engine(data: Any) -> None:
    dtype, signed = data.draw(st.sampled_from([tf.float32, tf.float64, tf.bfloat16])), data.draw(st.booleans())
    values = data.draw(weights(dtype, 2, count=3))
    sparsity = data.draw(SPARSITIES)
    check_together(values, sparsity, Element(), data.draw(st.sampled_from([1.0, 0.99, 0.6, 0.0])), signed)


@pytest.mark.parametrize("structure", [Element(), Block(2, 3, "max"), Block(4, 1), Channel("l2")], ids=str)
def test_one_threshold_for_all_that_are_not_alike(structure: Any) -> None:
    cases = [
        [normals([18, 12], seed) * scale for seed, scale in enumerate(scales)]
        for scales in ((1, 1, 1), (1, 1e-6, 1), (1, 1000, 1), (0, 0, 0), (1, 0, 1), (1e-42, 1e-41, 1))
    ]
    cases.append([normals([1, 1]), normals([20, 17]), normals([3, 7])])
    cases.append([np.round(normals([9, 12], seed) * 2) / 2 for seed in range(3)])
    for values in cases:
        for sparsity in (0.0, 0.5, 0.97, NEXT_TO_ONE):
            for most_sparse in (1.0, 0.8):
                check_together([value.astype(np.float32) for value in values], sparsity, structure, most_sparse)


def test_half_precision_is_compared_with_float32_and_not_with_float64() -> None:
    values = [normals([6, 7], seed, dtype) for seed, dtype in enumerate((tf.float16, tf.float32, tf.bfloat16))]
    check_together(values, 0.6, Element())
    with pytest.raises(SourceError, match="expected scores of one kind, found float64 beside narrower ones"):
        check_together([values[1], values[1].astype(np.float64)], 0.6, Element())


def test_comparison_sees_every_kind_of_mistake() -> None:
    values = normals([40, 70])
    expected = live(selection.Channels("l1"), values, 0.5, False)
    assert not mismatch(decided(values, 0.5, Channel("l1"), (-1,)), expected)
    for other in (Channel("l2"), Element(), NM(2, 4), Block(2, 2)):
        assert mismatch(decided(values, 0.5, other, (-1,)), expected)
    assert mismatch(decided(values, 0.5, Channel("l1"), (-2,)), expected)
    assert mismatch(decided(values, 0.6, Channel("l1"), (-1,)), expected)


def _broken_sums(way: str, monkeypatch: Any) -> None:
    # numpy's own sums, whose order is another.
    replaced = {"running": lambda rows: rows[::-1].sum(0), "_of_rows": lambda rows, first: rows.sum(1)}
    monkeypatch.setattr(sums, way, replaced[way])


@pytest.mark.parametrize("way, shape, axes", [("running", [20000, 1, 3], (-1,)), ("_of_rows", [3, 20000], (-2,))])
def test_comparison_sees_sums_in_another_order(way: str, shape: Any, axes: Any, monkeypatch: Any) -> None:
    expected = live(selection.Channels("l1", axes), normals(shape), 0.0, False)
    assert not mismatch(decided(normals(shape), 0.0, Channel("l1"), axes), expected)
    _broken_sums(way, monkeypatch)
    assert mismatch(decided(normals(shape), 0.0, Channel("l1"), axes), expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
def test_zeros_keep_signs_and_all_else_keeps_its_bits(dtype: Any) -> None:
    values = normals([30, 7], dtype=dtype)
    if dtype != tf.bfloat16:
        values[0, :3] = [np.finfo(dtype.as_numpy_dtype).tiny / 4, np.nan, -0.0]
    stays = normals([30, 7], seed=1) > 0
    found = zeroed(values, stays)
    bits = f"u{values.dtype.itemsize}"
    assert np.array_equal(found[stays].view(bits), values[stays].view(bits))
    product = stays.astype(np.float32).astype(values.dtype) * values
    finite = ~stays & np.isfinite(values.astype(np.float64))
    assert found[finite].tobytes() == product[finite].tobytes()
    assert found.dtype == values.dtype
    assert zeroed(values.T, stays.T).tobytes() == np.ascontiguousarray(found.T).tobytes()
