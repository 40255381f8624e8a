"""Kind `allocations`: what was allocated and is still there, by stack; with tracemalloc.

Where the app has tracemalloc on already it is used as it is and left on, and what there was
before the recording is the other side of the comparison. Only the C module is used: the
Python one would import a dozen others into the app.
"""

from __future__ import annotations

import _tracemalloc
import json
import os
import time

from memwatch_hook import wire
from memwatch_hook.originals import sleep

from .base import Kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    #: A stack as tracemalloc keeps it: (file, line), the innermost frame first.
    Stack = tuple[tuple[str, int], ...]

MAX_STACKS = 50_000  # of the document; the least are left out
STACK_BYTES = 120  # of a stack in the document, about
# tracemalloc's own tables: beyond this the recording ends early. Reading them stops the app for
# about a second a million traces, of 100 bytes and more each.
MAX_TABLE_BYTES = 256 << 20
TRACE_BYTES = 200  # of one trace as Python objects, while they are read: as much as in the table
SLICE = 2_000  # traces added up between two breaths of the app
PROBES, PROBE_ROUNDS = 500, 5  # allocations to time one

# What we allocate ourselves meanwhile. Not all of our files: an app's requests may pass through
# our middleware.
_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_OWN = tuple(os.path.join(_FOLDER, name) for name in ("server.py", "wire.py", "profiles" + os.sep))


class Allocations(Kind):
    """Traces are read when it starts (where there are any) and when it ends."""

    def start(self) -> None:
        """Switches tracing on, or takes what the app traces already for the first side."""
        self._ours = False
        self._without_nanos: float | None = None
        self._before: dict[Stack, list[int]] = {}
        if _tracemalloc.is_tracing():
            frames = _tracemalloc.get_traceback_limit()
            self.notes.append(f"tracemalloc was on in the app, with {frames} frames: it stays on")
            self._before = self._traces()
        else:
            self.check_room(2 * MAX_TABLE_BYTES // 8)
            self._without_nanos = _allocation_nanos()
            self.timed(lambda: _tracemalloc.start(self.order.frames))
            self._ours = True
        self._with_nanos = _allocation_nanos()
        self._frames = _tracemalloc.get_traceback_limit()

    def look(self) -> str:
        """Ends early where the tables of tracemalloc, or the app, take too much memory."""
        if not _tracemalloc.is_tracing():
            return "the app switched tracemalloc off"
        table = _tracemalloc.get_tracemalloc_memory()
        self.extra_memory_bytes = max(self.extra_memory_bytes, table)
        if self._ours and table > MAX_TABLE_BYTES and not self.order.force:
            return f"tracemalloc's tables have {table} bytes, the limit is {MAX_TABLE_BYTES}"
        return self.short_of_memory()

    def finish(self) -> Iterator[bytes]:
        """Reads the traces, switches tracing off where it was not on, and tells both sides."""
        if not _tracemalloc.is_tracing():
            raise wire.RequestError(
                wire.FAILED, "cannot finish the recording: the app switched tracemalloc off"
            )
        try:
            after = self._traces()
        finally:
            self.undo()
        self._tell_overhead()
        return _document(self._before, after, self._facts(), self._stacks_kept())

    def undo(self) -> None:
        """Switches tracing off, if it was we who switched it on."""
        ours, self._ours = getattr(self, "_ours", False), False
        if ours:
            _tracemalloc.stop()

    def _traces(self) -> dict[Stack, list[int]]:
        """Count and bytes by stack, without what we allocated ourselves."""
        table = _tracemalloc.get_tracemalloc_memory()
        self.extra_memory_bytes = max(self.extra_memory_bytes, 2 * table)
        traces = self.timed(_tracemalloc._get_traces)
        found: dict[Stack, list[int]] = {}
        while traces:
            for trace in traces[-SLICE:]:
                row = found.get(trace[2])
                if row is None:
                    row = found[trace[2]] = [0, 0]
                row[0] += 1
                row[1] += trace[1]
            del traces[-SLICE:]
            sleep(0)
        return {stack: row for stack, row in found.items() if not _is_own(stack)}

    def _facts(self) -> dict[str, Any]:
        return {
            "frames": self._frames,
            "was_on": self._without_nanos is None,
            "allocation_nanos_without": self._without_nanos,
            "allocation_nanos_with": self._with_nanos,
            "table_bytes": self.extra_memory_bytes // 2,
        }

    def _stacks_kept(self) -> int:
        return min(MAX_STACKS, self.order.max_bytes // STACK_BYTES)

    def _tell_overhead(self) -> None:
        said = f"a small allocation took {self._with_nanos:.0f} ns while traced"
        if self._without_nanos is not None:
            said += f" instead of {self._without_nanos:.0f}"
        self.notes.append(f"overhead: {said}; the traces took {self.extra_memory_bytes // 2} bytes")


def _is_own(stack: Stack) -> bool:
    return any(frame[0].startswith(_OWN) for frame in stack)


def _document(
    before: dict[Stack, list[int]],
    after: dict[Stack, list[int]],
    facts: dict[str, Any],
    limit: int,
) -> Iterator[bytes]:
    """The JSON document: files and frames by number, then a row for each stack."""
    stacks = sorted(
        before.keys() | after.keys(),
        key=lambda stack: after.get(stack, (0, 0))[1] + before.get(stack, (0, 0))[1],
        reverse=True,
    )
    files: dict[str, int] = {}
    frames: dict[tuple[str, int], int] = {}
    rows = []
    for stack in stacks[:limit]:
        numbers = []
        for frame in stack:
            files.setdefault(frame[0], len(files))
            numbers.append(frames.setdefault(frame, len(frames)))
        rows.append([*before.get(stack, (0, 0)), *after.get(stack, (0, 0)), numbers])
    document = {
        "format": 1,
        "kind": "allocations",
        **facts,
        "before": _total(before),
        "after": _total(after),
        "stack_count": len(stacks),
        "files": list(files),
        "frame_table": [[files[name], line] for name, line in frames],
        "stacks": rows,
    }
    encoder = json.JSONEncoder(separators=(",", ":"))
    for piece in encoder.iterencode(document):
        yield piece.encode("utf-8", "replace")


def _total(side: dict[Stack, list[int]]) -> dict[str, int]:
    return {
        "count": sum(row[0] for row in side.values()),
        "size_bytes": sum(row[1] for row in side.values()),
    }


def _allocation_nanos() -> float:
    """How long one small allocation takes now: the best of some rounds."""
    best = 1e9
    for _ in range(PROBE_ROUNDS):
        began = time.perf_counter()
        kept = [bytearray(8) for _ in range(PROBES)]
        best = min(best, time.perf_counter() - began)
        del kept
    return best / PROBES * 1e9
