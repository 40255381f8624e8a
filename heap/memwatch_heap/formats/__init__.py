"""Reads snapshots: plain, gzip or zstd, from a path or a stream."""

from pathlib import Path
from typing import BinaryIO

from memwatch_heap.errors import SnapshotError
from memwatch_heap.formats.cursor import Cursor, Progress
from memwatch_heap.formats.header import Header
from memwatch_heap.formats.source import Source
from memwatch_heap.formats.v8 import read_header, read_v8
from memwatch_heap.graph import HeapGraph

__all__ = ["Header", "Progress", "peek", "read"]


def read(
    snapshot: Path | str | BinaryIO,
    *,
    name: str | None = None,
    progress: Progress | None = None,
    max_bytes: int | None = None,
) -> HeapGraph:
    """The checked graph of a snapshot; what it is packed with is seen from its first bytes.

    Args:
        snapshot: a file, or a binary stream that is read to the end of the snapshot.
        name: what errors call it; the file's name if not given.
        progress: called after each block with the bytes read from disk and the file's size.
        max_bytes: refuse a snapshot that is longer than this when unpacked.

    Raises:
        SnapshotError: it cannot be read, is cut short, or contradicts itself.
    """
    if isinstance(snapshot, str | Path):
        source = Source.open(Path(snapshot), name, max_bytes)
    else:
        label = name or str(getattr(snapshot, "name", "stream"))
        source = Source(snapshot, label, max_bytes=max_bytes)
    with source:
        try:
            return read_v8(Cursor(source, progress))
        except MemoryError as problem:
            raise SnapshotError(source.name, "not enough memory for it") from problem


def peek(snapshot: Path | str, *, name: str | None = None) -> Header:
    """The header of a file alone, to know beforehand what it holds and what reading it takes.

    Raises:
        SnapshotError: it cannot be opened, or its header is damaged.
    """
    with Source.open(Path(snapshot), name) as source:
        return read_header(Cursor(source))
