"""A plan as comma-separated values (RFC 4180): a row for each site and each variable left dense."""

import csv
import io
from typing import Any, List, Mapping, Optional

from graph_masker.plan import MaskPlan, Site, Skip
from graph_masker.report import forward_consumers, structure_words

# Columns may be added at the end; those that are there keep their names and places.
COLUMNS = (
    "kind",
    "variable",
    "op_types",
    "shape",
    "dtype",
    "entries",
    "consumers",
    "raw_readers",
    "mask",
    "threshold",
    "masked",
    "trainable",
    "zeros",
    "sparsity",
    "target_sparsity",
    "structure",
    "criterion",
    "group",
    "op",
    "reason",
)
# A spreadsheet takes what begins so for a formula and runs it. No name that TensorFlow allows does.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def csv_text(plan: MaskPlan, zeros: Optional[Mapping[str, int]] = None) -> str:
    """Returns the sheet. What a spreadsheet would take for a formula begins with an apostrophe.

    Args:
        plan: what to list.
        zeros: of each mask, by variable, where known.
    """
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    for site in plan.sites:
        writer.writerow([_harmless(value) for value in _site(site, (zeros or {}).get(site.variable))])
    for skip in plan.skips:
        writer.writerow([_harmless(value) for value in _skip(skip)])
    return stream.getvalue()


def _site(site: Site, zeros: Optional[int]) -> List[Any]:
    pruning = site.pruning
    asked: List[Any] = [""] * 4
    if pruning is not None:
        structure = structure_words(pruning.structure)
        asked = [pruning.target_sparsity, structure, pruning.criterion, pruning.group or ""]
    return [
        "site",
        site.variable,
        " ".join(site.op_types),
        "x".join(map(str, site.shape)),
        site.dtype,
        site.entries,
        forward_consumers(site),
        len(site.raw_readers),
        site.mask,
        site.threshold,
        str(site.masked).lower(),
        str(site.trainable).lower(),
        "" if zeros is None else zeros,
        "" if zeros is None else zeros / max(1, site.entries),
        *asked,
        "",
        "",
    ]


def _skip(skip: Skip) -> List[Any]:
    return ["skip", skip.variable, *[""] * (len(COLUMNS) - 4), skip.op, skip.reason]


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULAS) else value
