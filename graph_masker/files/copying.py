"""Streams a checkpoint into another: tensors copied, multiplied, replaced, added or dropped; and checks what it wrote.

What stays as it is goes from file to file as bytes, in its order and its shard. What changes is computed and saved by
TensorFlow, a batch at a time, in graphs of ours: nothing of the model's is run. That gives checksums; the bytes then go
to where the old ones were. What is new is the same value over and over, and is written as it is. Memory does not depend
on the checkpoint's size.
"""

import contextlib
import ctypes
import errno
import itertools
import os
import sys
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import (
    IO,
    Any,
    Callable,
    Deque,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    TypeVar,
    Union,
)

from graph_masker.errors import SourceError, VerificationError
from graph_masker.files import writing
from graph_masker.files.bundle import Tensor, data_path, index_of, read_index, write_index
from graph_masker.files.changes import Addition, Changes
from graph_masker.files.computing import Computer
from graph_masker.files.filling import fill
from graph_masker.files.rereading import reread
from graph_masker.files.source import CheckpointReader, bytes_of, damaged
from graph_masker.tf_compat.bundles import BundleHeaderProto

# Of what is computed at once: each needs its mask, too.
_BATCH_BYTES = 8 * 2**20
# Batches that are computed at a time.
_THREADS = 2
# Between two calls of `progress`.
_STRIDE = 64 * 2**20

# Batches after which freed memory is given back, which makes the next allocations slower.
_TRIM = 2
# Bytes that are copied at a time through this process where the kernel cannot.
_BUFFER = 2**20

# Called with bytes done and bytes in all.
Progress = Callable[[int, int], None]


def copy_checkpoint(
    reader: CheckpointReader, changes: Changes, prefix: str, progress: Optional[Progress] = None
) -> None:
    """Writes a checkpoint with these changes, and checks that it reads back as it should.

    Args:
        reader: the source.
        changes: what differs from it.
        prefix: of the new checkpoint, in a folder of its own (see `CheckpointDestination.publishing`).
        progress: called with bytes done, and bytes in all, while writing and while checking.

    Raises:
        SourceError: the source is damaged.
        OSError: the files cannot be written; `publishing` makes it a `DestinationError`.
        VerificationError: they do not read back as they should.
    """
    with ThreadPoolExecutor(1) as background:
        copy = _Copy(reader, changes, prefix, background, progress)
        copy.write()
        copy.check()


class _Run(NamedTuple):
    """Bytes of the source that are copied as they are, and the keys of the entries that point into them."""

    shard: int
    start: int
    end: int
    keys: List[bytes]

    @property
    def size(self) -> int:
        return self.end - self.start


class _Value(NamedTuple):
    """A tensor, or a part of one, that is computed; or that is read by TensorFlow because nobody else can."""

    tensor: Tensor
    size: int


_Segment = Union[_Run, _Value]
_Result = TypeVar("_Result")


