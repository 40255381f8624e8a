"""The strings of a snapshot: raw JSON text and where each one ends, decoded on demand."""

import json
import mmap
import re
import tempfile
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memwatch_heap._backend import kernels

# Up to this much text stays in memory; more goes to an unlinked file, of which only the pages
# that somebody looks at come back.
_IN_MEMORY = 256 << 20
_ESCAPE = re.compile(r"(?<!\\)\\u([0-9a-f]{4})")


class StringTable:
    """Strings by index.

    Attributes:
        data: the text of the array's inside as in the file, quotes and commas included (uint8).
        closing: the place of each string's closing quote in `data` (uint32 or uint64).
    """

    def __init__(self, data: NDArray[np.uint8], closing: NDArray[Any]) -> None:
        self.data = data
        self.closing = closing

    @classmethod
    def of(cls, strings: Iterable[str]) -> "StringTable":
        """A table made from decoded strings, for heaps made by hand."""
        text, ends, length = [], [], 0
        for string in strings:
            quoted = json.dumps(string).encode()
            text.append(quoted)
            length += len(quoted) + 1
            ends.append(length - 2)
        data = np.frombuffer(bytearray(b",".join(text) + bytes(32)), np.uint8)
        return cls(data, np.array(ends, np.uint32))

    def __len__(self) -> int:
        return len(self.closing)

    def raw(self, index: int) -> bytes:
        """The JSON text between the quotes."""
        start = int(self.closing[index - 1]) + 1 if index else 0
        text = self.data[start : int(self.closing[index])].tobytes()
        return text[text.index(b'"') + 1 :]

    def __getitem__(self, index: int) -> str:
        """The decoded string; what is no text (half a surrogate pair) becomes U+FFFD."""
        raw = self.raw(index)
        if b"\\" not in raw:
            return raw.decode("utf-8", "replace")
        return _unescape(raw.decode("utf-8", "replace"))

    def find(self, *wanted: str) -> list[int]:
        """The first index of each string; -1 for one that the table does not have."""
        spellings = [_spellings(text) for text in wanted]
        needles = [needle for group in spellings for needle in group]
        found = np.full(len(needles), -1, np.int64)
        joined = np.frombuffer(bytearray(b"".join(needles) + bytes(1)), np.uint8)
        ends = np.cumsum([len(needle) for needle in needles]).astype(np.int64)
        if needles:
            kernels("strings").find_strings(self.data, self.closing, joined, ends, found)
        indexes = iter(found.tolist())
        hits = [[index for _, index in zip(group, indexes, strict=False)] for group in spellings]
        return [min((i for i in group if i >= 0), default=-1) for group in hits]


def _spellings(text: str) -> list[bytes]:
    """How a text may be written in JSON: V8 escapes all but ASCII in capitals, others do not."""
    escaped = json.dumps(text)[1:-1]
    capital = _ESCAPE.sub(lambda found: "\\u" + found[1].upper(), escaped)
    plain = json.dumps(text, ensure_ascii=False)[1:-1].encode("utf-8", "replace")
    return list(dict.fromkeys((escaped.encode(), capital.encode(), plain)))


def _unescape(text: str) -> str:
    try:
        value = str(json.loads(f'"{text}"', strict=False))
    except ValueError:  # a broken escape: show it as it is
        return text
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class TextStore:
    """Collects the text of the strings: in memory first, in an unlinked file when it grows."""

    def __init__(self, in_memory: int = _IN_MEMORY) -> None:
        self._limit = in_memory
        self._memory = bytearray()
        self._file: Any = None
        self.length = 0

    def add(self, text: memoryview) -> None:
        """Appends; OSError where the disk is full."""
        self.length += len(text)
        if self._file is not None:
            self._file.write(text)
            return
        self._memory += text
        if self.length > self._limit:
            self._file = tempfile.TemporaryFile(prefix="memwatch-strings-")  # noqa: SIM115
            self._file.write(self._memory)
            self._memory = bytearray()

    def finish(self) -> NDArray[np.uint8]:
        """All of it, and 32 zero bytes that kernels may read."""
        self.add(memoryview(bytes(32)))
        if self._file is None:
            return np.frombuffer(self._memory, np.uint8)
        self._file.flush()
        mapped = mmap.mmap(self._file.fileno(), self.length)
        self._file.close()
        return np.frombuffer(mapped, np.uint8)
