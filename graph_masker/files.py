"""Writing files so that they are complete or absent: a temporary sibling, fsync, then rename."""

import contextlib
import os
import shutil
import tempfile
from typing import Iterator

from graph_masker.errors import DestinationError


@contextlib.contextmanager
def staging_directory(destination: str) -> Iterator[str]:
    """Yields a new empty directory beside `destination`, removed at the end with whatever is left in it.

    Raises:
        DestinationError: the directory that shall hold `destination` cannot be made or written.
    """
    destination = os.path.abspath(destination)
    parent = os.path.dirname(destination)
    try:
        os.makedirs(parent, exist_ok=True)
        staged = tempfile.mkdtemp(prefix=f".{os.path.basename(destination)}.", suffix=".partial", dir=parent)
    except OSError as error:
        raise DestinationError(f"{parent}: cannot be written: {error.strerror}") from error
    try:
        yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def sync(path: str) -> None:
    """Flushes a file or a directory to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def move_into_place(staged: str, destination: str) -> None:
    """Renames a staged file or directory to its final name and flushes the directory that holds it."""
    os.rename(staged, destination)
    sync(os.path.dirname(os.path.abspath(destination)))


def write_text(path: str, text: str) -> None:
    """Writes a whole text file in one step, replacing one of that name.

    Raises:
        DestinationError: the file cannot be written.
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: str, content: bytes) -> None:
    """Writes a whole file in one step, replacing one of that name.

    Raises:
        DestinationError: the file cannot be written.
    """
    with staging_directory(path) as staged:
        temporary = os.path.join(staged, "content")
        try:
            with open(temporary, "wb") as stream:
                stream.write(content)
            sync(temporary)
            os.replace(temporary, path)
        except OSError as error:
            raise DestinationError(f"{path}: cannot be written: {error.strerror}") from error
