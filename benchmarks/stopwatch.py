"""A stopwatch that finds what it times by name, and says so where a name is gone."""

import contextlib
import functools
import gc
import importlib
import sys
import time
from typing import Any, Callable, Dict, Iterator, List, Mapping, Sequence, Set, Tuple

Path = Tuple[str, ...]
Clock = Callable[[], float]
GARBAGE = "garbage"


class Stopwatch:
    """Seconds by path of nested laps. Each counts its own time only, without the laps inside it.

    The clock is the thread's CPU time: building a graph is one thread's work, and a neighbour who takes the
    processor away for a while does not count.

    Attributes:
        seconds: own time by path, such as ``("verify", "view")`` for a view built during verification.
        missing: labels whose function was not found.
    """

    def __init__(self, clock: Clock = time.thread_time) -> None:
        self.seconds: Dict[Path, float] = {}
        self.missing: Set[str] = set()
        self._clock = clock
        self._open: List[Tuple[str, List[float]]] = []

    @contextlib.contextmanager
    def garbage_apart(self) -> Iterator[None]:
        """While open, gives each garbage collection a lap of its own: when one comes says little of where it came."""
        laps: List[Any] = []

        def collecting(phase: str, _: Any) -> None:
            if phase == "start":
                laps.append(self.lap(GARBAGE))
                laps[-1].__enter__()
            elif laps:
                laps.pop().__exit__(None, None, None)

        gc.callbacks.append(collecting)
        try:
            yield
        finally:
            gc.callbacks.remove(collecting)

    @contextlib.contextmanager
    def lap(self, label: str) -> Iterator[None]:
        """Adds the time of a block to the path that ends in `label`."""
        inside: List[float] = []
        self._open.append((label, inside))
        path = tuple(name for name, _ in self._open)
        start = self._clock()
        try:
            yield
        finally:
            elapsed = self._clock() - start
            self._open.pop()
            self.seconds[path] = self.seconds.get(path, 0.0) + elapsed - sum(inside)
            if self._open:
                self._open[-1][1].append(elapsed)

    def timed(self, function: Callable[..., Any], label: str) -> Callable[..., Any]:
        """Returns the function with a lap around each call."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with self.lap(label):
                return function(*args, **kwargs)

        return call

    @contextlib.contextmanager
    def around(self, places: Mapping[str, str], package: str = "") -> Iterator[None]:
        """While open, times functions wherever they are called from.

        Args:
            places: by label, a function or method as ``module:name`` or ``module:Class.name``.
            package: modules below it that imported a function under their own name are patched as well.
        """
        with contextlib.ExitStack() as stack:
            # All are imported before any is replaced, so that no module imports a replacement for good.
            everything = {label: _find(place) for label, place in places.items()}
            self.missing.update(label for label, found in everything.items() if found is None)
            for label, found in everything.items():
                if found is None:
                    continue
                owner, name, function = found
                timed = self.timed(function, label)
                for target in (owner, *_importers(package, name, function, owner)):
                    stack.callback(setattr, target, name, function)
                    setattr(target, name, timed)
            yield


def _find(place: str) -> Any:
    """Returns (owner, attribute name, function), or None where there is no such thing."""
    module_name, _, dotted = place.partition(":")
    *outer, name = dotted.split(".")
    try:
        owner: Any = importlib.import_module(module_name)
        for part in outer:
            owner = getattr(owner, part)
        return owner, name, vars(owner)[name]
    except (ImportError, AttributeError, KeyError):
        return None


def _importers(package: str, name: str, function: Any, owner: Any) -> Sequence[Any]:
    modules = [module for key, module in list(sys.modules.items()) if package and key.startswith(f"{package}.")]
    return [module for module in modules if module is not owner and vars(module).get(name) is function]
