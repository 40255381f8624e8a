"""What sessions stand on, in memory: an engine that a test drives by hand, and captures."""

import asyncio
import heapq
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from memwatch_controller import model
from memwatch_controller.errors import ControllerError
from memwatch_controller.sessions.engine import Handler, Scheduled, Work, WorkState
from memwatch_controller.sessions.ports import OnProgress
from memwatch_controller.store.metadata import Metadata


class Clock:
    """Milliseconds that a test moves."""

    def __init__(self, now: int = 1_000_000) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


class HandEngine:
    """An engine whose work is done when a test says so; what it keeps outlives a "crash"."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._handler: Handler | None = None
        self.waiting: dict[Work, model.Millis] = {}
        self.ended: dict[Work, WorkState] = {}

    async def start(self, handler: Handler) -> None:
        self._handler = handler

    async def stop(self) -> None:
        pass

    async def schedule(self, scheduled: Collection[Scheduled]) -> None:
        for one in scheduled:
            if one.work not in self.ended:
                self.waiting.setdefault(one.work, one.at)

    async def cancel(self, work: Collection[Work]) -> None:
        for one in work:
            if self.waiting.pop(one, None) is not None:
                self.ended[one] = WorkState.STOPPED

    async def states(self, work: Collection[Work]) -> Mapping[Work, WorkState]:
        return {
            one: WorkState.WAITING
            if one in self.waiting
            else self.ended.get(one, WorkState.UNKNOWN)
            for one in work
        }

    async def forget_done(self, before: model.Millis) -> int:
        return 0

    def due(self) -> list[Work]:
        """The work that is due, the earliest first."""
        found = [(at, work.id, work) for work, at in self.waiting.items() if at <= self._clock()]
        heapq.heapify(found)
        return [heapq.heappop(found)[2] for _ in range(len(found))]

    async def perform(self, work: Work) -> None:
        """Does one piece of work to its end."""
        assert self._handler is not None
        following = await self._handler(work)
        if following is not None:
            await self.schedule([following])
        if self.waiting.pop(work, None) is not None:
            self.ended[work] = WorkState.DONE

    async def crash_in(self, work: Work, steps: int) -> None:
        """Begins a piece of work and drops it after so many turns of the loop."""
        task = asyncio.create_task(self.perform(work))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def perform_due(self) -> None:
        """Does everything that is due, at once as an engine does, and what follows from it."""
        while due := self.due():
            await asyncio.gather(*(self.perform(work) for work in due))


@dataclass
class MemoryCaptures:
    """Captures that are taken at once; idempotent by request id as the real ones are.

    Attributes:
        taken: how often each request id was really captured.
        failures: what the next captures answer instead, in order.
        delay: turns of the loop that a capture takes.
        meeting: where captures wait for one another, so that they run at once.
    """

    save: Metadata
    clock: Clock
    taken: dict[str, int] = field(default_factory=dict)
    orders: list[model.CaptureOrder] = field(default_factory=list)
    failures: list[ControllerError] = field(default_factory=list)
    discarded: list[tuple[str, str]] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    delay: int = 0
    meeting: asyncio.Barrier | None = None
    running: int = 0
    most_running: int = 0

    async def capture(
        self, agent_address: str, order: model.CaptureOrder, on_progress: OnProgress
    ) -> model.Snapshot:
        self.orders.append(order)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            on_progress(model.CaptureProgress(model.CaptureStage.CAPTURING, 1, 2))
            for _ in range(self.delay):
                await asyncio.sleep(0)
            if self.meeting is not None:
                await self.meeting.wait()
            if self.failures:
                raise self.failures.pop(0)
            return await self._store(order)
        finally:
            self.running -= 1

    async def _store(self, order: model.CaptureOrder) -> model.Snapshot:
        snapshot = model.Snapshot(
            id=f"n-{order.request_id}"[:128],
            request_id=order.request_id,
            target_id=order.target_id,
            session_id=order.session_id,
            phase=order.phase,
            capture_time=self.clock(),
        )
        found = await self.save.find_snapshot_by_request(order.request_id)
        if found is None:
            self.taken[order.request_id] = self.taken.get(order.request_id, 0) + 1
            found = await self.save.insert_snapshot(snapshot)
        return found

    async def discard_spooled(self, agent_address: str, session_id: str) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.discarded.append((agent_address, session_id))

    async def delete(self, snapshot_id: str) -> None:
        self.deleted.append(snapshot_id)
        await self.save.delete_snapshot(snapshot_id)


@dataclass
class MemoryAnalysis:
    """Comparisons that are known at once."""

    compared: list[tuple[str, str, tuple[str, ...]]] = field(default_factory=list)
    failures: list[ControllerError] = field(default_factory=list)

    async def compare(
        self,
        session_id: str,
        target_id: str,
        snapshot_ids: Sequence[str],
        on_progress: model.OnAnalysis | None = None,
    ) -> str:
        if on_progress is not None:
            on_progress(model.AnalysisProgress("looking who holds what", 43))
        if self.failures:
            raise self.failures.pop(0)
        self.compared.append((session_id, target_id, tuple(snapshot_ids)))
        return f"r-{session_id}-{target_id}"
