"""Kind `native`: every allocation of the process, with memray, which the app must have installed.

memray writes a file of its own; it lies in the hook's directory until it is sent, and is removed
in any case.
"""

from __future__ import annotations

import os
import time
from importlib import import_module

from memwatch_hook import place, wire

from .base import Kind, has_package, may_import_threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

PIECE_BYTES = 256 << 10
# memray holds buffers of its own, and with `aggregate` a table of stacks.
NEEDED_BYTES = 32 << 20


class Native(Kind):
    """A memray Tracker for a while."""

    content_type = "application/vnd.memray"
    extension = "memray.bin"

    def __init__(self, order: Any) -> None:
        super().__init__(order)
        self._tracker: Any = None
        self._path = ""

    def start(self) -> None:
        """Starts memray's tracker in every thread of the app."""
        memray = self._import()
        self.check_room(NEEDED_BYTES)
        if not place.make_directory():
            raise wire.RequestError(
                wire.FAILED, "cannot record a profile: the hook's directory cannot be written"
            )
        place.tidy()
        name = f"{place.RUNTIME}-{os.getpid()}-{place.start_ticks() or 0}{place.RECORDING}"
        self._path = os.path.join(place.directory(), name)
        place.remove(self._path)
        options = {
            "native_traces": self.order.native_traces,
            "trace_python_allocators": self.order.python_allocator,
            "file_format": memray.FileFormat.AGGREGATED_ALLOCATIONS
            if self.order.aggregate
            else memray.FileFormat.ALL_ALLOCATIONS,
        }
        destination = memray.FileDestination(self._path, overwrite=True, compress_on_exit=False)
        tracker = memray.Tracker(destination=destination, **options)
        try:
            self.timed(tracker.__enter__)
        except Exception as cause:  # another one is at work in the app
            raise wire.RequestError(
                wire.BUSY, f"cannot record a profile: memray says: {cause}"
            ) from cause
        self._tracker = tracker
        os.chmod(self._path, 0o600)
        self.notes.append(f"memray {memray.__version__}")

    def look(self) -> str:
        """Ends early where the file grows too large."""
        size = self._size()
        if size >= self.order.max_bytes:
            return f"the file has {size} bytes, the limit is {self.order.max_bytes}"
        return self.short_of_memory()

    def finish(self) -> Iterator[bytes]:
        """Ends the tracker, and reads its file."""
        self.timed(self._end)
        self.notes.append(
            "overhead: memray slows allocations down for as long as it records; each is written "
            f"down ({self._size()} bytes)"
        )
        return self._pieces()

    def undo(self) -> None:
        """Ends the tracker and removes its file."""
        try:
            self._end()
        finally:
            path, self._path = self._path, ""
            if path:
                place.remove(path)

    def forget(self) -> None:
        """In a forked child memray is off already, and the file is the parent's."""
        self._tracker, self._path = None, ""

    def _import(self) -> Any:
        if not has_package("memray"):
            raise wire.RequestError(
                wire.MISSING,
                "cannot record a profile: the app has no memray; install it beside the app "
                "(pip install memray) and restart it, or record 'allocations' instead",
            )
        if not may_import_threading():
            raise wire.RequestError(
                wire.FAILED,
                "cannot record a profile: memray needs `threading`, which the app itself must load "
                "first; import it there, or record 'allocations' instead",
            )
        began = time.perf_counter()
        memray = import_module("memray")

        self.notes.append(f"importing memray took {(time.perf_counter() - began) * 1000:.0f} ms")
        return memray

    def _end(self) -> None:
        tracker, self._tracker = self._tracker, None
        if tracker is not None:
            tracker.__exit__(None, None, None)

    def _size(self) -> int:
        try:
            return os.stat(self._path).st_size
        except OSError:
            return 0

    def _pieces(self) -> Iterator[bytes]:
        with open(self._path, "rb") as file:
            while True:
                piece = file.read(PIECE_BYTES)
                if not piece:
                    return
                yield piece
