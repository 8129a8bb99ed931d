"""What one mask update would keep, computed from arrays alone: numpy, no TensorFlow, no session.

The masks and thresholds are those of `graph_masker.selection`, bit for bit. Files from strangers are pruned by it.
"""

from graph_masker.oneshot.deciding import Decision, Weight, decide
from graph_masker.oneshot.keys import zeroed

__all__ = ["Decision", "Weight", "decide", "zeroed"]
