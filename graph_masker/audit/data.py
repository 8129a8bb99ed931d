"""What an audit finds: plain, frozen data."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Dict, Optional, Tuple

# What a source is, by its masks and zeros.
MASKED, SPARSE, DENSE = "masked", "sparse", "dense"


@dataclass(frozen=True)
class Size:
    """Bytes of some weights as they are once folded, each compressed by itself.

    Attributes:
        raw: as they are stored.
        gzip: by zlib at its usual level, 6.
        zstd: by Zstandard at its usual level, 3.
    """

    raw: int = 0
    gzip: int = 0
    zstd: int = 0

    def __add__(self, other: "Size") -> "Size":
        return Size(self.raw + other.raw, self.gzip + other.gzip, self.zstd + other.zstd)


@dataclass(frozen=True)
class Magnitudes:
    """How often which magnitude occurs among the entries of a weight that are not zero.

    Attributes:
        first: magnitudes from 2**(first / 2) to 2**((first + 1) / 2) are the first ones counted.
        kept: counts of the entries that the mask keeps, one for each half power of two from `first` on.
        hidden: counts of those under its zeros.
    """

    first: int
    kept: Tuple[int, ...]
    hidden: Tuple[int, ...]


@dataclass(frozen=True)
class Measured:
    """What one stored tensor and its mask hold.

    Attributes:
        mask_zeros: zeros of the mask; None without one.
        weight_zeros: zeros of the stored weight.
        zeros: zeros of mask times weight, which is what folding leaves.
        hidden: entries under the mask's zeros that are not zero themselves.
        odd: entries of the mask that are neither 0 nor 1.
        not_finite: entries of the weight that are NaN or infinite.
        size: of mask times weight.
    """

    mask_zeros: Optional[int]
    weight_zeros: int
    zeros: int
    hidden: int
    odd: int
    not_finite: int
    magnitudes: Magnitudes
    size: Size


@dataclass(frozen=True)
class Request:
    """What a spec asks of one weight.

    Attributes:
        sparsity: fraction of zeros asked for at the last mask update.
        zeros: number of zeros that this means; None where no number follows, as of a weight in a group.
        target_sparsity: fraction of zeros at the end of the schedule.
        target_zeros: number of zeros that this means.
        structure: what is pruned as one, in the spec's words.
        group: of weights that share one threshold; None for a weight pruned on its own.
    """

    sparsity: float
    zeros: Optional[int]
    target_sparsity: float
    target_zeros: Optional[int]
    structure: str = "element"
    group: Optional[str] = None


@dataclass(frozen=True)
class Layer:
    """One weight that convolutions or matrix products read; the parts of a partitioned one are one.

    Attributes:
        variable: the key that holds it.
        op_types: types of its consumers.
        dense_because: why it is left dense; empty for one that can be masked.
        mask: key of its mask; None without one.
        threshold: as stored; None without one.
        request: what was asked for; None where that is not known.
        positions: at how many places its kernel is used, for each item along the first axis of what its consumers put
            out (an image of a batch); None where that is not known.
        positions_unknown: why not.
    """

    variable: str
    op_types: Tuple[str, ...]
    shape: Tuple[int, ...]
    dtype: str
    entries: int
    dense_because: str
    mask: Optional[str]
    threshold: Optional[float]
    measured: Measured
    request: Optional[Request]
    positions: Optional[int]
    positions_unknown: str = ""

    @property
    def zeros(self) -> int:
        """Zeros that folding leaves."""
        return self.measured.zeros

    @property
    def sparsity(self) -> float:
        """Fraction of zeros that folding leaves."""
        return self.zeros / max(1, self.entries)

    @property
    def pruned(self) -> int:
        """Zeros that pruning made: the mask's, or, where there is none, the weight's."""
        return self.measured.weight_zeros if self.measured.mask_zeros is None else self.measured.mask_zeros

    @property
    def off_by(self) -> Optional[int]:
        """By how many entries it is sparser than asked for; below 0, denser. None where no number was asked for."""
        if self.request is None or self.request.zeros is None:
            return None
        return self.pruned - self.request.zeros

    @property
    def multiply_adds(self) -> Optional[int]:
        """Multiply-adds if nothing was pruned, for one item; None where positions are not known."""
        return None if self.positions is None else self.entries * self.positions

    @property
    def multiply_adds_left(self) -> Optional[int]:
        """Multiply-adds by weights that are not zero."""
        return None if self.positions is None else (self.entries - self.zeros) * self.positions


@dataclass(frozen=True)
class Other:
    """A parameter of the model that no convolution or matrix product reads as its weight, such as a bias."""

    variable: str
    shape: Tuple[int, ...]
    entries: int
    zeros: int
    reason: str
    size: Size


@dataclass(frozen=True)
class Finding:
    """Something to know.

    Attributes:
        kind: a word or two, always the same for the same thing.
        variable: the key concerned; empty where it is none in particular.
        text: a sentence for people.
        is_fault: whether something is wrong; if not, it is a remark.
    """

    kind: str
    variable: str
    text: str
    is_fault: bool


@dataclass(frozen=True)
class Report:
    """An audit.

    Attributes:
        path: what the user named.
        kind: what that is, in words.
        state: ``masked``; ``sparse``: zeros without masks, as after folding; or ``dense``.
        step: the stored global step; None where there is none.
        last_update: the step of the last mask update, as stored; None where there is none.
        expected_update: that of the last update up to `step` by the spec; None without one, or before its first.
        spec: as plain values; None where it is not known.
        spec_from: the file that the spec comes from; empty where it was given.
        layers: in the graph's order.
        others: the other parameters.
        findings: faults first.
        remarks: what could not be found out, and why.
    """

    path: str
    kind: str
    state: str
    step: Optional[int]
    last_update: Optional[int]
    expected_update: Optional[int]
    spec: Optional[Dict[str, Any]]
    spec_from: str
    layers: Tuple[Layer, ...]
    others: Tuple[Other, ...]
    findings: Tuple[Finding, ...]
    remarks: Tuple[str, ...]

    @property
    def faults(self) -> Tuple[Finding, ...]:
        """The findings that are faults."""
        return tuple(finding for finding in self.findings if finding.is_fault)

    @property
    def prunable(self) -> Tuple[Layer, ...]:
        """The layers that are masked, or could be."""
        return tuple(layer for layer in self.layers if not layer.dense_because)

    @property
    def sparsity(self) -> float:
        """Fraction of zeros that folding leaves in the prunable layers."""
        return sum(layer.zeros for layer in self.prunable) / max(1, sum(layer.entries for layer in self.prunable))

    @property
    def parameters(self) -> int:
        """Number of entries of all parameters."""
        return sum(layer.entries for layer in self.layers) + sum(other.entries for other in self.others)

    @property
    def parameters_left(self) -> int:
        """Number of those that are not zero once folded."""
        zeros = sum(layer.zeros for layer in self.layers) + sum(other.zeros for other in self.others)
        return self.parameters - zeros

    @property
    def counted(self) -> Tuple[Layer, ...]:
        """The layers whose multiply-adds are known."""
        return tuple(layer for layer in self.layers if layer.positions is not None)

    @property
    def multiply_adds(self) -> int:
        """Of the counted layers, if nothing was pruned, for one item."""
        return sum(layer.multiply_adds or 0 for layer in self.counted)

    @property
    def multiply_adds_left(self) -> int:
        """Of the counted layers, by weights that are not zero."""
        return sum(layer.multiply_adds_left or 0 for layer in self.counted)

    @property
    def size(self) -> Size:
        """Of all parameters, once folded."""
        sizes = [*(layer.measured.size for layer in self.layers), *(other.size for other in self.others)]
        return sum(sizes, Size())

    def to_dict(self) -> Dict[str, Any]:
        """Returns everything as plain values, what follows from others included."""
        layers = [
            {
                **asdict(layer),
                "zeros": layer.zeros,
                "sparsity": layer.sparsity,
                "off_by": layer.off_by,
                "multiply_adds": layer.multiply_adds,
                "multiply_adds_left": layer.multiply_adds_left,
            }
            for layer in self.layers
        ]
        totals = {
            "sparsity": self.sparsity,
            "parameters": self.parameters,
            "parameters_left": self.parameters_left,
            "layers": len(self.layers),
            "layers_counted": len(self.counted),
            "multiply_adds": self.multiply_adds,
            "multiply_adds_left": self.multiply_adds_left,
            "size": asdict(self.size),
        }
        return {**asdict(self), "layers": layers, "totals": totals}

    def to_json(self) -> str:
        """Returns the report as JSON text. What is not finite is written as text, as JSON has no number for it."""
        return json.dumps(_finite(self.to_dict()), indent=2, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    return value
