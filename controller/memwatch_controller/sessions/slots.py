"""How many captures run at once: of one session, and in this controller."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext


class Slots:
    """Hands out places for captures, first come first served."""

    def __init__(self, total: int) -> None:
        self._total = asyncio.Semaphore(total)
        self._doors: dict[str, asyncio.Semaphore] = {}
        self._users: dict[str, int] = {}

    @asynccontextmanager
    async def door(self, session_id: str, places: int, *, holds_one: bool) -> AsyncIterator[None]:
        """One of a session's `places`, for the length of the block.

        A capture that was begun before the controller was restarted `holds_one` already,
        in the session's record, and passes.
        """
        if session_id not in self._doors:
            self._doors[session_id] = asyncio.Semaphore(places)
        self._users[session_id] = self._users.get(session_id, 0) + 1
        try:
            async with nullcontext() if holds_one else self._doors[session_id]:
                yield
        finally:
            self._users[session_id] -= 1
            if not self._users[session_id]:
                del self._users[session_id], self._doors[session_id]

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """One of the controller's places, for the length of the block."""
        async with self._total:
            yield
