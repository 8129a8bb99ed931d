"""What one mask update would keep, computed from arrays alone: numpy, no TensorFlow, no session.

The masks and thresholds are those of `graph_masker.selection`, bit for bit. Files from strangers are pruned by it.
"""

from graph_masker.oneshot.cuts import Cut, best
from graph_masker.oneshot.patterns import NOfM
from graph_masker.oneshot.structures import ELEMENTS, Blocks, Channels, Elements, Units
from graph_masker.oneshot.together import Member, cut_together

__all__ = ["ELEMENTS", "Blocks", "Channels", "Cut", "Elements", "Member", "NOfM", "Units", "best", "cut_together"]
