"""Where a command writes, and what it refuses to write to; a checkpoint gets its name once it is complete."""

import contextlib
import os
import re
import shutil
from dataclasses import dataclass
from typing import Callable, Collection, Iterator, List

from graph_masker.errors import DestinationError
from graph_masker.files import writing
from graph_masker.files.source import Source

_CHECKPOINT_FILE = re.compile(r"checkpoint|.+\.(index|meta|data-\d{5}-of-\d{5})", re.DOTALL)
_DATA = re.compile(r"\.data-\d{5}-of-\d{5}$")
_FILE_OF_PREFIX = re.compile(r"(\.(index|meta|data-\d{5}-of-\d{5}))?")


def check_destination(src: str, dst: str, overwrite: bool, is_replaceable: Callable[[str], bool]) -> None:
    """Refuses what would lose a file or cannot be written. Every command that writes a file or folder asks it first.

    Args:
        src: the file or folder that is read.
        dst: the file or folder that shall be written.
        overwrite: whether `dst` may exist.
        is_replaceable: tells whether an existing `dst` is of the kind that the command writes.

    Raises:
        DestinationError: says why not.
    """
    _check_name(dst)
    real_src, real_dst = os.path.realpath(src), _real(dst)
    if real_src == real_dst or (os.path.exists(src) and os.path.exists(dst) and os.path.samefile(src, dst)):
        raise DestinationError(f"{dst}: expected something new, found the source itself ({src}); choose another")
    if _is_inside(real_dst, real_src):
        raise DestinationError(f"{dst}: is inside the source ({src}), which is not written to; choose another")
    if _is_inside(real_src, real_dst) and os.path.lexists(dst):
        raise DestinationError(f"{dst}: holds the source ({src}), which would be lost; choose another")
    if os.path.lexists(dst):
        if not overwrite:
            raise DestinationError(f"{dst}: exists already; name a new destination, or replace it with --overwrite")
        if not is_replaceable(dst):
            raise DestinationError(f"{dst}: holds other than what would replace it; name a new destination")
    parent = os.path.dirname(os.path.abspath(dst))
    while not os.path.lexists(parent):
        parent = os.path.dirname(parent)
    if not os.path.isdir(parent):
        raise DestinationError(f"{dst}: cannot be written: {parent} is not a folder")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise DestinationError(f"{dst}: cannot be written: {parent} may not be written to")


def _check_name(dst: str) -> None:
    if not dst:
        raise DestinationError("DST: expected the name of something new, found an empty one")
    try:
        unusable = "\0" in dst or re.search(r"[*?[\\]", dst.encode("utf-8").decode())
    except UnicodeEncodeError:
        unusable = True
    if unusable:
        raise DestinationError(
            rf"{dst!r}: expected a path in UTF-8 without * ? [ \, which TensorFlow takes for patterns; choose another"
        )


def _real(path: str) -> str:
    """Returns a path without symbolic links but for its last part: that is what a rename replaces."""
    folder, name = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(folder), name)


def _is_inside(path: str, folder: str) -> bool:
    return path.startswith(os.path.join(folder, ""))


@contextlib.contextmanager
def publishing(dst: str) -> Iterator[str]:
    """Yields a path at which a file or folder is to be written, complete and flushed; it then becomes `dst`.

    If an error is raised inside, nothing is left behind.

    Raises:
        DestinationError: it cannot be written. OSErrors raised inside count.
    """
    try:
        with writing.staging_directory(dst) as staged:
            # What is read again is known by its ending.
            new = os.path.join(staged, "new" + os.path.splitext(dst)[1])
            yield new
            writing.move_into_place(new, dst, os.path.join(staged, writing.OLD))
    except OSError as error:
        raise DestinationError(f"{dst}: cannot be written: {error.strerror or error}") from error


@contextlib.contextmanager
def publishing_saved_model(folder: str, dst: str, written: Collection[str]) -> Iterator[str]:
    """Yields a copy of a SavedModel's folder, to be completed; it then becomes `dst`.

    Args:
        folder: of the SavedModel.
        dst: a new folder.
        written: what is not copied but written inside, as paths relative to the folder.

    Raises:
        DestinationError: it cannot be written. OSErrors raised inside count.
    """
    left = {os.path.join(folder, path) for path in written}
    with publishing(dst.rstrip(os.sep)) as new:
        try:
            shutil.copytree(folder, new, ignore=lambda at, names: [n for n in names if os.path.join(at, n) in left])
        except shutil.Error as error:
            # Of all that could not be copied, the first: where to, and why.
            _, place, why = error.args[0][0]
            raise OSError(f"{os.path.basename(place)}: {why}") from error
        yield new
        for at, _, names in os.walk(new):
            for name in names:
                writing.sync(os.path.join(at, name))
            writing.sync(at)


