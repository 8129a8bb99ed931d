"""Runs a measurement in a process of its own: thread pools, heap and graphs of one do not reach the next."""

import importlib
import json
import os
import subprocess
import sys
from typing import Any, Mapping, Optional

MEASURES = {name: f"benchmarks.engine.{name}" for name in ("training", "updates", "memory")}
MEASURES["replicas"] = "benchmarks.scale.replicas"


def measured(name: str, arguments: Mapping[str, Any], environment: Optional[Mapping[str, str]] = None) -> Any:
    """Returns what the module's `measure` returns, called with these arguments in a new process.

    Args:
        name: one of `MEASURES`.
        arguments: plain values by name.
        environment: variables to set for it.

    Raises:
        RuntimeError: the process failed; the message ends with what it wrote.
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.engine.child"],
        input=json.dumps({"name": name, "arguments": arguments}),
        capture_output=True,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    if done.returncode != 0:
        raise RuntimeError(f"measuring {name} failed with exit code {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Reads what to measure from standard input and writes the result as the last line of standard output."""
    import tensorflow.compat.v1 as tf

    tf.logging.set_verbosity(tf.logging.ERROR)
    asked = json.load(sys.stdin)
    result = importlib.import_module(MEASURES[asked["name"]]).measure(**asked["arguments"])
    print(f"\n{json.dumps(result)}")


if __name__ == "__main__":
    main()
