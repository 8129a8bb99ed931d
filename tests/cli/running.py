"""Runs the command line, or plain python, as a user does: in a process of its own."""

import functools
import os
import subprocess
import sys
import tempfile
from typing import Any

from tests.cli.warm import Request, Server

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAMS = os.path.join(ROOT, "tests", "cli", "programs")
GRAPH_MASKER = [sys.executable, "-W", "ignore", "-c", "from graph_masker.cli import main; main()"]
PYTHON = [sys.executable, "-W", "ignore"]


def environment() -> Any:
    """The environment of both."""
    return {**os.environ, "PYTHONPATH": ROOT, "TF_CPP_MIN_LOG_LEVEL": "3"}


def run(*arguments: Any, cwd: Any = None, program: Any = None, text: bool = True) -> Any:
    """Runs graph-masker, or another program, with arguments; returns what subprocess.run does.

    Without a program, graph-masker runs in a child of a process that has TensorFlow imported: what it does is the same.
    How a process begins and ends is tested with `GRAPH_MASKER`.
    """
    if program is None:
        return _run_warm([str(argument) for argument in arguments], str(cwd) if cwd else os.getcwd(), text)
    return subprocess.run(
        [*program, *(str(argument) for argument in arguments)],
        capture_output=True,
        text=text,
        env=environment(),
        cwd=str(cwd) if cwd else None,
        check=False,
    )


_server = functools.lru_cache(maxsize=None)(lambda: Server(environment()))


def _run_warm(arguments: Any, directory: str, text: bool) -> Any:
    with tempfile.NamedTemporaryFile() as output, tempfile.NamedTemporaryFile() as errors:
        code = _server().run(Request(arguments, directory, environment(), output.name, errors.name))
        found = [stream.read() for stream in (output, errors)]
    # The line ends of Windows and of old Macs become those of Unix, as subprocess makes them.
    found = [item.decode().replace("\r\n", "\n").replace("\r", "\n") if text else item for item in found]
    return subprocess.CompletedProcess(arguments, code, *found)
