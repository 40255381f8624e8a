"""Kind `types`: how many objects of each type there are, and how large; once, or before and after.

By pympler where the app has it, because it finds what the collector does not track (strings,
numbers); else from the collector's own list.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from importlib import import_module

from memwatch_hook import classes, wire
from memwatch_hook.originals import sleep

from .base import Kind, has_package, may_import_threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

SLICE = 4_000  # objects counted between two breaths of the app: a millisecond or so
MAX_ROWS = 20_000  # of one look: a process has some thousand types
ROW_BYTES = 160  # of a row in JSON, about
# What pympler holds for each of the interpreter's blocks: lists and sets of all objects.
PYMPLER_BYTES = 200


class Types(Kind):
    """Counts at the start, and again at the end where a duration is given."""

    def start(self) -> None:
        """Takes the first look."""
        self._method = self._choose()
        self.notes.append(f"method: {self._method}")
        self._looks = [self._look()]

    def finish(self) -> Iterator[bytes]:
        """Takes the second look, if there is one; the document."""
        if self.order.seconds:
            self._looks.append(self._look())
        document = {"format": 1, "kind": "types", "method": self._method, "looks": self._looks}
        yield json.dumps(document, separators=(",", ":")).encode("utf-8", "replace")

    def _choose(self) -> str:
        if not has_package("pympler") or not may_import_threading():
            return "gc"
        try:
            self.check_room(sys.getallocatedblocks() * PYMPLER_BYTES)
        except wire.RequestError as cause:
            self.notes.append(f"pympler was not used: {cause}"[:200])
            return "gc"
        return "pympler"

    def _look(self) -> dict[str, Any]:
        if self.order.gc:
            self.timed(gc.collect)
        at = time.time()
        rows = self._rows()
        rows.sort(key=lambda row: (row[2], row[1]), reverse=True)
        kept = rows[: min(MAX_ROWS, self.order.max_bytes // ROW_BYTES // 2)]
        return {
            "time_millis": int(at * 1000),
            "count": sum(row[1] for row in rows),
            "size_bytes": sum(row[2] for row in rows),
            "types": len(rows),
            "rows": kept,
        }

    def _by_collector(self) -> list[list[Any]]:
        objects = self.timed(gc.get_objects)
        self.extra_memory_bytes = max(self.extra_memory_bytes, sys.getsizeof(objects))
        found: dict[int, list[Any]] = {}
        # From the end, so that what is counted is let go of.
        while objects:
            _count(objects[-SLICE:], found)
            del objects[-SLICE:]
            sleep(0)
        return [[classes.class_name(row[0]), row[1], row[2]] for row in found.values()]

    def _rows(self) -> list[list[Any]]:
        if self._method == "pympler":
            try:
                return self._by_pympler()
            except Exception as cause:  # noqa: BLE001 - it asks the app's own objects for their class
                self.notes.append(f"pympler was not used: {type(cause).__name__}: {cause}"[:200])
                self._method = "gc"
        return self._by_collector()

    def _by_pympler(self) -> list[list[Any]]:
        # Like this the package stays no dependency of ours, for tools that look too.
        muppy, summary = import_module("pympler.muppy"), import_module("pympler.summary")
        self.timed(gc.get_objects)  # what of it stops the app; the rest is Python, which gives way
        objects = muppy.get_objects()
        self.extra_memory_bytes = max(self.extra_memory_bytes, 3 * sys.getsizeof(objects))
        return [[str(name)[:200], count, size] for name, count, size in summary.summarize(objects)]


def _count(objects: list[object], found: dict[int, list[Any]]) -> None:
    for thing in objects:
        cls = type(thing)
        row = found.get(id(cls))
        if row is None:
            row = found[id(cls)] = [cls, 0, 0, classes.sizer(cls)]
        row[1] += 1
        try:
            row[2] += row[3](thing)
        except Exception:
            pass
