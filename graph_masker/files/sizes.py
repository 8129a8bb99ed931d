"""Sizes of files, raw and by gzip: zeros are what compresses."""

import os
import zlib
from typing import Callable, Iterable, List, Optional, Tuple

# Of zlib: the largest window, and gzip's header.
GZIP = 31


def files_of(path: str) -> List[str]:
    """Returns a file, or all files in a folder."""
    return sorted(os.path.join(root, name) for root, _, names in os.walk(path) for name in names) or [path]


def raw_and_gzipped(paths: Iterable[str], advance: Optional[Callable[[int], None]] = None) -> Tuple[int, int]:
    """Returns the bytes of files together, raw and each compressed by itself.

    Args:
        paths: of the files.
        advance: called with the raw bytes done.
    """
    raw = zipped = 0
    for path in paths:
        packer = zlib.compressobj(wbits=GZIP)
        with open(path, "rb") as stream:
            for piece in iter(lambda: stream.read(2**20), b""):
                zipped += len(packer.compress(piece))
                raw += len(piece)
                if advance is not None:
                    advance(raw)
        zipped += len(packer.flush())
    return raw, zipped
