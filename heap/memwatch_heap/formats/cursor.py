"""A window over a stream of bytes: what a tokenizer stands on."""

from collections.abc import Callable

import numpy as np

from memwatch_heap._backend import kernels
from memwatch_heap.errors import SnapshotError
from memwatch_heap.formats.source import Source
from memwatch_heap.formats.states import END, POS, STATUS

_BLOCK = 1 << 20
# Kernels read up to this far behind the end without looking.
_PAD = 64
_WHITE = b" \t\r\n"

# Told after each block: packed bytes read so far, and of how many (None for a stream).
Progress = Callable[[int, int | None], None]


class Cursor:
    """Bytes `buffer[pos:end]` of a source, refilled on demand.

    Attributes:
        buffer: uint8, with 64 zero bytes behind `end`.
        pos: the next byte.
        end: behind the last byte that was read.
    """

    def __init__(self, source: Source, progress: Progress | None = None) -> None:
        self.source = source
        self.buffer = np.zeros(2 * _BLOCK + _PAD, np.uint8)
        self.pos = 0
        self.end = 0
        self._before = 0
        self._progress = progress

    def offset(self, pos: int) -> int:
        """The place in the raw stream of a place in the buffer."""
        return self._before + pos

    def fail(self, problem: str, pos: int | None = None) -> SnapshotError:
        """An error that names the place in the raw stream."""
        where = self.offset(self.pos if pos is None else pos)
        return SnapshotError(self.source.name, f"{problem}, at byte {where}")

    def fill(self) -> bool:
        """Moves the rest to the front and reads on; False at the end of the stream."""
        rest = self.end - self.pos
        if rest > len(self.buffer) - _BLOCK - _PAD:
            raise self.fail(f"{rest} bytes without a complete row")
        self.buffer[:rest] = self.buffer[self.pos : self.end].copy()
        self._before += self.pos
        self.pos, self.end = 0, rest
        count = self.source.readinto(self.buffer.data[rest : rest + _BLOCK])
        self.end += count
        self.buffer[self.end : self.end + _PAD] = 0
        if self._progress is not None:
            self._progress(self.source.consumed, self.source.size)
        return count > 0

    def peek(self) -> int:
        """The next byte that is no white space, -1 at the end."""
        while True:
            rest = self.buffer[self.pos : self.end].tobytes()
            kept = rest.lstrip(_WHITE)
            self.pos += len(rest) - len(kept)
            if kept:
                return kept[0]
            if not self.fill():
                return -1

    def expect(self, wanted: bytes, what: str) -> None:
        """Steps over one byte that must come next."""
        found = self.peek()
        if found < 0:
            raise self.fail(f"truncated before {what}")
        if found != wanted[0]:
            raise self.fail(f"{wanted.decode()!r} expected for {what}, not {chr(found)!r}")
        self.pos += 1

    def value(self, what: str, limit: int) -> bytes | None:
        """The text of the JSON value that comes next, None where it is longer than `limit`.

        The cursor stands behind it either way; nesting is counted, not recursed into.
        """
        if self.peek() < 0:
            raise self.fail(f"truncated before {what}")
        kept, length = bytearray(), 0
        state = np.zeros(8, np.int64)
        while True:
            start = self.pos
            state[POS] = start
            kernels("tokens").skip_value(self.buffer, self.end, state)
            self.pos = int(state[POS])
            length += self.pos - start
            if length <= limit:
                kept += self.buffer[start : self.pos].tobytes()
            if state[STATUS] == END:
                return bytes(kept) if length <= limit else None
            if not self.fill():
                raise self.fail(f"truncated in {what}")
