"""Runs the command line, or plain python, as a user does: in a process of its own."""

import os
import subprocess
import sys
from typing import Any

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAMS = os.path.join(ROOT, "tests", "cli", "programs")
GRAPH_MASKER = [sys.executable, "-W", "ignore", "-c", "from graph_masker.cli import main; main()"]
PYTHON = [sys.executable, "-W", "ignore"]


def environment() -> Any:
    """The environment of both."""
    return {**os.environ, "PYTHONPATH": ROOT, "TF_CPP_MIN_LOG_LEVEL": "3"}


def run(*arguments: Any, cwd: Any = None, program: Any = None, text: bool = True) -> Any:
    """Runs graph-masker, or another program, with arguments; returns what subprocess.run does."""
    return subprocess.run(
        [*(program or GRAPH_MASKER), *(str(argument) for argument in arguments)],
        capture_output=True,
        text=text,
        env=environment(),
        cwd=str(cwd) if cwd else None,
        check=False,
    )
