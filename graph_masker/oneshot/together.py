"""One cut through many weights, which are read one by one and never laid end to end.

Each pass counts keys by their next 16 bits, within the range that the pass before found: two passes for float32, four
for float64. A last one says what each weight keeps.
"""

from typing import Any, Callable, List, NamedTuple, Sequence

import numpy as np

from graph_masker.oneshot.cuts import Cut
from graph_masker.oneshot.keys import pieces, to_keys
from graph_masker.schedule import kept_entries

_BITS = 16


class Member(NamedTuple):
    """One weight.

    Attributes:
        scores: returns the scores of its units, a vector; called once in each pass.
        floor: how many units it keeps whatever the others hold; at most its units.
    """

    scores: Callable[[], Any]
    floor: int


def cut_together(members: Sequence[Member], sparsity: float, signed: bool, bits: int) -> List[Cut]:
    """Cuts weights so that together they keep the best units, exactly as many as a sparsity asks for.

    Of each weight at least its floor stays; if the floors are more than the sparsity allows, they alone. Of equal
    scores the weight that comes first, then the index of the unit, comes first.

    Args:
        members: the weights.
        sparsity: fraction of zeros among all units.
        signed: False ranks by magnitude.
        bits: of the scores' type, 32 or 64.
    """
    search = _Search(members, sparsity, signed, bits)
    while search.bits:
        search.narrow()
    return search.cuts()


class _Search:
    """Finds the last key that stays among those that need not: from `low` on, in a range of 2^bits keys."""

    def __init__(self, members: Sequence[Member], sparsity: float, signed: bool, bits: int) -> None:
        self._members = members
        self._sparsity = sparsity
        self._signed = signed
        self._low = -(1 << (bits - 1))
        self._is_first = True
        self._all_bits = bits
        # How many units in the range stay of those that no floor holds.
        self._rank = 0
        self.bits = bits

    def narrow(self) -> None:
        """Counts by the next bits, and goes on in the range in which the last unit that stays lies."""
        shift = self.bits - _BITS
        counts = np.zeros(1 << _BITS, np.int64)
        units = floors = 0
        for member in self._members:
            found, above, size = self._count(member.scores(), shift)
            # The best of a weight, as many as its floor, stay in any case.
            held = max(0, member.floor - above)
            from_top = np.cumsum(found[::-1])
            counts += np.diff(np.maximum(from_top - held, 0), prepend=0)[::-1]
            units, floors = units + size, floors + member.floor
        if self._is_first:
            kept = 0 if units == 0 else kept_entries(units, self._sparsity)
            self._rank = max(kept, floors) - floors
            self._is_first = False
        if self._rank == 0:
            # Floors alone: no key is high enough.
            self._low, self.bits = 1 << (self._all_bits - 1), 0
            return
        from_top = np.cumsum(counts[::-1])
        place = int(np.searchsorted(from_top, self._rank))
        self._rank -= int(from_top[place - 1]) if place else 0
        self._low += (len(counts) - 1 - place) << shift
        self.bits = shift

    def _count(self, scores: Any, shift: int) -> Any:
        """Returns counts of the range by its leading bits, how many keys lie above it, and how many there are."""
        counts = np.zeros(1 << _BITS, np.int64)
        above = 0
        for _, part in pieces(scores):
            keys = to_keys(part, self._signed)
            high = self._low + (1 << self.bits) - 1
            if self.bits < self._all_bits:
                above += int(np.count_nonzero(keys > high))
                keys = keys[(keys >= self._low) & (keys <= high)]
            # In steps, so that nothing overflows.
            counts += np.bincount((keys >> shift) - (self._low >> shift), minlength=1 << _BITS)
        return counts, above, len(scores)

    def cuts(self) -> List[Cut]:
        """Returns what each weight keeps."""
        room = self._rank
        found = []
        for member in self._members:
            keys = to_keys(member.scores(), self._signed)
            above = int(np.count_nonzero(keys > self._low))
            equal = int(np.count_nonzero(keys == self._low))
            held = min(equal, max(0, member.floor - above))
            share = min(room, equal - held)
            room -= share
            found.append(self._cut(keys, member.floor, above, held, share))
        return found

    def _cut(self, keys: Any, floor: int, above: int, held: int, share: int) -> Cut:
        if len(keys) == 0:
            return Cut(0, 0, 0)
        if above + held < floor:
            # It has too few good units, and keeps the best of the others.
            place = len(keys) - floor
            keys.partition(place)
            key = int(keys[place])
            return Cut(key, floor - int(np.count_nonzero(keys[place:] > key)), key)
        if held + share:
            return Cut(self._low, held + share, self._low)
        # Its lowest lies above the common cut, which is its threshold all the same.
        return Cut(self._low, 0, self._low)
