"""Runs one command of graph_masker in a process of its own, and measures it from its first line to its last."""

import json
import sys
import time
from pathlib import Path
from typing import Any, Dict


def measure(command: str, src: str, dst: str) -> Dict[str, Any]:
    """Returns the seconds of a call, without the import of TensorFlow, and the process's peak memory in bytes."""
    from graph_masker import PruningSpec, fold_checkpoint, prune_model, rewrite_checkpoint

    spec = PruningSpec(0.9, 1000, 2000)
    commands = {
        "fold": lambda: fold_checkpoint(src, dst),
        "rewrite": lambda: rewrite_checkpoint(src, dst, spec),
        "prune": lambda: prune_model(src, dst, spec),
    }
    start = time.perf_counter()
    commands[command]()
    seconds = time.perf_counter() - start
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {"seconds": seconds, "peak": int(status["VmHWM"].split()[0]) * 1024}


if __name__ == "__main__":
    print(f"\n{json.dumps(measure(*sys.argv[1:]))}")
