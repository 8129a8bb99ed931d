"""Where a vector of scores is cut: what lies above stays, and of what equals the last the first."""

from typing import Any, NamedTuple

import numpy as np

from graph_masker.oneshot.keys import from_key, pieces, to_keys


class Cut(NamedTuple):
    """What of a vector of scores stays, in little memory.

    Attributes:
        key: the lowest key that stays.
        room: how many that equal it stay, the first ones.
        lowest: key of the score that is the threshold; mostly `key`.
    """

    key: int
    room: int
    lowest: int

    def stays(self, scores: Any, signed: bool) -> Any:
        """Returns which of the scores stay, a bool vector."""
        result = np.empty(len(scores), bool)
        room = self.room
        for part, values in pieces(scores):
            keys = to_keys(values, signed)
            result[part] = keys > self.key
            equal = np.flatnonzero(keys == self.key)[: max(0, room)]
            result[part.start + equal] = True
            room -= len(equal)
        return result

    def threshold(self, dtype: Any) -> Any:
        """Returns the score of the last that stays, of float32 or float64."""
        return from_key(self.lowest, dtype)


def best(scores: Any, kept: int, signed: bool) -> Cut:
    """Cuts below the `kept` best scores; of equal ones the first stay.

    Args:
        scores: vector.
        kept: at most their number; 0 only of none.
    """
    if len(scores) == 0:
        return Cut(0, 0, 0)
    keys = to_keys(scores, signed)
    place = len(keys) - kept
    keys.partition(place)
    key = int(keys[place])
    # What lies behind the place is at least as high.
    return Cut(key, kept - int(np.count_nonzero(keys[place:] > key)), key)
