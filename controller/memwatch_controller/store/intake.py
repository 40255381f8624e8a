"""Takes the bytes of one snapshot in, checks them as they come, and writes them down as zstd.

Pure but for the file it is given: no sockets, no clock. One piece is held at a time, however
well it was compressed.
"""

import hashlib
import zlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import zstandard

#: Pieces in which decompressed bytes are looked at: a bomb is noticed after one of them.
_PIECE_BYTES = 1024 * 1024

#: The largest window that a sender may make us hold: what zstd itself allows by default.
_MAX_WINDOW_BYTES = 1 << 27

#: Fast enough to keep up with a network; the agents' own level.
_LEVEL = 1

_BLANK = b" \t\r\n"


class Encoding(StrEnum):
    """How incoming bytes are compressed."""

    PLAIN = ""
    GZIP = "gzip"
    ZSTD = "zstd"


@dataclass(frozen=True, slots=True)
class Facts:
    """Length and SHA-256 (lower-case hex) of a snapshot, raw and as stored."""

    raw_size_bytes: int
    raw_sha256: str
    stored_size_bytes: int
    stored_sha256: str


class IntakeError(Exception):
    """Bytes that are not what they were announced to be.

    Attributes:
        what: which figure is wrong.
        got: what came.
        expected: what was announced or is allowed.
    """

    def __init__(self, what: str, got: str, expected: str) -> None:
        self.what = what
        self.got = got
        self.expected = expected

    def __str__(self) -> str:
        return f"{self.what}: got {self.got}, expected {self.expected}"


class Sink(Protocol):
    """Where bytes go."""

    def write(self, data: bytes, /) -> int:
        """Takes all of `data`."""


class _Meter:
    """Counts and digests bytes, up to a limit."""

    def __init__(self, what: str, limit: int) -> None:
        self.size = 0
        self._what = what
        self._limit = limit
        self._digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.size += len(data)
        if self.size > self._limit:
            raise IntakeError(
                f"{self._what} bytes", f"more than {self._limit}", f"at most {self._limit}"
            )
        self._digest.update(data)
        return len(data)

    def sha256(self) -> str:
        return self._digest.hexdigest()


class _Ends:
    """Remembers the first and the last byte that is not blank."""

    def __init__(self) -> None:
        self.first = b""
        self.last = b""

    def write(self, data: bytes) -> None:
        if not self.first:
            self.first = data.lstrip(_BLANK)[:1]
        self.last = data[-64:].rstrip(_BLANK)[-1:] or self.last


class Intake:
    """One snapshot on its way in.

    Args:
        file: gets the zstd bytes.
        encoding: how the incoming bytes are compressed; zstd is kept as it is, the others
            are compressed anew.
        incoming_limit: the most bytes that may come in.
        raw_limit: the most bytes they may be when decompressed.
    """

    def __init__(
        self, file: Sink, encoding: Encoding, *, incoming_limit: int, raw_limit: int
    ) -> None:
        self._file = file
        self._incoming = _Meter("received", incoming_limit)
        self._raw = _Meter("decompressed", raw_limit)
        self._ends = _Ends()
        self._stored = self._incoming
        self._compressor: zstandard.ZstdCompressionObj | None = None
        if encoding is not Encoding.ZSTD:
            self._stored = _Meter("stored", incoming_limit + raw_limit)
            self._compressor = zstandard.ZstdCompressor(level=_LEVEL).compressobj()
        self._decoder = _decoder(encoding, _RawSink(self._take_raw))

    @property
    def received(self) -> int:
        """Bytes taken in so far, as they came."""
        return self._incoming.size

    @property
    def incoming_sha256(self) -> str:
        """Digest of the bytes as they came."""
        return self._incoming.sha256()

    def feed(self, data: bytes) -> None:
        """Takes the next bytes in.

        Raises:
            IntakeError: they exceed a limit or cannot be decompressed.
            OSError: the file does not take them.
        """
        self._incoming.write(data)
        try:
            self._decoder.write(data)
        except (zstandard.ZstdError, zlib.error) as error:
            raise IntakeError("compressed bytes", str(error), "a sound stream") from error
        if self._compressor is None:
            self._file.write(data)

    def finish(self) -> Facts:
        """The facts of the whole snapshot, after the last byte.

        Raises:
            OSError: the file does not take the last bytes.
        """
        if self._compressor is not None:
            self._write_compressed(self._compressor.flush())
        return Facts(self._raw.size, self._raw.sha256(), self._stored.size, self._stored.sha256())

    def check_document(self) -> None:
        """Refuses what cannot be a whole JSON object, which every snapshot is.

        Raises:
            IntakeError: the first or the last byte is not a brace.
        """
        if (self._ends.first, self._ends.last) != (b"{", b"}"):
            raise IntakeError(
                "decompressed bytes",
                f"{self._ends.first!r} … {self._ends.last!r}",
                "a whole .heapsnapshot: one JSON object, b'{' … b'}'",
            )

    def _take_raw(self, data: bytes) -> int:
        self._raw.write(data)
        self._ends.write(data)
        if self._compressor is not None:
            self._write_compressed(self._compressor.compress(data))
        return len(data)

    def _write_compressed(self, data: bytes) -> None:
        if data:
            self._stored.write(data)
            self._file.write(data)


class _RawSink:
    """Lets a decoder write into a method."""

    def __init__(self, take: "_Take") -> None:
        self.write = take


class _Take(Protocol):
    def __call__(self, data: bytes, /) -> int: ...


class _Gunzip:
    """Decompresses gzip, one bounded piece at a time; several members may follow one another."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._member = zlib.decompressobj(wbits=31)

    def write(self, data: bytes) -> int:
        size = len(data)
        while data:
            if self._member.eof:
                self._member = zlib.decompressobj(wbits=31)
            piece = self._member.decompress(data, _PIECE_BYTES)
            self._sink.write(piece)
            data = self._member.unconsumed_tail or self._member.unused_data
        return size


def _decoder(encoding: Encoding, sink: Sink) -> Sink:
    if encoding is Encoding.ZSTD:
        context = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
        return context.stream_writer(sink, write_size=_PIECE_BYTES)  # type: ignore[arg-type]
    return _Gunzip(sink) if encoding is Encoding.GZIP else sink
