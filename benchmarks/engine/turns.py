"""Timing by turns: what is compared runs in every round, and each round starts with another."""

import gc
import time
from typing import Callable, Dict, List, Mapping

Clock = Callable[[], float]


def by_turns(runs: Mapping[str, Callable[[], object]], rounds: int, clock: Clock = time.perf_counter) -> "Seconds":
    """Returns the seconds of each run in each round.

    The order is rotated from round to round, so that none always profits, or always suffers, from the one before it.

    Args:
        runs: what to time, by name.
        rounds: how often.
        clock: in seconds.
    """
    names = list(runs)
    seconds: Seconds = {name: [] for name in names}
    # A collection walks every object of the graphs and would fall on whoever is running.
    gc.collect()
    gc.disable()
    try:
        for number in range(rounds):
            first = number % len(names)
            for name in names[first:] + names[:first]:
                start = clock()
                runs[name]()
                seconds[name].append(clock() - start)
    finally:
        gc.enable()
    return seconds


Seconds = Dict[str, List[float]]
