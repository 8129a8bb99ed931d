"""Times a command and a plain copy by turns, and asks the command's process for its peak memory."""

import json
import os
import shutil
import subprocess
import sys
import time
from typing import Any, Dict, List, NamedTuple

# Bytes that the kernel copies at a time.
_STRIDE = 2**30


class Round(NamedTuple):
    """One measurement of each: seconds, and the peak of the command's process in bytes."""

    copy: float
    command: float
    peak: int


def measure(source: str, folder: str, repeat: int, command: str) -> List[Round]:
    """Returns some rounds; which comes first changes from one to the next.

    Args:
        source: a checkpoint directory.
        folder: where to write; on the same disk.
        repeat: how many rounds are measured, after one that is not.
        command: of graph_masker.
    """
    rounds = []
    for number in range(repeat + 1):
        found: Dict[str, Any] = {}
        for name in ("copy", "command") if number % 2 else ("command", "copy"):
            written = os.path.join(folder, "written")
            found[name] = copied(source, written) if name == "copy" else run(command, source, written)
            shutil.rmtree(written)
        rounds.append(Round(found["copy"], found["command"]["seconds"], found["command"]["peak"]))
    return rounds[1:]


def copied(source: str, written: str) -> float:
    """Copies a folder's files, flushes each to the disk, and returns the seconds that took."""
    start = time.perf_counter()
    os.mkdir(written)
    for name in os.listdir(source):
        with open(os.path.join(source, name), "rb") as old, open(os.path.join(written, name), "wb") as new:
            # The kernel's own copy: nothing in user space is faster.
            while os.sendfile(new.fileno(), old.fileno(), None, _STRIDE):
                pass
            os.fsync(new.fileno())
    return time.perf_counter() - start


def run(command: str, source: str, written: str) -> Dict[str, Any]:
    """Runs a command in a process of its own; see `benchmarks.streaming.child`.

    Raises:
        RuntimeError: it failed.
    """
    arguments = [sys.executable, "-W", "ignore", "-m", "benchmarks.streaming.child", command, source, written]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command} failed with exit code {done.returncode}:\n{done.stderr[-2000:]}")
    found: Dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
