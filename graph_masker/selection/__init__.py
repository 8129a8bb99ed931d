"""What a mask keeps: exact and fast selection, as pure functions of tensors. They know neither variables nor plans."""

from graph_masker.selection.blocks import Blocks
from graph_masker.selection.counts import kept_units
from graph_masker.selection.finite import all_finite
from graph_masker.selection.patterns import NOfM
from graph_masker.selection.pieces import Extent
from graph_masker.selection.select import ELEMENTS, select
from graph_masker.selection.structures import Channels, Elements, Selected, Structure, UnitStructure
from graph_masker.selection.together import Member, select_together

__all__ = [
    "ELEMENTS",
    "Blocks",
    "Channels",
    "Elements",
    "Extent",
    "Member",
    "NOfM",
    "Selected",
    "Structure",
    "UnitStructure",
    "all_finite",
    "kept_units",
    "select",
    "select_together",
]
