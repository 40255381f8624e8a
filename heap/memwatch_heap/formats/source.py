"""Opens a snapshot as a stream of raw bytes, whatever it is packed with."""

import gzip
import io
import zlib
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self, cast

import zstandard

from memwatch_heap.errors import SnapshotError

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
# A zstd window costs as much memory: at most 8 MiB up to level 19, 128 MiB with --long=27.
_MAX_WINDOW = 1 << 27
# Snapshots shrink 6 to 12 times. What grows by more than this is no snapshot but a bomb.
_MAX_RATIO = 100
# Below this much unpacked, the ratio does not matter.
_FREE = 64 << 20


class Readable(Protocol):
    """A binary stream."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fills some of the buffer; 0 at the end."""


class _Counted(io.RawIOBase):
    """Counts what is read through it, and puts back what was sniffed."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._readinto = getattr(stream, "readinto", None)
        self._head = b""
        self.count = 0

    def sniff(self) -> bytes:
        self._head = self._stream.read(4)
        return self._head

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        if self._head:
            data, self._head = self._head[: len(buffer)], self._head[len(buffer) :]
        elif self._readinto is not None:  # no copy between
            count = self._readinto(buffer) or 0
            self.count += count
            return int(count)
        else:
            data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self.count += len(data)
        return len(data)


class Source:
    """Raw bytes of a snapshot, unpacked while they are read.

    Attributes:
        name: what errors call it.
        packed: "", "gzip" or "zstd".
        size: bytes on disk, None for a stream.
    """

    def __init__(
        self,
        stream: BinaryIO,
        name: str,
        size: int | None = None,
        max_bytes: int | None = None,
    ) -> None:
        self.name = name
        self.size = size
        self._max_bytes = max_bytes
        self._file = stream
        self._counted = _Counted(stream)
        self._out = 0
        self._stream, self.packed = self._unpack()

    @classmethod
    def open(cls, path: Path, name: str | None = None, max_bytes: int | None = None) -> Self:
        """Opens a file; SnapshotError where that fails."""
        name = name or path.name
        try:
            if path.is_dir():
                raise SnapshotError(name, "it is a folder")
            return cls(path.open("rb"), name, path.stat().st_size, max_bytes)
        except OSError as problem:
            raise SnapshotError(name, problem.strerror or str(problem)) from problem

    @property
    def consumed(self) -> int:
        """Bytes read from the file so far, packed ones where it is packed."""
        return self._counted.count

    def readinto(self, buffer: memoryview) -> int:
        """Fills the buffer as far as the stream gives at once; 0 at its end."""
        try:
            count = self._stream.readinto(buffer) or 0
        except (EOFError, zlib.error, gzip.BadGzipFile) as problem:
            raise SnapshotError(self.name, f"damaged gzip data: {problem}") from problem
        except zstandard.ZstdError as problem:
            raise SnapshotError(self.name, f"damaged zstd data: {problem}") from problem
        except OSError as problem:
            raise SnapshotError(self.name, problem.strerror or str(problem)) from problem
        self._out += count
        if self._max_bytes is not None and self._out > self._max_bytes:
            raise SnapshotError(self.name, f"it has more than {self._max_bytes} bytes unpacked")
        if self.packed and self._out > _FREE and self._out > _MAX_RATIO * self._counted.count:
            raise SnapshotError(
                self.name,
                f"{self._counted.count} packed bytes became {self._out}:"
                f" more than {_MAX_RATIO} times as many, no snapshot does that",
            )
        return count

    def close(self) -> None:
        """Closes what was opened."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _unpack(self) -> tuple[Readable, str]:
        head = self._counted.sniff()
        if head.startswith(_ZSTD):
            unpacker = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
            packed = cast(BinaryIO, self._counted)
            return unpacker.stream_reader(packed, read_across_frames=True), "zstd"
        if head.startswith(_GZIP):
            return gzip.GzipFile(fileobj=self._counted, mode="rb"), "gzip"
        return self._counted, ""
