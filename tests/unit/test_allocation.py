"""Erdos-Renyi-Kernel: every total is met, within all bounds, and densities are in the paper's proportion."""

from typing import Any, Dict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_masker.allocation import erk_targets
from graph_masker.errors import SpecError
from graph_masker.schedule import kept_entries

# ResNet-50's convolutions and its dense layer, as [kh, kw, cin, cout] and [in, out].
RESNET50: Dict[str, Any] = {"conv1": (7, 7, 3, 64), "logits": (2048, 1000)}
for number, (inner, outer, count) in enumerate([(64, 256, 3), (128, 512, 4), (256, 1024, 6), (512, 2048, 3)]):
    previous = 64 if number == 0 else outer // 2
    RESNET50[f"block{number}/shortcut"] = (1, 1, previous, outer)
    for unit in range(count):
        RESNET50[f"block{number}/unit{unit}/conv1"] = (1, 1, outer if unit else previous, inner)
        RESNET50[f"block{number}/unit{unit}/conv2"] = (3, 3, inner, inner)
        RESNET50[f"block{number}/unit{unit}/conv3"] = (1, 1, inner, outer)

shapes_of_weights = st.dictionaries(
    st.text("abc", min_size=1, max_size=3), st.lists(st.integers(1, 12), min_size=1, max_size=4).map(tuple), min_size=1
)


def size(shape: Any) -> int:
    return int(np.prod(shape, dtype=np.int64))


def kept(shapes: Dict[str, Any], targets: Dict[str, float]) -> Dict[str, int]:
    return {name: kept_entries(size(shape), targets[name]) for name, shape in shapes.items()}


def by_the_paper(shapes: Dict[str, Any], target: float) -> Dict[str, float]:
    """Densities as the paper finds them: what would exceed 1 is dense, and the rest is solved for again."""
    dense = set()
    while True:
        budget = (1 - target) * sum(map(size, shapes.values())) - sum(size(shapes[name]) for name in dense)
        others = [name for name in shapes if name not in dense]
        scale = budget / sum(sum(shapes[name]) for name in others)
        densities = {name: scale * sum(shapes[name]) / size(shapes[name]) for name in others}
        above = {name for name in others if densities[name] > 1}
        if not above:
            return {**dict.fromkeys(dense, 1.0), **densities}
        dense |= above


@pytest.mark.parametrize("target", [0.5, 0.8, 0.9, 0.98])
def test_densities_are_the_papers_but_for_whole_entries(target):
    targets = erk_targets(RESNET50, target)
    densities = by_the_paper(RESNET50, target)
    for name, count in kept(RESNET50, targets).items():
        assert abs(count - densities[name] * size(RESNET50[name])) < 1, name
    assert sum(kept(RESNET50, targets).values()) == kept_entries(sum(map(size, RESNET50.values())), target)
    smallest = "block0/unit0/conv1"
    assert (kept(RESNET50, targets)[smallest] == size(RESNET50[smallest])) == (target <= 0.9)


def test_the_paper_s_proportion_is_not_that_of_uniform_targets():
    """What the test above compares with would notice another allocation."""
    densities = by_the_paper(RESNET50, 0.9)
    assert any(
        abs(kept_entries(size(shape), 0.9) - densities[name] * size(shape)) >= 1 for name, shape in RESNET50.items()
    )


@settings(max_examples=150, deadline=None)
@given(shapes_of_weights, st.floats(0.0, 0.99))
def test_totals_are_met(shapes, target):
    counts = kept(shapes, erk_targets(shapes, target))
    total = kept_entries(sum(map(size, shapes.values())), target)
    # Each weight keeps an entry, even where all together shall keep fewer.
    assert sum(counts.values()) == max(total, len(shapes))
    assert all(1 <= counts[name] <= size(shape) for name, shape in shapes.items())


@settings(max_examples=150, deadline=None)
@given(shapes_of_weights, st.floats(0.0, 0.99), st.floats(0.0, 1.0))
def test_no_weight_gets_sparser_than_the_cap(shapes, target, share):
    cap = target + share * (1 - target)
    counts = kept(shapes, erk_targets(shapes, target, cap))
    least = {name: max(1, int(np.ceil(size(shape) * (1 - cap) - 1e-6))) for name, shape in shapes.items()}
    assert all(counts[name] >= least[name] for name in shapes)
    total = kept_entries(sum(map(size, shapes.values())), target)
    assert sum(counts.values()) == max(total, sum(least.values()))


@settings(max_examples=150, deadline=None)
@given(shapes_of_weights, st.floats(0.0, 0.99), st.data())
def test_the_others_make_up_for_fixed_targets_or_it_is_said_that_they_cannot(shapes, target, data):
    names = data.draw(st.sets(st.sampled_from(sorted(shapes))))
    fixed = {name: data.draw(st.floats(0.0, 0.99)) for name in sorted(names)}
    settled = sum(kept_entries(size(shapes[name]), fixed[name]) for name in fixed)
    free = [name for name in shapes if name not in fixed]
    budget = kept_entries(sum(map(size, shapes.values())), target) - settled
    possible = len(free) <= budget <= sum(size(shapes[name]) for name in free)
    if not fixed or not free or possible:
        targets = erk_targets(shapes, target, fixed=fixed)
        assert {name: targets[name] for name in fixed} == fixed
        if possible:
            assert sum(kept(shapes, targets)[name] for name in free) == budget
    else:
        with pytest.raises(SpecError, match=r"allocation erk: target_sparsity .* leaves .* entries to the"):
            erk_targets(shapes, target, fixed=fixed)


def test_an_impossible_total_says_what_to_change():
    shapes = {"large": (100, 100), "small": (10, 10)}
    with pytest.raises(SpecError) as caught:
        erk_targets(shapes, 0.9, fixed={"large": 0.5})
    assert str(caught.value) == (
        "allocation erk: target_sparsity 0.9 leaves 0 entries to the 1 weights whose sparsity no rule sets, expected 1 "
        "to 100; change the sparsity that rules set, or exclude those weights"
    )


def test_odd_shapes():
    assert erk_targets({}, 0.5) == {}
    assert erk_targets({"empty": (0, 4), "scalar": ()}, 0.5) == {"empty": 0.5, "scalar": 0.0}
    assert erk_targets({"a": (4, 4)}, 0.5) == {"a": 0.5}
    assert erk_targets({"a": (4, 4)}, 0.5, fixed={"a": 0.25}) == {"a": 0.25}


def test_the_order_of_weights_changes_nothing_but_ties():
    turned = dict(reversed(list(RESNET50.items())))
    one, other = erk_targets(RESNET50, 0.9), erk_targets(turned, 0.9)
    assert all(abs(kept(RESNET50, one)[name] - kept(RESNET50, other)[name]) <= 1 for name in RESNET50)