class _Copy:
    """One copy of a checkpoint."""

    def __init__(
        self,
        reader: CheckpointReader,
        changes: Changes,
        prefix: str,
        background: ThreadPoolExecutor,
        progress: Optional[Progress],
    ) -> None:
        self._reader, self._changes, self._prefix, self._progress = reader, changes, prefix, progress
        # What is written is flushed to the disk while it is read again, and while more is written.
        self._background = background
        self._flushes: List[Future[None]] = []
        # Of the source; None for a checkpoint of the first format.
        self._index = read_index(reader.prefix)
        self._header = _header() if self._index is None else self._index.header
        self._computer = Computer(reader, changes)
        self._kept = set(reader.names()) - changes.dropped
        self._shards = self._planned()
        self._entries: Dict[bytes, Any] = {}
        self._added: Dict[str, Addition] = {}
        # Keys of what did not read back, and of what is not read yet.
        self._damaged: List[bytes] = []
        self._others: List[bytes] = []
        self._pieces, self._batches_done, self._large = itertools.count(), itertools.count(1), threading.Lock()
        self._done, self._total = 0, 2 * sum(segment.size for shard in self._shards for segment in shard)

    def write(self) -> None:
        """Writes all files, and rereads each shard; what TensorFlow alone can read is left to `check`."""
        for shard, segments in enumerate(self._shards):
            with open(data_path(self._prefix, shard, len(self._shards)), "wb", buffering=0) as out:
                with self._rereading(out):
                    for batch, piece in _ahead(self._computed, _batches(segments)):
                        self._append(batch, piece, shard, out)
                if shard == len(self._shards) - 1:
                    for additions in self._changes.additions:
                        with self._rereading(out):
                            self._write_new(additions(), shard, out)
        self._computer.close()
        if self._index is not None:
            # Those of tensors in parts have no bytes: they say which parts there are.
            kept = {key for key, tensor in self._index.tensors.items() if tensor.name in self._kept}
            self._entries.update(
                {key: entry for key, entry in self._index.entries.items() if entry.slices and key in kept}
            )
        header = type(self._header)()
        header.CopyFrom(self._header)
        header.num_shards = len(self._shards)
        write_index(self._prefix, index_of(header, self._entries))

    @contextlib.contextmanager
    def _rereading(self, out: IO[bytes]) -> Iterator[None]:
        """Flushes and rereads what is appended to a shard inside."""
        before = len(self._entries)
        yield
        self._flushes.append(self._background.submit(writing.sync, out.name))
        fresh = dict(itertools.islice(self._entries.items(), before, None))
        damaged, others = reread(out.name, fresh, self._advance)
        self._damaged += damaged
        self._others += others

    def _write_new(self, additions: Mapping[str, Addition], shard: int, out: IO[bytes]) -> None:
        """Appends what the source does not have."""
        fresh = {name: new for name, new in additions.items() if name not in self._added}
        self._added.update(fresh)
        self._total += 2 * sum(bytes_of(new.shape, new.dtype) for new in fresh.values())
        for name, entry in fill(fresh, out, self._advance).items():
            self._add(name.encode(), entry, shard, entry.offset)

    def check(self) -> None:
        """Rereads the index, and what TensorFlow alone can read; waits for the flushes."""
        name = os.path.basename(self._prefix)
        try:
            written = CheckpointReader(self._prefix)
            found = read_index(self._prefix)
        except SourceError as error:
            raise VerificationError(
                f"{name}: does not read back as it was written ({error}); is the disk sound?"
            ) from error
        expected = {key: (self._reader.shape(key), self._reader.dtype(key)) for key in self._kept}
        expected.update({key: (tuple(new.shape), new.dtype) for key, new in self._added.items()})
        if {key: (written.shape(key), written.dtype(key)) for key in written.names()} != expected:
            raise VerificationError(f"{name}: expected {len(expected)} tensors, found others ({len(written.names())})")
        if found is None or found.entries != self._entries:
            raise VerificationError(f"{name}.index: does not read back as it was written; is the disk sound?")
        for key in self._damaged:
            self._blame(found.tensors[key])
        others = [_Value(found.tensors[key], found.entries[key].size) for key in self._others]
        for batch in _batches(others):
            self._check_by_tensorflow(written, [value.tensor for value in batch if isinstance(value, _Value)])
            self._trim()
        for flush in self._flushes:
            flush.result()

    def _check_by_tensorflow(self, written: CheckpointReader, tensors: Sequence[Tensor]) -> None:
        try:
            written.check(tensors)
        except SourceError:
            for tensor in tensors if len(tensors) > 1 else ():
                self._check_by_tensorflow(written, [tensor])
            self._blame(tensors[0])

    def _blame(self, tensor: Tensor) -> None:
        """Raises the error for a tensor that does not read back: another one if it is the source that is damaged."""
        if tensor.name not in self._added:
            self._reader.check([tensor])
        raise VerificationError(
            f"{os.path.basename(self._prefix)}: '{tensor.name}' does not read back as it was written; "
            "is the disk sound?"
        )

    def _planned(self) -> List[List[_Segment]]:
        """Returns what each shard of the new checkpoint consists of, in order."""
        reader, index = self._reader, self._index
        shards: Dict[int, List[_Segment]] = {}
        if index is None:
            whole = [Tensor(name) for name in sorted(self._kept)]
            shards[0] = [
                _Value(tensor, bytes_of(reader.shape(tensor.name), reader.dtype(tensor.name))) for tensor in whole
            ]
        else:
            for key, entry in index.stored():
                tensor = index.tensors[key]
                if tensor.name not in self._kept:
                    continue
                segments = shards.setdefault(entry.shard_id, [])
                if tensor.name in self._changes.products or tensor.name in self._changes.replacements:
                    segments.append(_Value(tensor, entry.size))
                else:
                    _extend(segments, key, entry)
        return [shards[shard] for shard in sorted(shards)] or [[]]

    def _append(self, batch: Sequence[_Segment], piece: Optional[str], shard: int, out: IO[bytes]) -> None:
        """Appends segments to a shard, those that are computed from a piece."""
        computed = {} if piece is None else self._entries_of(piece)
        for segment in batch:
            position = out.tell()
            if isinstance(segment, _Run):
                assert self._index is not None
                with self._shard_of_source(segment.shard) as source:
                    self._transfer(source, out, segment.start, segment.size)
                for key in segment.keys:
                    entry = self._index.entries[key]
                    self._add(key, entry, shard, position + entry.offset - segment.start)
            else:
                assert piece is not None
                key, entry = computed[segment.tensor]
                with open(data_path(piece, 0, 1), "rb") as source:
                    self._transfer(source, out, entry.offset, entry.size)
                self._add(key, entry, shard, position)
        if piece is not None:
            os.unlink(piece + ".index")
            os.unlink(data_path(piece, 0, 1))

    def _entries_of(self, piece: str) -> Dict[Tensor, Tuple[bytes, Any]]:
        index = read_index(piece)
        assert index is not None
        return {index.tensors[key]: (key, entry) for key, entry in index.stored()}

    def _shard_of_source(self, shard: int) -> IO[bytes]:
        try:
            return open(data_path(self._reader.prefix, shard, self._header.num_shards), "rb")
        except OSError as error:
            raise damaged(self._reader.prefix, error) from error

    def _add(self, key: bytes, entry: Any, shard: int, offset: int) -> None:
        self._entries[key] = new = type(entry)()
        new.CopyFrom(entry)
        new.shard_id, new.offset = shard, offset

    def _transfer(self, source: IO[bytes], out: IO[bytes], start: int, size: int) -> None:
        """Appends bytes of one file to another, without a way through this process."""
        end = start + size
        while start < end:
            done = _sent(source, out, start, min(_STRIDE, end - start))
            if done == 0:
                raise damaged(self._reader.prefix, EOFError(f"{source.name} ends too early"))
            start += done
            self._advance(done)

    def _computed(self, batch: Sequence[_Segment]) -> Optional[str]:
        """Saves the values of a batch as a small checkpoint of their own; returns its prefix."""
        values = [segment for segment in batch if isinstance(segment, _Value)]
        if not values:
            return None
        piece = os.path.join(os.path.dirname(self._prefix), f".piece-{next(self._pieces)}")
        with contextlib.ExitStack() as stack:
            # Of these, memory has room for one.
            if sum(value.size for value in values) > _BATCH_BYTES:
                stack.enter_context(self._large)
            self._computer.save([value.tensor for value in values], piece)
        self._trim()
        return piece

    def _trim(self) -> None:
        """Gives freed memory back to the system now and then, where the C library can: threads would keep their own."""
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None and next(self._batches_done) % _TRIM == 0:
            trim(0)

    def _advance(self, count: int) -> None:
        self._done += count
        if self._progress is not None:
            self._progress(self._done, self._total)


