"""What says which entries of a weight go. One small file per criterion; the table below is the one list of them."""

from typing import Dict

from graph_masker.criteria import magnitude, movement, taylor
from graph_masker.criteria.criterion import Criterion

CRITERIA: Dict[str, Criterion] = {item.name: item for item in (magnitude.RULE, movement.RULE, taylor.RULE)}

__all__ = ["CRITERIA", "Criterion"]
