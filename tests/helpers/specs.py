"""Hypothesis strategies for valid pruning specs, as the plain mappings that files hold."""

from typing import Any, Dict

from hypothesis import strategies as st

from graph_masker.spec import ALLOCATIONS, CRITERIA

PATTERNS = ["conv", "^dense1/", "kernel$", "(a|b)+", "[0-9]+", "block_\\d"]

sparsities = st.floats(0.0, 0.999, allow_nan=False)
blocks = st.fixed_dictionaries(
    {"block": st.lists(st.sampled_from([-1, 1, 2, 4, 16]), min_size=2, max_size=2)},
    optional={"pooling": st.sampled_from(["avg", "max"]), "matrices_only": st.booleans()},
)
n_of_m = st.integers(1, 15).flatmap(lambda n: st.integers(n + 1, 16).map(lambda m: f"{n}:{m}"))
shaped = st.one_of(st.sampled_from(["element", "channel", {"channel": "l1"}, {"channel": "l2"}]), blocks)


@st.composite
def rules(draw: Any, allocation: str, most: float) -> Dict[str, Any]:
    """One rule that fits an allocation, with a sparsity of at most `most`."""
    plain: Dict[str, Any] = {"match": draw(st.sampled_from(PATTERNS))}
    if draw(st.booleans()):
        plain["optional"] = draw(st.booleans())
    if draw(st.integers(0, 4)) == 0:
        return {**plain, "exclude": True}
    if allocation == "uniform" and draw(st.integers(0, 3)) == 0:
        return {**plain, "structure": draw(n_of_m)}
    options = {
        "sparsity": st.floats(0.0, most),
        "structure": shaped,
        "criterion": st.sampled_from(CRITERIA),
    }
    plain.update(draw(st.fixed_dictionaries({}, optional=options)))
    if allocation == "global" and draw(st.booleans()):
        # A group of its own, so that no two rules contradict each other.
        plain["group"] = f"group {draw(st.uuids())}"
    return plain


@st.composite
def plain_specs(draw: Any) -> Dict[str, Any]:
    """A mapping that `PruningSpec.from_dict` takes."""
    begin = draw(st.integers(0, 1000))
    spec: Dict[str, Any] = {"begin_step": begin}
    allocation = draw(st.sampled_from(ALLOCATIONS))
    target = draw(st.floats(0.01, 0.999))
    kind = draw(st.sampled_from(["polynomial", "constant", "one_shot", "listed"]))
    if kind != "one_shot":
        spec["frequency"] = draw(st.integers(1, 50))
        # A list of values is to stay short.
        spec["end_step"] = begin + draw(st.integers(1, 500 if kind != "listed" else 12 * spec["frequency"]))
    if kind == "listed":
        count = -(-(spec["end_step"] - begin) // spec["frequency"]) + 1
        spec["schedule"] = [*draw(st.lists(sparsities, min_size=count - 1, max_size=count - 1)), target]
    elif kind != "polynomial" or draw(st.booleans()):
        spec["schedule"] = kind
    if kind == "polynomial":
        spec.update(
            draw(st.fixed_dictionaries({}, optional={"initial_sparsity": sparsities, "exponent": st.floats(0.1, 9)}))
        )
        if draw(st.booleans()):
            spec["sparsity_begin_step"] = draw(st.integers(0, begin))
            spec["sparsity_end_step"] = begin + draw(st.integers(1, 500))
            spec["end_step"] = draw(st.sampled_from([None, spec["end_step"]]))
    if allocation == "uniform" and kind != "listed" and draw(st.integers(0, 4)) == 0:
        spec["structure"] = draw(n_of_m)
        n, m = (int(part) for part in spec["structure"].split(":"))
        target = (m - n) / m
        spec["rules"] = draw(st.lists(st.fixed_dictionaries({"match": st.sampled_from(PATTERNS)}), max_size=2))
    else:
        spec["structure"] = draw(shaped)
        # One threshold for all weights is not smoothed.
        spec["threshold_decay"] = draw(st.sampled_from([0.0, 0.0, 0.0 if allocation == "global" else 0.9]))
        # As for erk, rules with n:m have no place beside smoothed thresholds.
        spec["rules"] = draw(st.lists(rules("erk" if spec["threshold_decay"] else allocation, target), max_size=3))
    spec["target_sparsity"] = target
    spec["max_sparsity"] = draw(st.floats(target, 1.0))
    spec["allocation"] = allocation
    patterns = st.lists(st.sampled_from(PATTERNS), max_size=2)
    optional = {
        "include": patterns,
        "exclude": st.one_of(patterns, st.sampled_from(PATTERNS)),
        "also": st.just(["depthwise"]),
        "criterion": st.sampled_from(CRITERIA),
        "continue_from_masks": st.booleans(),
    }
    return _without_l2_of_signs({**spec, **draw(st.fixed_dictionaries({}, optional=optional))})


def _without_l2_of_signs(spec: Dict[str, Any]) -> Dict[str, Any]:
    """Scores with signs have no l2 norm: gives every mapping that could ask for one an l1 norm instead."""
    if "movement" in (spec.get("criterion"), *(rule.get("criterion") for rule in spec.get("rules", ()))):
        for part in (spec, *spec.get("rules", ())):
            if part.get("structure") == {"channel": "l2"}:
                part["structure"] = {"channel": "l1"}
    return spec
