"""Writing files so that they are complete or absent: a temporary sibling, fsync, then rename."""

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import re
import shutil
import tempfile
from typing import Callable, Iterator, List, Optional, Tuple

from graph_masker.errors import DestinationError, VerificationError

# In a staging directory: what was replaced, until all that replaces it is there.
OLD = "old"
_EXCHANGE = 2  # RENAME_EXCHANGE of renameat2(2)
_HERE = -100  # AT_FDCWD


@contextlib.contextmanager
def staging_directory(destination: str) -> Iterator[str]:
    """Yields a new empty directory beside `destination`, removed at the end with whatever is left in it.

    It is called `.NAME.HOST.*.partial`, and locked as long as its process lives. What a killed process of this host has
    left for the same destination is removed, unless it holds files that were being replaced.

    Raises:
        DestinationError: the directory that shall hold `destination` cannot be made or written.
    """
    parent, prefix = _staging_prefix(destination)
    made = _missing(parent)
    try:
        os.makedirs(parent, exist_ok=True)
        _remove_leftovers(parent, prefix)
        staged, lock = _locked_directory(parent, prefix)
    except OSError as error:
        _remove_empty(made)
        raise DestinationError(f"{parent}: cannot be written: {error.strerror}") from error
    try:
        yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)
        os.close(lock)
        _remove_empty(made)


def has_leftovers(destination: str) -> bool:
    """Tells whether a killed process of this host has left a staging directory for a destination."""
    parent, prefix = _staging_prefix(destination)
    found: List[str] = []
    if os.path.isdir(parent):
        _for_each_leftover(parent, prefix, found.append)
    return bool(found)


def _staging_prefix(destination: str) -> Tuple[str, str]:
    """Returns the folder of a destination, and how the names of its staging directories begin."""
    parent, name = os.path.split(os.path.abspath(destination))
    # Names have at most 255 bytes.
    return parent, f".{name[:40]}.{re.sub('[^A-Za-z0-9-]', '-', platform.node())[:40]}."


def _missing(folder: str) -> List[str]:
    """Returns the folders that have to be made for this one to be there, itself first."""
    found = []
    while not os.path.lexists(folder):
        found.append(folder)
        folder = os.path.dirname(folder)
    return found


def _remove_empty(folders: List[str]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def _locked_directory(parent: str, prefix: str) -> Tuple[str, int]:
    while True:
        staged = tempfile.mkdtemp(prefix=prefix, suffix=".partial", dir=parent)
        lock = os.open(staged, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass  # Another process takes it for a leftover, and removes it.
        except OSError:
            return staged, lock  # The file system has no locks, so that nothing is taken for a leftover.
        if os.path.lexists(staged):
            return staged, lock
        os.close(lock)


def _remove_leftovers(parent: str, prefix: str) -> None:
    _for_each_leftover(parent, prefix, lambda path: shutil.rmtree(path, ignore_errors=True))


def _for_each_leftover(parent: str, prefix: str, action: Callable[[str], None]) -> None:
    """Calls an action with each staging directory that no process holds, and that holds nothing that was replaced."""
    for name in os.listdir(parent):
        path = os.path.join(parent, name)
        if not (name.startswith(prefix) and name.endswith(".partial")) or os.path.lexists(os.path.join(path, OLD)):
            continue
        with contextlib.suppress(OSError):
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                action(path)
            finally:
                os.close(lock)


def sync(path: str) -> None:
    """Flushes a file or a directory to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def move_into_place(staged: str, destination: str, old: Optional[str] = None) -> None:
    """Renames a staged file or directory to its final name and flushes the directory that holds it.

    Args:
        staged: its name now.
        destination: its final name.
        old: where a directory of that name goes, if there is one. The two are exchanged in one step where the system
            can; elsewhere the old one has this name for the moment in which the new one has none.
    """
    if old is None or not os.path.lexists(destination):
        os.rename(staged, destination)
    elif not _exchange(staged, destination):
        os.rename(destination, old)
        try:
            os.rename(staged, destination)
        except OSError:
            os.rename(old, destination)
            raise
    sync(os.path.dirname(os.path.abspath(destination)))


def _exchange(left: str, right: str) -> bool:
    """Exchanges two names in one step; returns whether the system can."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(_HERE, os.fsencode(left), _HERE, os.fsencode(right), _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), right)


def write_checked(path: str, content: bytes) -> None:
    """Writes a file of a staging directory, flushes it to disk, and reads it again.

    Raises:
        OSError: it cannot be written.
        VerificationError: it does not read back as it was written.
    """
    with open(path, "wb") as stream:
        stream.write(content)
    sync(path)
    with open(path, "rb") as stream:
        found = stream.read()
    if found != content:
        raise VerificationError(f"{path}: does not read back as it was written; is the disk sound?")


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
