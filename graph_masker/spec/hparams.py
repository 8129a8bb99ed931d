"""The hyper-parameters of tf.contrib.model_pruning as text, and the spec that they stand for.

Names, defaults and the text's grammar are those of contrib's `get_pruning_hparams().parse(text)` in TensorFlow 1.15:

    target_sparsity=0.85,begin_pruning_step=100,weight_sparsity_map=[conv1:0.9,conv2/kernel:0.8],block_height=4
"""

import re
from typing import Any, Dict, List, Tuple

from graph_masker.errors import SpecError
from graph_masker.spec import checks
from graph_masker.spec.rules import Rule
from graph_masker.spec.structure import Block, Element, Structure

Hparam = Any

DEFAULTS: Dict[str, Hparam] = {
    "name": "model_pruning",
    "begin_pruning_step": 0,
    "end_pruning_step": -1,
    "weight_sparsity_map": [""],
    "block_dims_map": [""],
    "threshold_decay": 0.0,
    "pruning_frequency": 10,
    "nbins": 256,
    "block_height": 1,
    "block_width": 1,
    "block_pooling_function": "AVG",
    "initial_sparsity": 0.0,
    "target_sparsity": 0.5,
    "sparsity_function_begin_step": 0,
    "sparsity_function_end_step": 100,
    "sparsity_function_exponent": 3.0,
    "use_tpu": False,
}

_NEVER_ENDS = -1

# The spec's names for what both have, in the spec's messages.
_FIELDS = {
    "target_sparsity": "target_sparsity",
    "begin_pruning_step": "begin_step",
    "pruning_frequency": "frequency",
    "initial_sparsity": "initial_sparsity",
    "sparsity_function_exponent": "exponent",
    "sparsity_function_begin_step": "sparsity_begin_step",
    "sparsity_function_end_step": "sparsity_end_step",
    "threshold_decay": "threshold_decay",
}

_CLAUSE = re.compile(r"(?P<name>[A-Za-z][\w.]*)\s*=\s*(?:(?P<one>[^,\[]*)|\[(?P<several>[^\]]*)\])(?:,\s*|$)")

# Where two patterns are joined into one, these would come to mean something else.
_BOUND_TO_PLACE = re.compile(r"\\[0-9]|\(\?[aiLmsuxP(]")


def parse_hparams(text: str) -> Dict[str, Hparam]:
    """Returns contrib's hyper-parameters by name, all of them, with the values that the text gives.

    Raises:
        SpecError: the text is malformed, or a name is unknown, given twice or has a value of another kind.
    """
    if not isinstance(text, str):
        raise SpecError(f"hparams: expected text such as 'target_sparsity=0.85', found {checks.shown(text)}")
    given: Dict[str, Hparam] = {}
    position = 0
    while position < len(text):
        clause = _CLAUSE.match(text, position)
        if clause is None:
            raise SpecError(
                f"hparams: expected name=value pairs with commas between them, found '{_short(text[position:])}'"
            )
        position = clause.end()
        name = clause.group("name")
        if name not in DEFAULTS:
            raise SpecError(f"hparams: unknown name {name}: allowed are {', '.join(DEFAULTS)}")
        if name in given:
            raise SpecError(f"hparams: expected {name} once, found it twice")
        given[name] = _value(name, clause.group("one"), clause.group("several"))
    return {**DEFAULTS, **given}


def _value(name: str, one: Any, several: Any) -> Hparam:
    default = DEFAULTS[name]
    if isinstance(default, list):
        if several is None:
            raise SpecError(f"hparams: {name}: expected a list in brackets, such as [conv1:0.9], found '{_short(one)}'")
        return [item for item in re.split("[ ,]", several) if item]
    if one is None:
        raise SpecError(f"hparams: {name}: expected one value, found a list")
    try:
        return _truth(one) if isinstance(default, bool) else type(default)(one)
    except ValueError as error:
        kind = {bool: "true or false", int: "a whole number", float: "a number"}[type(default)]
        raise SpecError(f"hparams: {name}: expected {kind}, found '{_short(one)}'") from error


def _truth(text: str) -> bool:
    """Returns what contrib takes a text for: true, false, or a number that is 0 or is not."""
    if text in ("true", "True"):
        return True
    return text not in ("false", "False") and bool(int(text))


