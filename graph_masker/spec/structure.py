"""What is pruned as one: single entries, blocks, n of every m, or whole output channels.

Each structure is a small frozen value, with a plain form for YAML and JSON:

    element        Element()
    2:4            NM(2, 4)
    channel        Channel("l1");  {channel: l2} is Channel("l2")
    {block: [4, 1], pooling: max}  Block(4, 1, "max")
"""

import re
from dataclasses import dataclass
from typing import Any, Dict, Sequence, Union

from graph_masker.errors import SpecError
from graph_masker.spec import checks

POOLINGS = ("avg", "max")
NORMS = ("l1", "l2")
WHOLE_AXIS = -1

_N_OF_M = re.compile(r"\s*(\d{1,9})\s*:\s*(\d{1,9})\s*")
_FORMS = "element, channel, {channel: l2}, n:m such as 2:4, or {block: [height, width]}"


@dataclass(frozen=True)
class Element:
    """Every entry stands for itself."""


@dataclass(frozen=True)
class Block:
    """Blocks of a weight seen as a matrix [fan-in, fan-out]; a block's score is pooled from its entries.

    Attributes:
        height: rows of a block, at least 1, or -1 for all rows.
        width: columns of a block, at least 1, or -1 for all columns.
        pooling: ``avg`` or ``max`` of the entries' scores.
        matrices_only: weights that do not have exactly two axes longer than 1 are pruned by element, as
            tf.contrib.model_pruning does.
    """

    height: int
    width: int
    pooling: str = "avg"
    matrices_only: bool = False

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            size = getattr(self, name)
            if isinstance(size, bool) or not hasattr(size, "__index__"):
                raise SpecError(f"block: expected whole numbers for height and width, found {checks.shown(size)}")
            if size != WHOLE_AXIS and size < 1:
                raise SpecError(f"block: expected a {name} of at least 1, or -1 for the whole axis, found {size}")
            object.__setattr__(self, name, int(size.__index__()))
        checks.choice("pooling", self.pooling, POOLINGS)
        checks.flag("matrices_only", self.matrices_only)

    def applies_to(self, shape: Sequence[int]) -> bool:
        """Tells whether a weight of that shape is pruned in blocks; if not, it is pruned by element."""
        return not self.matrices_only or sum(size != 1 for size in shape) == 2


@dataclass(frozen=True)
class NM:
    """Of every `m` consecutive entries along the reduction axis, the best `n` are kept; 1 <= n < m."""

    n: int
    m: int

    def __post_init__(self) -> None:
        for name in ("n", "m"):
            size = getattr(self, name)
            if isinstance(size, bool) or not hasattr(size, "__index__"):
                raise SpecError(f"n:m: expected whole numbers, found {checks.shown(size)}")
            object.__setattr__(self, name, int(size.__index__()))
        if not 1 <= self.n < self.m:
            raise SpecError(f"n:m: expected 1 <= n < m (n of every m are kept), found {self.n}:{self.m}")

    @property
    def sparsity(self) -> float:
        """The fraction of zeros that the structure stands for."""
        return (self.m - self.n) / self.m


@dataclass(frozen=True)
class Channel:
    """Whole output channels, scored by their entries' ``l1`` or ``l2`` norm."""

    norm: str = "l1"

    def __post_init__(self) -> None:
        checks.choice("channel", self.norm, NORMS)


Structure = Union[Element, Block, NM, Channel]


def parse_structure(name: str, value: Any) -> Structure:
    """Returns the structure that a plain value stands for; a structure is returned as it is.

    Args:
        name: the key that holds the value, for messages.
        value: text, a mapping or a structure.

    Raises:
        SpecError: the value is none of the known forms, or a size is out of range.
    """
    if isinstance(value, (Element, Block, NM, Channel)):
        return value
    if value == "element":
        return Element()
    if value == "channel":
        return Channel()
    try:
        if isinstance(value, str) and _N_OF_M.fullmatch(value):
            n, m = value.split(":")
            return NM(int(n), int(m))
        if isinstance(value, dict) and "block" in value:
            checks.known_keys("", value, ("block", "pooling", "matrices_only"))
            size = value["block"]
            if not isinstance(size, (list, tuple)) or len(size) != 2:
                raise SpecError(f"block: expected [height, width], found {checks.shown(size)}")
            return Block(*size, **{key: item for key, item in value.items() if key != "block"})
        if isinstance(value, dict) and "channel" in value:
            checks.known_keys("", value, ("channel",))
            return Channel(value["channel"])
    except SpecError as error:
        raise SpecError(f"{name}: {error}") from error
    raise SpecError(f"{name}: expected {_FORMS}; found {checks.shown(value)}")


def plain_structure(structure: Structure) -> Any:
    """Returns a structure as plain text or mapping; `parse_structure` takes it back."""
    if isinstance(structure, Element):
        return "element"
    if isinstance(structure, NM):
        return f"{structure.n}:{structure.m}"
    if isinstance(structure, Channel):
        return "channel" if structure.norm == "l1" else {"channel": structure.norm}
    plain: Dict[str, Any] = {"block": [structure.height, structure.width]}
    if structure.pooling != "avg":
        plain["pooling"] = structure.pooling
    if structure.matrices_only:
        plain["matrices_only"] = True
    return plain
