"""What an update needs beside the weights and the masks: the process's own peak, in a process of its own."""

from pathlib import Path
from typing import Any, Callable, Dict, Sequence

import numpy as np

from benchmarks.engine import weights
from benchmarks.engine.nets import Shape
from benchmarks.engine.specs import SPARSITY, spec

# With these, glibc returns every large block to the system when it is freed, so that resident memory is memory in use.
ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
UPDATES = 5

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def measure(engine: str, shapes: Sequence[Shape]) -> Dict[str, Any]:
    """Measures the peak of an update once it has run before, so that what is made only once does not count.

    Args:
        engine: ``ours`` or ``contrib``.
        shapes: one per weight.

    Returns:
        bytes that the resident memory rose by during each of some updates (empty where the system does not tell), and
        bytes of the largest weight and of all masks.
    """
    made = weights.ours(shapes, spec(0, 1)) if engine == "ours" else weights.contribs(shapes)
    for _ in range(2):
        made.session.run(made.update)
    peaks = [rise_during(lambda: made.session.run(made.update)) for _ in range(UPDATES if is_known() else 0)]
    made.check_sparsity(SPARSITY)
    sizes = [4 * int(np.prod(shape)) for shape in shapes]
    return {"peaks": peaks, "largest": max(sizes), "all": sum(sizes)}


def rise_during(run: Callable[[], object]) -> int:
    """Returns how many bytes the resident memory of this process rises by, at its peak, during a call."""
    # Sets the peak to what is resident now.
    _RESET.write_text("5")
    before = resident(_STATUS.read_text(), "VmRSS")
    run()
    return resident(_STATUS.read_text(), "VmHWM") - before


def resident(status: str, key: str) -> int:
    """Returns a figure of /proc/self/status in bytes."""
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(f"{key}:"))


def is_known() -> bool:
    """Tells whether the system can be asked for a process's peak."""
    try:
        _RESET.write_text("5")
        return _STATUS.exists()
    except OSError:
        return False
