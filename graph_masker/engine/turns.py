"""Whose turn it is: few weights are in work at once, so that an update needs little memory and keeps two cores busy."""

from typing import Any, Dict, List, Sequence

from graph_masker.engine.weights import Weight

# More in work at once would hand over more often from thread to thread, and gain nothing on few cores.
_AT_ONCE = 2

# So many entries may be in work whatever the largest weight is: their memory is little.
_LITTLE = 2**21


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

    def before(self, weight: Weight) -> List[Any]:
        """Returns the ops that a weight waits for; its own are to be told to `done`."""
        return self._devices[_device_of(weight)].enter(weight.entries)

    def done(self, weight: Weight, ops: Sequence[Any]) -> None:
        """Takes the ops that end the work on the weight that `before` was asked for last."""
        self._devices[_device_of(weight)].running[-1].ends.extend(ops)


class _Turn:
    """Attributes:
    entries: of the weight.
    after: how many turns of its device had ended when this one began, in the order in which they ended.
    ends: ops that end it.
    """

    def __init__(self, entries: int, after: int) -> None:
        self.entries = entries
        self.after = after
        self.ends: List[Any] = []


class _Device:
    """The weights of one device.

    Attributes:
        room: entries that may be in work at once.
        running: turns that the next may run beside; the oldest first.
    """

    def __init__(self) -> None:
        self.room = 0
        self.running: List[_Turn] = []
        self._ended: List[_Turn] = []

    def enter(self, entries: int) -> List[Any]:
        while self.running and (
            len(self.running) >= _AT_ONCE or sum(turn.entries for turn in self.running) + entries > self.room
        ):
            self._ended.append(self.running.pop(0))
        self.running.append(_Turn(entries, len(self._ended)))
        # The one that ended last has itself waited for the first of them.
        first = self._ended[-1].after if self._ended else 0
        return [op for turn in self._ended[first:] for op in turn.ends]


def _device_of(weight: Weight) -> str:
    return str(weight.first.weight.op.device)
