"""What every kind of recording is, and what it may cost."""

from __future__ import annotations

import sys
import time
from importlib.machinery import PathFinder

from memwatch_hook import cgroup, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from .order import Order

# A recording ends when so little is left below the container's limit: the app needs it more.
KEEP_FREE_BYTES = 48 << 20


def has_package(name: str) -> bool:
    """Whether the app can import a package; nothing is imported to find out."""
    # Not importlib.util, which imports `threading` from Python 3.12 on: see may_import_threading.
    try:
        return name in sys.modules or PathFinder.find_spec(name) is not None
    except Exception:
        return False


def may_import_threading() -> bool:
    """Whether a package that imports `threading` may be imported by a thread of ours.

    Before Python 3.13, the thread that imports it first is taken for the main thread, for ever:
    `threading.main_thread()` would be wrong, and the app would wait for that thread at its end.
    """
    return "threading" in sys.modules or sys.version_info >= (3, 13)


class Kind:
    """One kind of recording; its methods are called by one thread, in this order.

    `start`, `look` every quarter of a second, `finish`; `undo` in any case and at any time, at
    least once. `forget` instead of all in a forked child.
    """

    content_type = "application/json"
    extension = "json"

    def __init__(self, order: Order) -> None:
        self.order = order
        self.pause_millis = 0.0
        self.extra_memory_bytes = 0
        self.notes: list[str] = []
        self._memory = cgroup.Memory()

    def start(self) -> None:
        """Begins to record.

        Raises:
            RequestError: it cannot be recorded here.
        """

    def look(self) -> str:
        """Why the recording must end now; empty: it goes on."""
        return self.short_of_memory()

    def finish(self) -> Iterator[bytes]:
        """Ends the recording; the artifact in pieces."""
        raise NotImplementedError

    def undo(self) -> None:
        """Puts the app back as it was."""

    def forget(self) -> None:
        """Puts a forked child as the app was before."""
        self.undo()

    def short_of_memory(self) -> str:
        """Says so where little is left below the container's limit; empty: there is enough."""
        left = None if self.order.force else self._memory.headroom()
        if left is None or left >= KEEP_FREE_BYTES:
            return ""
        return f"{left} bytes are left below the limit of {self._memory.limit}"

    def check_room(self, needed: int) -> None:
        """Refuses what would not fit below the container's limit.

        Raises:
            RequestError: `HEADROOM`, with both numbers.
        """
        left = None if self.order.force else self._memory.headroom()
        if left is not None and left < needed + KEEP_FREE_BYTES:
            raise wire.RequestError(
                wire.HEADROOM,
                f"cannot record a profile: it needs about {needed} bytes and keeps "
                f"{KEEP_FREE_BYTES} free, {left} are left; raise the limit, or force it",
            )

    def timed(self, call: Callable[[], Any]) -> Any:
        """Does what stops the app; the longest such call is the pause."""
        began = time.perf_counter()
        answer = call()
        millis = (time.perf_counter() - began) * 1000
        self.pause_millis = max(self.pause_millis, millis)
        return answer
