"""The newest memory figures of every target, for lists, heartbeats and metrics.

Memory comes from /proc; the heap's size from the hook, asked at most every few seconds, or from
the last capture.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from memwatch_agent.drivers.base import Driver, HeapFigures, Runtime, Way
from memwatch_agent.drivers.errors import DriverError
from memwatch_agent.targets import Roster, Target, to_pb
from memwatch_proto.v1 import common_pb2, targets_pb2

#: A hook answers from inside the service: it is not asked more often than this.
HEAP_SECONDS = 10.0

#: A hook that does not answer within this time is busy; the figure before it stands.
HEAP_TIMEOUT_SECONDS = 1.0

#: A hook that tells of more worker threads is not believed.
MAX_WORKERS = 10_000


#: How a driver is found: by runtime and way.
Drivers = Mapping[tuple[Runtime, Way], Driver]


@dataclass
class _Heap:
    """A heap's figures, and when they were asked for (seconds of the monotonic clock)."""

    at: float
    figures: HeapFigures


class Figures:
    """Samples targets and remembers what their heaps were."""

    def __init__(self, roster: Roster, drivers: Drivers, clock: Callable[[], float]) -> None:
        self._roster = roster
        self._drivers = drivers
        self._clock = clock
        self._heaps: dict[str, _Heap] = {}
        self._latest: Sequence[targets_pb2.Target] = ()

    @property
    def latest(self) -> Sequence[targets_pb2.Target]:
        """The targets as they were last described; may be read from any thread."""
        return self._latest

    async def sample(self, target: Target) -> common_pb2.MemorySample | None:
        """The target's memory now; None where its process has ended."""
        heap = await self._heap(target)
        return await asyncio.to_thread(self._roster.sample, target, heap)

    async def described(self) -> Sequence[targets_pb2.Target]:
        """Every target of the roster's last look with a new sample; one that ended is left out."""
        targets = self._roster.targets
        heaps = await asyncio.gather(*(self._heap(target) for target in targets))
        samples = await asyncio.to_thread(self._samples, targets, heaps)
        known = {target.id for target in targets}
        self._heaps = {key: heap for key, heap in self._heaps.items() if key in known}
        self._latest = [
            _described(to_pb(target, self._roster.place, sample), heap)
            for target, sample, heap in zip(targets, samples, heaps, strict=True)
            if sample is not None
        ]
        return self._latest

    def learn(self, target_id: str, figures: HeapFigures) -> None:
        """Takes in what a capture saw."""
        self._heaps[target_id] = _Heap(self._clock(), figures)

    def known_heap(self, target_id: str) -> HeapFigures | None:
        """What is known of a target's heap without asking."""
        heap = self._heaps.get(target_id)
        return heap.figures if heap else None

    def _samples(
        self, targets: Sequence[Target], heaps: Sequence[HeapFigures | None]
    ) -> list[common_pb2.MemorySample | None]:
        pairs = zip(targets, heaps, strict=True)
        return [self._roster.sample(target, heap) for target, heap in pairs]

    async def _heap(self, target: Target) -> HeapFigures | None:
        """The heap's figures: asked of the hook where those known are old."""
        known = self._heaps.get(target.id)
        if known is not None and self._clock() - known.at < HEAP_SECONDS:
            return known.figures
        figures = known.figures if known else HeapFigures()
        if target.hook is not None:
            figures = await self._asked(target) or figures
        self._heaps[target.id] = _Heap(self._clock(), figures)
        return figures

    async def _asked(self, target: Target) -> HeapFigures | None:
        """What the target's hook says of its heap; None where it is busy or silent."""
        runtime = target.found.runtime
        driver = self._drivers.get((runtime, Way.HOOK)) if runtime else None
        if driver is None:
            return None
        with contextlib.suppress(DriverError, TimeoutError):
            async with asyncio.timeout(HEAP_TIMEOUT_SECONDS), driver.open(target.process) as link:
                return await link.figures()
        return None


def _described(target: targets_pb2.Target, heap: HeapFigures | None) -> targets_pb2.Target:
    """The target with what its hook alone can tell: threads have no names before Node 24."""
    workers = heap.workers or 0 if heap else 0
    target.worker_threads = max(target.worker_threads, min(workers, MAX_WORKERS))
    return target
