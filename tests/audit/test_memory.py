"""An audit keeps one weight at a time in memory."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tests.audit.models import write

_MEGABYTE = 2**20
_ENTRIES = 16 * _MEGABYTE
_WEIGHTS = 6

CODE = """
import re, sys
from graph_masker import report_model
report = report_model(sys.argv[1])
assert len(report.layers) == int(sys.argv[2]) and report.state == "masked"
# Not getrusage, which counts what the process was before it became this program.
print(1024 * int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read()).group(1)))
"""


@pytest.mark.slow
def test_memory_is_bounded_by_the_largest_tensor(tmp_path: Any) -> None:
    weight = np.random.RandomState(0).normal(size=[4096, _ENTRIES // 4096]).astype(np.float32)
    mask = (np.abs(weight) > 2.5).astype(np.float32)
    values = {}
    for number in range(_WEIGHTS):
        names = (f"layer{number}/kernel", f"layer{number}/mask", f"layer{number}/threshold")
        values.update(zip(names, (weight, mask, np.float32(2.5))))
    write(str(tmp_path / "model.ckpt"), values)
    command = [sys.executable, "-W", "ignore", "-c", CODE, str(tmp_path / "model.ckpt"), str(_WEIGHTS)]
    result = subprocess.run(command, capture_output=True, check=True)
    bound = 400 * _MEGABYTE + 3 * weight.nbytes
    # All of them would be more.
    assert int(result.stdout) < bound < 200 * _MEGABYTE + 2 * _WEIGHTS * weight.nbytes
