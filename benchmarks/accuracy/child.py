"""A run in a process of its own: python -m benchmarks.accuracy.child; progress and result are lines of JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict

from benchmarks.accuracy.settings import Run

EVERY = 10  # steps


def result_of(run: Run, folder: Path, progress: Callable[[int], None]) -> Dict[str, Any]:
    """Returns what `road.go` returns, called in a new process; what that prints is beside its checkpoints.

    Args:
        run: what.
        folder: for checkpoints and the log.
        progress: called with the steps done.

    Raises:
        RuntimeError: the process failed; the message ends with what it wrote.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{run.name}.log"
    result = None
    with log.open("w") as stderr, subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.accuracy.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        universal_newlines=True,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps({"run": run.as_dict(), "folder": str(folder)}))
        process.stdin.close()
        for line in process.stdout:
            message = json.loads(line)
            if "step" in message:
                progress(message["step"])
            else:
                result = message["result"]
    if process.returncode != 0 or result is None:
        raise RuntimeError(f"{run.name} failed with exit code {process.returncode}:\n{log.read_text()[-2000:]}")
    return result


def main() -> None:
    """Reads a run from standard input."""
    asked = json.load(sys.stdin)
    # Whatever libraries print goes to the log.
    lines = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    import tensorflow.compat.v1 as tf

    from benchmarks.accuracy.road import go

    tf.logging.set_verbosity(tf.logging.ERROR)

    def progress(step: int) -> None:
        if step % EVERY == 0:
            print(json.dumps({"step": step}), file=lines)

    result = go(Run.from_dict(asked["run"]), Path(asked["folder"]), progress)
    print(json.dumps({"result": result}), file=lines)


if __name__ == "__main__":
    main()
