"""Names of masks, thresholds, and of what parts and copies of variables belong to."""

import re
from typing import Tuple

# What follows the name of a whole in that of a part of it, or of a copy of it on another device.
_PART = re.compile(r"/(part|replica)_\d+$")


def whole_name(name: str) -> str:
    """Returns the whole's name from that of a part of a partitioned variable, or of a copy of a mirrored one.

    Any other name stays as it is.
    """
    return _PART.sub("", name)


def threshold_of(mask: str) -> str:
    """Returns the name of the threshold beside a mask: both end in their own word, after the same stem.

    The parts of a partitioned weight's mask share one threshold.
    """
    mask = whole_name(mask)
    return mask[: -len("mask")] + "threshold"


def mask_keys(weight: str) -> Tuple[str, ...]:
    """Returns the keys under which a checkpoint may hold a weight's mask; those that can be no other's come first.

    It is ``scope/mask`` where the weight is alone in its scope, else ``scope/<weight>_mask``. tf.contrib's `apply_mask`
    knows the first alone: who masks two weights of a scope with it gives each a scope, as a rule by the weight's name.
    """
    return f"{weight}_mask", f"{weight}/mask", f"{weight[: weight.rfind('/') + 1]}mask"
