"""Traces allocations for the time of a session: from its first heap dump on, until its last.

It costs the app: every allocation is slower, and each traced block takes memory. So it is on for a
lease only, which each dump renews; it ends by itself when the lease is over, when its tables or the
app run short of memory, and in every forked child at once. A tracemalloc that the app switched on
itself is used as it is, and left alone.
"""

from __future__ import annotations

import time

from . import cgroup, register_at_fork, wire
from .originals import new_lock, sleep, start_new_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_FRAMES = 64  # of a stack: as many as a dump tells
MAX_SECONDS = 26 * 3600  # a session of a day, and some patience
MAX_TABLE_BYTES = 256 << 20  # of tracemalloc's own tables: some two million traces
KEEP_FREE_BYTES = 48 << 20  # below the container's limit: the app needs it more
LOOK_SECONDS = 1.0


class Wish:
    """What a `heap` request says of tracing: so many frames for so long; 0 seconds: it ends."""

    def __init__(self, option: Any) -> None:
        """Reads the option `trace`.

        Raises:
            RequestError: it is not what it may be.
        """
        found = option if type(option) is dict else {}
        self.frames: int = found.get("frames", 0)
        self.seconds: int = found.get("seconds", -1)
        if not _is_within(self.frames, 1, MAX_FRAMES) or not _is_within(
            self.seconds, 0, MAX_SECONDS
        ):
            raise wire.RequestError(
                wire.BAD_REQUEST,
                "cannot take a snapshot: 'trace' has 'frames' "
                f"from 1 to {MAX_FRAMES} and 'seconds' from 0 to {MAX_SECONDS}",
            )


class Tracing:
    """The lease of this process."""

    def __init__(self) -> None:
        self._lock = new_lock()
        self._ours = False
        self._watched = False
        self._until = 0.0
        self._ended = ""  # why the last lease ended before its time

    def follow(self, wish: Wish) -> str:
        """Does what a request wishes; what came of it, in a sentence."""
        return self.end() if wish.seconds == 0 else self.begin(wish.frames, wish.seconds)

    def begin(self, frames: int, seconds: int) -> str:
        """Begins or renews the lease; never raises."""
        import _tracemalloc

        with self._lock:
            if self._ours and _tracemalloc.is_tracing():
                self._until = time.monotonic() + seconds
                return f"allocations are traced for {seconds} s more, or until the last snapshot"
            if _tracemalloc.is_tracing():
                return "tracemalloc was on in the app: it is used as it is, and stays on"
            why = self._ended or _short_of_memory(2 * KEEP_FREE_BYTES)
            self._ended = ""
            if why:
                return f"allocations are not traced: {why}"
            _tracemalloc.start(frames)
            self._ours, self._until = True, time.monotonic() + seconds
            if not self._watched:
                self._watched = True
                start_new_thread(self._watch, ())
        return (
            f"allocations are traced from here on, {frames} frames each: every allocation is slower"
        )

    def end(self, why: str = "") -> str:
        """Ends the lease, if there is one: the app is as it was; at any time."""
        with self._lock:
            ended, self._ended = self._ended, why
            if not self._ours:
                return f"allocations were no longer traced: {ended}" if ended else ""
            import _tracemalloc

            self._ours = False
            table = _tracemalloc.get_tracemalloc_memory()
            _tracemalloc.stop()
        return f"allocations are traced no more; the traces took {table} bytes"

    def forget(self) -> None:
        """In a forked child of the app: nobody traces there for us."""
        self._lock = new_lock()
        self._watched = False
        if self._ours:
            self.end()

    def _watch(self) -> None:
        while True:
            sleep(LOOK_SECONDS)
            with self._lock:
                if not self._ours:
                    self._watched = False
                    return
            why = self._must_end()
            if why:
                self.end(why)

    def _must_end(self) -> str:
        import _tracemalloc

        table = _tracemalloc.get_tracemalloc_memory()
        if table > MAX_TABLE_BYTES:
            return f"the traces took {table} bytes, the limit is {MAX_TABLE_BYTES}"
        if time.monotonic() > self._until:
            return "nobody asked for it any more"
        return _short_of_memory(KEEP_FREE_BYTES)


def _short_of_memory(needed: int) -> str:
    memory = cgroup.Memory()
    left = memory.headroom()
    if left is None or left >= needed:
        return ""
    return f"{left} bytes are left below the container's limit, {needed} are kept free"


def _is_within(value: object, least: int, greatest: int) -> bool:
    return type(value) is int and least <= value <= greatest


lease = Tracing()
register_at_fork(lease.forget)