def spec_values(hparams: Dict[str, Hparam]) -> Dict[str, Any]:
    """Returns the fields of the PruningSpec that contrib's hyper-parameters stand for.

    `name` only labels ops, and `nbins` is read by nothing in TensorFlow 1.15: both are taken and change nothing.

    Raises:
        SpecError: a value has no counterpart, or is one that contrib refuses.
    """
    if hparams["use_tpu"]:
        raise SpecError("hparams: use_tpu: expected false, found true: pruning runs on CPUs and GPUs; leave it out")
    try:
        values = {field: hparams[name] for name, field in _FIELDS.items()}
        values["end_step"] = _end_step(hparams["begin_pruning_step"], hparams["end_pruning_step"])
        pooling = checks.choice("block_pooling_function", hparams["block_pooling_function"], ("AVG", "MAX")).lower()
        values["structure"] = _block_or_element(
            "block_height, block_width", hparams["block_height"], hparams["block_width"], pooling
        )
        sparsities = [(p, _sparsity(p, text)) for p, text in _pairs(hparams, "weight_sparsity_map")]
        blocks = [(p, _block(p, text, pooling)) for p, text in _pairs(hparams, "block_dims_map")]
        values["rules"] = _rules(dict(sparsities), dict(blocks))
    except SpecError as error:
        raise SpecError(f"hparams: {error}") from error
    # contrib's masks follow the schedule, wherever they come from.
    return {**values, "continue_from_masks": False}


def in_contribs_words(message: str) -> str:
    """Returns a message about a spec with the names that the text had."""
    names = {field: name for name, field in _FIELDS.items()}
    names["end_step"] = "end_pruning_step"
    return re.sub(rf"\b({'|'.join(names)})\b", lambda found: names[found.group()], message)


def _end_step(begin: int, end: int) -> Any:
    if end == _NEVER_ENDS:
        return None
    if end <= begin:
        raise SpecError(
            f"end_pruning_step: expected a step above begin_pruning_step, {begin}, or -1 for never, found {end}"
        )
    return end


def _block_or_element(name: str, height: int, width: int, pooling: str) -> Structure:
    try:
        return Element() if height == width == 1 else Block(height, width, pooling, matrices_only=True)
    except SpecError as error:
        raise SpecError(f"{name}: {error}") from error


def _pairs(hparams: Dict[str, Hparam], name: str) -> List[Tuple[str, str]]:
    pairs = []
    for item in hparams[name]:
        if item:
            parts = item.split(":")
            if len(parts) != 2:
                raise SpecError(f"{name}: expected items such as conv1:0.9 or dense1:4x4, found '{_short(item)}'")
            checks.pattern(name, parts[0])
            pairs.append((parts[0], parts[1]))
    return pairs


def _sparsity(pattern: str, text: str) -> float:
    try:
        return checks.sparsity(f"weight_sparsity_map: {pattern}", float(text))
    except ValueError as error:
        if isinstance(error, SpecError):
            raise
        raise SpecError(f"weight_sparsity_map: {pattern}: expected a number, found '{_short(text)}'") from error


def _block(pattern: str, text: str, pooling: str) -> Structure:
    name = f"block_dims_map: {pattern}"
    sizes = text.split("x")
    try:
        height, width = (int(size) for size in sizes)
    except ValueError as error:
        raise SpecError(f"{name}: expected height x width, such as 4x4, found '{_short(text)}'") from error
    return _block_or_element(name, height, width, pooling)


def _rules(sparsities: Dict[str, float], blocks: Dict[str, Structure]) -> Tuple[Rule, ...]:
    """Returns rules of which the first that matches says what contrib's two maps say, each on its own.

    A pattern that is given twice counts with its last value, as there. Where two patterns of one map match a weight,
    contrib raises an error; here the first applies.
    """
    both = [pattern for pattern in sparsities if pattern in blocks]
    alone = [pattern for pattern in sparsities if pattern not in blocks]
    rules = [Rule(pattern, sparsities[pattern], structure=blocks[pattern]) for pattern in both]
    others = {pattern: structure for pattern, structure in blocks.items() if pattern not in sparsities}
    for pattern in alone:
        for other, structure in others.items():
            rules.append(Rule(_joined(pattern, other), sparsities[pattern], structure=structure, optional=True))
    rules += [Rule(pattern, sparsities[pattern]) for pattern in alone]
    rules += [Rule(pattern, structure=structure) for pattern, structure in others.items()]
    return tuple(rules)


def _joined(one: str, other: str) -> str:
    """Returns a pattern that matches the names in which both are found."""
    for pattern in (one, other):
        if _BOUND_TO_PLACE.search(pattern):
            raise SpecError(
                f"weight_sparsity_map, block_dims_map: '{pattern}' cannot be joined with a pattern of the other map; "
                "give a spec with rules instead"
            )
    return f"^(?=.*(?:{one}))(?=.*(?:{other}))"


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
