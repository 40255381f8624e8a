"""Memory for analyses that run at once: what one was promised, no other is.

That memory is free is seen by looking; but an analysis that has just begun has taken nothing
yet, so two that look at the same moment would both see room for one. What is promised is
therefore written down (`Ledger`) until the analysis ends, in full even where it has taken a
part of it already: better one after the other than both killed.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import Enum

from memwatch_controller.analysis.guard import free_bytes


class Answer(Enum):
    """What a ledger says to somebody who wants memory."""

    YES = "yes"
    LATER = "later"  # others hold it: ask again when one of them has ended
    NO = "no"  # the machine, or the settings, have too little


class Ledger:
    """Promises of memory on one machine; pure."""

    def __init__(self) -> None:
        self._held: dict[int, int] = {}
        self._next = 0

    @property
    def held_bytes(self) -> int:
        """Sum of all promises."""
        return sum(self._held.values())

    def ask(self, needed: int, allowed: int, free: int) -> Answer:
        """Whether so much can be promised now.

        Args:
            needed: bytes that are wanted.
            allowed: the most that one may have.
            free: what is free now on the machine.
        """
        if needed > allowed:
            return Answer.NO
        if needed <= free - self.held_bytes:
            return Answer.YES
        return Answer.LATER if self._held else Answer.NO

    def promise(self, needed: int) -> int:
        """Writes a promise down; its number."""
        self._next += 1
        self._held[self._next] = needed
        return self._next

    def release(self, number: int) -> None:
        """Takes a promise back."""
        del self._held[number]


class NoRoomError(Exception):
    """There is too little memory, and nobody here will give any back."""

    def __init__(self, needed: int, allowed: int, free: int) -> None:
        super().__init__(f"{needed} bytes are needed, {allowed} allowed, {free} free")
        self.needed_bytes = needed
        self.allowed_bytes = allowed
        self.free_bytes = free


class Room:
    """Hands out memory, first come first served; belongs to one loop."""

    def __init__(self, free: Callable[[], int] = free_bytes) -> None:
        self._free = free
        self._ledger = Ledger()
        self._turn = asyncio.Lock()
        self._released = asyncio.Event()

    @property
    def held_bytes(self) -> int:
        """Memory that is promised now."""
        return self._ledger.held_bytes

    @asynccontextmanager
    async def held(self, needed: int, allowed: int) -> AsyncIterator[None]:
        """Memory for the length of the block; waits while others of this program hold it.

        Raises:
            NoRoomError: the settings allow less, or the machine has less and nobody here
                holds any of it.
        """
        number = await self._take(needed, allowed)
        try:
            yield
        finally:
            self._ledger.release(number)
            self._released.set()

    async def _take(self, needed: int, allowed: int) -> int:
        if needed > allowed:  # no need to stand in line for that
            raise NoRoomError(needed, allowed, self._free())
        async with self._turn:
            while True:
                free = self._free()
                answer = self._ledger.ask(needed, allowed, free)
                if answer is Answer.YES:
                    return self._ledger.promise(needed)
                if answer is Answer.NO:
                    raise NoRoomError(needed, allowed, free)
                self._released.clear()
                await self._released.wait()
