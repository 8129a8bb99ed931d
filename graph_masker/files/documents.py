"""Single files written for people: pictures, pages, tables."""

import os
from typing import Callable, Sequence

from graph_masker.errors import DestinationError
from graph_masker.files import writing


def check_destination(
    path: str,
    endings: Sequence[str],
    overwrite: bool,
    maker: str,
    is_own: Callable[[str], bool] = lambda path: False,
) -> None:
    """Raises where a document may not be written: another file is there, or the name is not one of its kind.

    Args:
        path: of the document.
        endings: which of them its name may have.
        overwrite: whether an existing file may be replaced.
        maker: the command, for messages.
        is_own: tells whether an existing file is a document that the command made before, and may replace.

    Raises:
        DestinationError: see above.
    """
    if not path.lower().endswith(tuple(endings)):
        raise DestinationError(f"{path}: expected a name that ends in {' or '.join(endings)}, for what {maker} writes")
    if os.path.isdir(path):
        raise DestinationError(f"{path}: expected a file to write to, found a directory")
    if os.path.lexists(path) and not overwrite and not is_own(path):
        raise DestinationError(f"{path}: exists already; give --overwrite or another name")


def write(path: str, content: bytes) -> None:
    """Writes a whole document in one step, replacing one of that name, and reads it again.

    Raises:
        DestinationError: the file cannot be written.
    """
    writing.write_bytes(path, content)
    with open(path, "rb") as stream:
        if stream.read() != content:
            raise DestinationError(f"{path}: reread, it is not what was written; try again, or another place")
