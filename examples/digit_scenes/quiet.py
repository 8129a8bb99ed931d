"""Keeps the libraries' chatter out of the terminal."""

import contextlib
import os
import sys
from pathlib import Path
from typing import IO, Iterator


@contextlib.contextmanager
def output_to(log: Path) -> Iterator[IO[str]]:
    """Sends standard output and error to a file for the duration, those of native code included.

    The API, pycocotools and TensorFlow's profiler print without asking, partly from C++, so that replacing
    `sys.stdout` would not do.

    Args:
        log: File to append to.

    Yields:
        A stream that still writes to the terminal.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    terminal = os.fdopen(os.dup(1), "w", buffering=1, encoding=sys.stdout.encoding)
    target = os.open(str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.dup2(target, 1)
        os.dup2(target, 2)
        yield terminal
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        terminal.close()
        for number, copy in enumerate(saved, start=1):
            os.dup2(copy, number)
            os.close(copy)
        os.close(target)
