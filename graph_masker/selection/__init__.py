"""What a mask keeps: exact and fast selection, as pure functions of tensors. They know neither variables nor plans."""

from graph_masker.selection.counts import kept_units
from graph_masker.selection.elements import Selected, select_entries
from graph_masker.selection.pieces import Extent, extent_of

__all__ = ["Extent", "Selected", "extent_of", "kept_units", "select_entries"]