@dataclass(frozen=True)
class CheckpointDestination:
    """A new checkpoint's place; `check_checkpoint_destination` makes it.

    Attributes:
        dst: what the user named.
        prefix: of the new checkpoint's files.
        is_directory: whether `dst` is a new directory, and not a prefix.
    """

    dst: str
    prefix: str
    is_directory: bool

    @contextlib.contextmanager
    def publishing(self) -> Iterator[str]:
        """Yields the prefix to write the checkpoint's files to, in a hidden folder; gives them their names at the end.

        If an error is raised inside, nothing is left behind.

        Raises:
            DestinationError: the files cannot be written, or their names have been taken. OSErrors raised inside count.
        """
        try:
            with writing.staging_directory(self.dst) as staged:
                new = os.path.join(staged, "new")
                os.mkdir(new)
                yield os.path.join(new, os.path.basename(self.prefix))
                self._publish(new, os.path.join(staged, writing.OLD))
        except OSError as error:
            raise DestinationError(f"{self.dst}: cannot be written: {error.strerror}") from error

    def _publish(self, new: str, old: str) -> None:
        # As text of a protocol buffer.
        name = re.sub(r'[\x00-\x1f"\\]', lambda found: f"\\{ord(found[0]):03o}", os.path.basename(self.prefix))
        with open(os.path.join(new, "checkpoint"), "w", encoding="utf-8") as stream:
            stream.write(f'model_checkpoint_path: "{name}"\nall_model_checkpoint_paths: "{name}"\n')
        for item in os.listdir(new):
            writing.sync(os.path.join(new, item))
        writing.sync(new)
        if self.is_directory:
            writing.move_into_place(new, self.dst, old)
            return
        # A state file that is there belongs to other checkpoints; it is left as it is.
        if os.path.lexists(os.path.join(os.path.dirname(self.prefix), "checkpoint")):
            os.unlink(os.path.join(new, "checkpoint"))
        self._replace_files(new, old)

    def _replace_files(self, new: str, old: str) -> None:
        """Takes the old index away first, and gives the new one its name when all it needs is there.

        A checkpoint without an index is none: at any moment there is one whole checkpoint of that name, or none.
        """
        folder = os.path.dirname(os.path.abspath(self.prefix))
        taken = _files_of(self.prefix)
        if taken:
            os.mkdir(old)
        try:
            for item in sorted(taken, key=_moment, reverse=True):
                writing.move_into_place(os.path.join(folder, item), os.path.join(old, item))
            for item in sorted(os.listdir(new), key=_moment):
                writing.move_into_place(os.path.join(new, item), os.path.join(folder, item))
        except OSError:
            for item in sorted(taken, key=_moment):
                if os.path.lexists(os.path.join(old, item)):
                    os.replace(os.path.join(old, item), os.path.join(folder, item))
            raise


def _moment(name: str) -> int:
    """Returns when a file of a checkpoint gets its name: data, then the index, then the state file."""
    return 2 if name == "checkpoint" else int(name.endswith(".index"))


def _files_of(prefix: str) -> List[str]:
    """Returns the names of the files that a checkpoint of this prefix has, of either format."""
    folder, name = os.path.split(os.path.abspath(prefix))
    found = os.listdir(folder) if os.path.isdir(folder) else []
    return [item for item in found if item.startswith(name) and _FILE_OF_PREFIX.fullmatch(item[len(name) :])]


def _holds_checkpoints(folder: str) -> bool:
    return os.path.isdir(folder) and all(
        _CHECKPOINT_FILE.fullmatch(item) and os.path.isfile(os.path.join(folder, item)) for item in os.listdir(folder)
    )


def check_checkpoint_destination(source: Source, dst: str, overwrite: bool) -> CheckpointDestination:
    """Finds where a new checkpoint goes: a directory where the source is one, and else a prefix.

    Args:
        source: a checkpoint with data.
        dst: what the user named.
        overwrite: whether what is there is replaced: a checkpoint, or a directory that holds nothing but checkpoints.

    Raises:
        DestinationError: see `check_destination`.
    """
    assert source.prefix is not None
    _check_name(dst)
    if os.path.isdir(source.path):
        check_destination(source.path, dst, overwrite, _holds_checkpoints)
        dst = dst.rstrip(os.sep)
        return CheckpointDestination(dst, os.path.join(dst, os.path.basename(source.prefix)), True)
    if not os.path.basename(dst):
        raise DestinationError(f"{dst}: expected the prefix of a new checkpoint, such as {dst}model.ckpt-0")
    if os.path.isdir(dst):
        raise DestinationError(
            f"{dst}: exists already, and is a folder; expected the prefix of a new checkpoint, such as "
            + os.path.join(dst, os.path.basename(source.prefix))
        )
    name = os.path.basename(dst)
    # Data without an index is what a killed run has left, of this command or of TensorFlow.
    taken = [item[len(name) :] for item in _files_of(dst) if not _DATA.search(item)]
    # A graph without an index may be somebody's own, but where a killed run has left its folder, too.
    if taken == [".meta"] and writing.has_leftovers(dst):
        taken = []
    for suffix in taken or [".index"]:
        check_destination(source.prefix + suffix, dst + suffix, overwrite, os.path.isfile)
    return CheckpointDestination(dst, dst, False)