def _sent(source: IO[bytes], out: IO[bytes], start: int, size: int) -> int:
    """Appends at most so many bytes of one file to another; returns how many. None where the source ends."""
    try:
        return os.sendfile(out.fileno(), source.fileno(), start, size)
    except OSError as error:
        # Not every system and file system copies between files.
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSOCK):
            raise
        return out.write(os.pread(source.fileno(), min(size, _BUFFER), start))


def _extend(segments: List[_Segment], key: bytes, entry: Any) -> None:
    """Adds an entry to the last run if its bytes touch those of the run, and else begins another."""
    last = segments[-1] if segments else None
    end = entry.offset + entry.size
    if isinstance(last, _Run) and entry.offset <= last.end:
        segments[-1] = last._replace(end=max(end, last.end), keys=[*last.keys, key])
    else:
        segments.append(_Run(entry.shard_id, entry.offset, end, [key]))


def _ahead(
    function: Callable[[List[_Segment]], _Result], batches: Iterable[List[_Segment]]
) -> Iterator[Tuple[List[_Segment], _Result]]:
    """Yields batches and what a function returns for them, while it works on the next ones."""
    with ThreadPoolExecutor(_THREADS) as pool:
        waiting: Deque[Tuple[List[_Segment], Future[_Result]]] = deque()
        for batch in batches:
            waiting.append((batch, pool.submit(function, batch)))
            if len(waiting) > _THREADS:
                batch, future = waiting.popleft()
                yield batch, future.result()
        for batch, future in waiting:
            yield batch, future.result()


def _batches(segments: Sequence[_Segment]) -> Iterator[List[_Segment]]:
    batch: List[_Segment] = []
    size = 0
    for segment in segments:
        count = segment.size if isinstance(segment, _Value) else 0
        if batch and size + count > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(segment)
        size += count
    yield batch


def _header() -> Any:
    """Returns the header of an index that TensorFlow would write on this machine."""
    header = BundleHeaderProto(endianness=BundleHeaderProto.Endianness.Value(sys.byteorder.upper()))
    header.version.producer = 1
    return header
