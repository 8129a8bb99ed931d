"""Timing by turns: what is compared runs in every round, in an order that changes from round to round."""

import gc
import time
from typing import Callable, Dict, List, Mapping

Clock = Callable[[], float]


def by_turns(runs: Mapping[str, Callable[[], object]], rounds: int, clock: Clock = time.perf_counter) -> "Seconds":
    """Returns the seconds of each run in each round.

    The order is rotated by one every round, and reversed every second time around, so that none always comes first, nor
    always after the same.

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
            order = names[first:] + names[:first]
            for name in order if number // len(names) % 2 == 0 else reversed(order):
                start = clock()
                runs[name]()
                seconds[name].append(clock() - start)
    finally:
        gc.enable()
    return seconds


Seconds = Dict[str, List[float]]
