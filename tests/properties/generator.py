"""Draws descriptions of models. Everything shrinks towards one dense layer with ref variables and plain SGD."""

from dataclasses import fields, replace
from typing import Any, Iterable, Tuple

from hypothesis import strategies as st

from fixtures.random_graphs.build import OPTIMIZERS
from fixtures.random_graphs.description import Branches, Cond, Head, Layer, Loop, Model, Part, Residual
from fixtures.random_graphs.layers import ACTIVATIONS, BY_HAND, LAYERS, ONLY_OUTSIDE, READS, REGULARIZERS

SLOTS = 2


def layers(inside: bool = False) -> Any:
    """Returns a strategy for layers; `inside` those that a loop or cond can hold."""
    ops = sorted(LAYERS, key=list(LAYERS).index)
    by_hand = [op for op in ops if op in BY_HAND]
    others = [op for op in ops if op not in BY_HAND and not (inside and op in ONLY_OUTSIDE)]
    common = {
        "slot": st.integers(0, SLOTS - 1),
        "activation": st.sampled_from(list(ACTIVATIONS)),
        "regularizer": st.just("none") if inside else st.sampled_from(list(REGULARIZERS)),
    }
    return st.one_of(
        st.builds(Layer, op=st.sampled_from(others), **common),
        st.builds(Layer, op=st.sampled_from(by_hand), read=st.sampled_from(list(READS)), **common),
    )


def bodies(depth: int, inside: bool = False, least: int = 0, most: int = 3) -> Any:
    """Returns a strategy for tuples of parts with at most `depth` levels of blocks."""
    return st.lists(_parts(depth, inside), min_size=least, max_size=most).map(tuple)


def _parts(depth: int, inside: bool) -> Any:
    if not depth:
        return layers(inside)
    same, within = bodies(depth - 1, inside, 1, 2), bodies(depth - 1, True, 1, 2)
    return st.one_of(
        layers(inside),
        layers(inside),
        st.builds(Residual, body=same),
        st.builds(Branches, left=same, right=same, join=st.sampled_from(["add", "concat"])),
        st.builds(Cond, then=within, otherwise=bodies(depth - 1, True, 0, 1), taken=st.booleans()),
        st.builds(Loop, body=within, times=st.integers(1, 3)),
    )


def models() -> Any:
    """Returns a strategy for models."""
    heads = st.builds(Head, body=bodies(1, most=2), loss=st.sampled_from(["square", "absolute", "entropy"]))
    drawn = st.builds(
        Model,
        body=bodies(2, least=1, most=4),
        heads=st.lists(heads, min_size=1, max_size=3).map(tuple),
        kind=st.sampled_from(["ref", "resource"]),
        minimize=st.sampled_from(["sum", "each"]),
        late_heads=st.booleans(),
        decay_by_hand=st.booleans(),
        optimizer=st.sampled_from(list(OPTIMIZERS)),
        clip=st.booleans(),
        summaries=st.booleans(),
        averages=st.sampled_from(["none", "before", "after"]),
    )
    return drawn.map(lambda model: replace(model, kind="ref") if _has_cond_in_loop(_parts_of(model)) else model)


def _parts_of(model: Model) -> Tuple[Part, ...]:
    return (*model.body, *(part for head in model.heads for part in head.body))


def _has_cond_in_loop(parts: Iterable[Part], in_loop: bool = False) -> bool:
    """Tells whether a cond lies in a loop: TensorFlow 1.15 has no gradient of a resource variable read there."""
    return any(
        (in_loop and isinstance(part, Cond))
        or any(
            _has_cond_in_loop(getattr(part, field.name), in_loop or isinstance(part, Loop))
            for field in fields(part)
            if isinstance(getattr(part, field.name), tuple)
        )
        for part in parts
    )
