"""Whose turn it is: few weights are in work at once, so that an update needs little memory and keeps two cores busy."""

import math
from typing import Any, Dict, List, Sequence

from graph_masker.engine.weights import Weight

# More in work at once would hand over more often from thread to thread, and gain nothing on few cores.
_AT_ONCE = 2

# So many entries may be in work whatever the largest weight is: their memory is little.
_LITTLE = 2**20

# What a weight takes beside its entries, as so many of them.
_FIXED = 2**15


class Turns:
    """Decides, device by device, which weights a weight waits for.

    Those in work at once have no more than 3/2 of the entries of the largest: each needs a mask, and little else.
    """

    def __init__(self, weights: Sequence[Weight]) -> None:
        """Args: all weights of the update."""
        self._devices: Dict[str, _Device] = {}
        for weight in weights:
            device = self._devices.setdefault(_device_of(weight), _Device())
            device.room = max(device.room, weight.entries * 3 // 2, _LITTLE)

    def ordered(self, weights: Sequence[Weight]) -> List[Weight]:
        """Returns weights in the order in which they are best asked for: the largest first that may run, and while it
        does, smaller ones beside it.
        """
        found: List[Weight] = []
        for name, device in self._devices.items():
            left = sorted((item for item in weights if _device_of(item) == name), key=lambda item: -item.entries)
            trial = _Device(device.room)
            while left:
                most = trial.most()
                index = next((index for index, item in enumerate(left) if item.entries <= most), None)
                if index is None:
                    trial.end_one()
                    continue
                found.append(left.pop(index))
                trial.enter(found[-1].entries)
        return found

    def before(self, weight: Weight) -> List[Any]:
        """Returns the ops that a weight waits for; its own are to be told to `done`."""
        return self._devices[_device_of(weight)].enter(weight.entries)

    def done(self, weight: Weight, ops: Sequence[Any]) -> None:
        """Takes the ops that end the work on the weight that `before` was asked for last."""
        self._devices[_device_of(weight)].running[-1].ends.extend(ops)


class _Turn:
    """Attributes:
    entries: of the weight.
    until: when it probably ends, in entries worked on.
    after: how many turns of its device had ended when this one began, in the order in which they ended.
    ends: ops that end it.
    """

    def __init__(self, entries: int, until: int, after: int) -> None:
        self.entries = entries
        self.until = until
        self.after = after
        self.ends: List[Any] = []


class _Device:
    """The weights of one device.

    Attributes:
        room: entries that may be in work at once.
        running: turns that the next may run beside; the latest last.
    """

    def __init__(self, room: int = 0) -> None:
        self.room = room
        self.running: List[_Turn] = []
        self._ended: List[_Turn] = []
        self._now = 0

    def most(self) -> float:
        """Returns how many entries a weight may have to run beside those that do; less than 0 where none may."""
        if not self.running:
            return math.inf
        return self.room - sum(turn.entries for turn in self.running) if len(self.running) < _AT_ONCE else -1

    def end_one(self) -> None:
        """Lets the next weight wait for the one that probably ends first."""
        first = min(self.running, key=lambda turn: turn.until)
        self.running.remove(first)
        self._ended.append(first)
        self._now = max(self._now, first.until)

    def enter(self, entries: int) -> List[Any]:
        while entries > self.most():
            self.end_one()
        self.running.append(_Turn(entries, self._now + entries + _FIXED, len(self._ended)))
        # The one that ended last has itself waited for the first of them.
        first = self._ended[-1].after if self._ended else 0
        return [op for turn in self._ended[first:] for op in turn.ends]


def _device_of(weight: Weight) -> str:
    return str(weight.first.weight.op.device)
