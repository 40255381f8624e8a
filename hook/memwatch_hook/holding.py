"""Holds the app back while a clone of it is walked, where it rewrites its memory too fast: `pace`.

Holding is waiting with the GIL, in pieces of milliseconds; between two of them the app's threads
run for the interpreter's switch interval, which is made shorter for just that long. Nothing else in
between may let go of the GIL, or they run for two.
"""

from __future__ import annotations

import sys
import time
from select import POLLIN

from . import walker
from .originals import poll
from .pace import Pace

FAULT_BYTES = 4096  # what one page fault copies
LOOK_MILLIS = 5  # between two looks while the app is not held
RUN_SECONDS = 0.001  # an app that is held back runs for this long between two pieces
LOOKS_SECONDS = 0.1  # after that others are served, too

_PROCESS_CLOCK = 2  # of the kernel's ids of another process's clocks: its CPU time


class Holding:
    """One clone's: to be gone on with as long as the child lives."""

    def __init__(self, pid: int, status: int, pace: Pace) -> None:
        """Begins right after the clone; `status` becomes readable when the child ends."""
        assert walker.IN_C is not None
        self._status = status
        self._pace = pace
        self._clock = (~pid << 3) | _PROCESS_CLOCK
        self._faults = walker.IN_C.faults()
        self._ending = poll()
        self._ending.register(status, POLLIN)

    def go_on(self) -> None:
        """Looks again and again for a moment, and holds. The child has not been waited for yet."""
        until = time.monotonic() + LOOKS_SECONDS
        was_held = False
        while not self._wait(was_held) and time.monotonic() < until:
            was_held = self._look()

    def _wait(self, was_held: bool) -> bool:
        """Lets the app run: for a moment where it was just held. Whether the child has ended."""
        interval = sys.getswitchinterval()
        if not was_held or interval <= RUN_SECONDS:
            return bool(self._ending.poll(0 if was_held else LOOK_MILLIS))
        sys.setswitchinterval(RUN_SECONDS)
        try:
            return bool(self._ending.poll(0))
        finally:
            if sys.getswitchinterval() == RUN_SECONDS:  # else the app has just set its own
                sys.setswitchinterval(interval)

    def _look(self) -> bool:
        """Whether the app was held."""
        assert walker.IN_C is not None
        written = (walker.IN_C.faults() - self._faults) * FAULT_BYTES
        try:
            walked = time.clock_gettime(self._clock) * 1000
        except OSError:  # it has just ended
            return False
        millis = self._pace.hold_millis(written, walked)
        if millis:
            began = time.perf_counter()
            walker.IN_C.hold(self._status, int(millis))
            self._pace.held((time.perf_counter() - began) * 1000)
        return millis > 0

    @property
    def longest_millis(self) -> float:
        """The longest piece."""
        return self._pace.longest_millis

    @property
    def held_millis(self) -> float:
        """All pieces."""
        return self._pace.held_millis

    @property
    def note(self) -> str:
        """What was done; empty where nothing was."""
        pace = self._pace
        if not pace.pieces:
            return ""
        return (
            f"held the app back, for it rewrites its memory: {pace.held_millis:.0f} ms in "
            f"{pace.pieces} pieces of at most {pace.longest_millis:.0f} ms"
        )
