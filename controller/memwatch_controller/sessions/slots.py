"""How many captures run at once: of one session, of one service, and in this controller.

People and rules ask the same `Slots`: a capture costs the process that it is taken of memory
and a pause, so a service must always have replicas that go on undisturbed.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext

from memwatch_controller.errors import ServiceBusyError

#: Captures that wait for one service; who comes then is told to come again.
MAX_WAITING_OF_SERVICE = 256


def service_limit(replicas: int, most: int) -> int:
    """How many replicas of a service may be captured at once: never all, where there are several.

    Args:
        replicas: how many there are.
        most: the settings' limit; 0: half of the replicas, rounded up.
    """
    wanted = most or (replicas + 1) // 2
    return max(1, min(wanted, replicas - 1))


class Slots:
    """Hands out places for captures and recordings, first come first served.

    Both share the places of a service. Of the controller's own each have as many: recordings last
    long, and would keep other services from their snapshots.

    Args:
        total: places of this controller.
        of_service: places of one service at most; 0: half of its replicas.
        service_seconds: how long a capture waits for a place of its service.
    """

    def __init__(self, total: int, of_service: int, service_seconds: float) -> None:
        self._total = asyncio.Semaphore(total)
        self._recordings = asyncio.Semaphore(total)
        self._of_service = of_service
        self._service_seconds = service_seconds
        self._doors: dict[str, asyncio.Semaphore] = {}
        self._users: dict[str, int] = {}
        self._services: dict[str, _Gate] = {}

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
    async def place(self, service: str, replicas: Callable[[], int]) -> AsyncIterator[None]:
        """One of the service's places and of the controller's, for the length of the block.

        Args:
            service: its name; "" for a process of no service, which only the total bounds.
            replicas: how many it has, now.

        Raises:
            ServiceBusyError: too many wait for that service, or it took too long.
        """
        async with self._place(self._total, service, replicas):
            yield

    @asynccontextmanager
    async def recording(self, service: str, replicas: Callable[[], int]) -> AsyncIterator[None]:
        """The same for a recording."""
        async with self._place(self._recordings, service, replicas):
            yield

    @asynccontextmanager
    async def _place(
        self, total: asyncio.Semaphore, service: str, replicas: Callable[[], int]
    ) -> AsyncIterator[None]:
        if not service:
            async with total:
                yield
            return
        gate = self._services.setdefault(service, _Gate())
        try:
            await self._enter(gate, service, replicas)
            try:
                async with total:
                    yield
            finally:
                gate.leave()
        finally:
            if gate.is_unused():
                self._services.pop(service, None)

    async def _enter(self, gate: "_Gate", service: str, replicas: Callable[[], int]) -> None:
        def limit() -> int:
            return service_limit(replicas(), self._of_service)

        if len(gate.waiting) >= MAX_WAITING_OF_SERVICE:
            raise ServiceBusyError(service, limit(), self._service_seconds)
        try:
            async with asyncio.timeout(self._service_seconds):
                await gate.enter(limit)
        except TimeoutError as error:
            raise ServiceBusyError(service, limit(), self._service_seconds) from error


class _Gate:
    """The places of one service; their number may change while some are taken."""

    def __init__(self) -> None:
        self.running = 0
        self.waiting: deque[tuple[asyncio.Future[None], Callable[[], int]]] = deque()

    def is_unused(self) -> bool:
        return not self.running and not self.waiting

    async def enter(self, limit: Callable[[], int]) -> None:
        if not self.waiting and self.running < limit():
            self.running += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append((turn, limit))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()  # it was our turn in the moment we gave up
            else:
                self.waiting.remove((turn, limit))
            raise

    def leave(self) -> None:
        self.running -= 1
        while self.waiting and self.running < self.waiting[0][1]():
            turn, _ = self.waiting.popleft()
            self.running += 1
            turn.set_result(None)
