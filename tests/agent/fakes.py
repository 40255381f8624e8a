"""What stands in for a target where a real one cannot be made to do what a test needs."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from memwatch_agent.captures import Captures
from memwatch_agent.containers import Container
from memwatch_agent.drivers.base import (
    Bounds,
    CaptureFacts,
    Driver,
    HeapFigures,
    Manner,
    PauseSource,
    Process,
    Progress,
    Report,
    Runtime,
    Sink,
    Stage,
    Way,
)
from memwatch_agent.drivers.errors import DriverError
from memwatch_agent.drivers.profiling import ProfileKind, Profiler, RecordFacts
from memwatch_agent.errors import TargetNotFoundError
from memwatch_agent.figures import Figures
from memwatch_agent.history import History
from memwatch_agent.places import Places
from memwatch_agent.processes import Found
from memwatch_agent.recording import Recorder
from memwatch_agent.recordings import Recordings
from memwatch_agent.spool import Spool
from memwatch_agent.taking import Taker
from memwatch_agent.targets import Place, Roster, Target
from memwatch_proto.v1 import common_pb2

MIB = 1024 * 1024
PLACE = Place(uid=0, may_signal_all=True, host_key="boot")


def found(pid: int = 7, **changes) -> Found:
    """A process as a scan finds it."""
    fields = {
        "pid": pid,
        "start_ticks": 100,
        "inner_pid": pid,
        "runtime": Runtime.NODE,
        "version": "24.1.0",
        "uid": 0,
        "exe": "/usr/bin/node",
        "argv": ("node", "server.js"),
        "environ": {},
        "container": Container(),
        "service": "",
        "start_seconds": 0.0,
        "same_network": True,
        "root": Path("/"),
        "catches_sigusr1": True,
    }
    return Found(**{**fields, **changes})


def target(name: str = "t-1", pid: int = 7, ways: Sequence[Way] = (Way.HOOK,), **changes) -> Target:
    """A target that offers `ways`."""
    return Target(name, found(pid, **changes), None, tuple(ways), "it has no hook", "web")


class FakeRoster(Roster):
    """Targets that are there because a test says so."""

    def __init__(self, *targets: Target, rss: int = 100 * MIB) -> None:
        self.place = PLACE
        self.known = {one.id: one for one in targets}
        self.rss = rss

    @property
    def targets(self) -> Sequence[Target]:
        return tuple(self.known.values())

    async def refresh(self) -> Sequence[Target]:
        return self.targets

    async def find(self, target_id: str) -> Target:
        if target_id not in self.known:
            raise TargetNotFoundError(target_id)
        return self.known[target_id]

    def alive(self, target: Target) -> bool:
        return target.id in self.known

    def sample(self, target, heap=None):
        if target.id not in self.known:
            return None
        sample = common_pb2.MemorySample(rss_bytes=self.rss)
        if heap is not None and heap.used_bytes is not None:
            sample.heap_used_bytes = heap.used_bytes
        return sample


class FakeDriver(Driver):
    """A driver whose snapshot is `data`, sent in `pieces`; the gate holds it back half-way."""

    def __init__(
        self, way: Way = Way.HOOK, data: bytes = b'{"snapshot":1}', pieces: int = 2
    ) -> None:
        self.way = way
        self.data = data
        self.pieces = pieces
        self.gate = asyncio.Event()
        self.gate.set()
        self.heap = HeapFigures(10 * MIB, 100 * MIB)
        self.open_error: DriverError | None = None
        self.error: Exception | None = None
        self.opened = self.closed = self.taken = 0
        self.manners: tuple[Manner, ...] = (Manner.BLOCKING,)
        self.cannot_fork = ""
        self.forks: list[Bounds] = []
        self.fork_errors: list[Exception] = []

    @asynccontextmanager
    async def open(self, target: Process):
        if self.open_error is not None:
            raise self.open_error
        self.opened += 1
        try:
            yield self
        finally:
            self.closed += 1

    async def figures(self) -> HeapFigures:
        return self.heap

    async def capture_forked(self, sink: Sink, report: Report, bounds: Bounds) -> CaptureFacts:
        self.forks.append(bounds)
        if self.fork_errors:
            await sink(self.data[:1])
            raise self.fork_errors.pop(0)
        facts = await self.capture(sink, report)
        return replace(facts, manner=Manner.FORKED, pause_millis=1.4)

    async def capture(self, sink: Sink, report: Report) -> CaptureFacts:
        self.taken += 1
        size = -(-len(self.data) // self.pieces)
        for start in range(0, len(self.data), size):
            await sink(self.data[start : start + size])
            report(Progress(Stage.CAPTURING, start, len(self.data)))
            await self.gate.wait()
            if self.error is not None:
                raise self.error
        return CaptureFacts(
            size_bytes=len(self.data),
            objects=None,
            pause_millis=12.4,
            pause_source=PauseSource.RUNTIME,
            cpu_millis=3,
            extra_memory_bytes=5 * MIB,
            rss_before_bytes=100 * MIB,
            rss_after_bytes=102 * MIB,
            duration_millis=20.0,
            id_epoch="epoch",
            notes=("from the driver",),
            manner=Manner.BLOCKING,
        )


class FakeProfiler(Profiler):
    """A profiler that records until it is stopped, or its gate is opened."""

    def __init__(self, data: bytes = b'{"format":1}') -> None:
        self.data = data
        self.gate = asyncio.Event()
        self.gate.set()
        self.recording = asyncio.Event()
        self.error: Exception | None = None
        self.begun = self.stopped = 0

    async def __call__(self, target, kind, options, sink, started, stop):
        self.begun += 1
        self.recording.set()
        started()
        waits = [asyncio.create_task(event.wait()) for event in (self.gate, stop)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self.stopped += stop.is_set()
        if self.error is not None:
            raise self.error
        await sink(self.data)
        return RecordFacts(
            size_bytes=len(self.data),
            content_type="application/json",
            extension="json",
            pause_millis=1.6,
            pause_source=PauseSource.RUNTIME,
            cpu_millis=3,
            extra_memory_bytes=MIB,
            rss_before_bytes=100 * MIB,
            rss_after_bytes=101 * MIB,
            duration_millis=20.0,
            notes=("from the profiler",),
        )


class Bench:
    """Captures over fakes and a real spool, in one folder."""

    def __init__(
        self,
        folder: Path,
        *targets: Target,
        drivers: Mapping[Way, FakeDriver] | None = None,
        proc: Path = Path("/proc"),
    ) -> None:
        self.folder = folder
        self.roster = FakeRoster(*(targets or (target(),)))
        self.driver = FakeDriver()
        by_way = drivers or {Way.HOOK: self.driver}
        table = {(runtime, way): one for runtime in Runtime for way, one in by_way.items()}
        self.figures = Figures(self.roster, table, lambda: asyncio.get_running_loop().time())
        self.spool = Spool(folder / "spool", 64 * MIB, lambda _: 1 << 40)
        self.history = History(folder / "history.json")
        self.ids = iter(f"s-{number}" for number in range(1_000_000))
        self.taker = Taker(
            proc,
            self.roster,
            self.figures,
            table,
            self.spool,
            self.history,
            lambda: 1_795_330_000.123,
            lambda: next(self.ids),
        )
        self.places = Places()
        self.captures = Captures(
            self.roster,
            self.taker,
            self.spool,
            self.places,
            lambda: asyncio.get_running_loop().time(),
        )
        self.profiler = FakeProfiler()
        profilers = {(runtime, ProfileKind.TYPES): self.profiler for runtime in Runtime}
        self.recordings = Recordings(
            self.roster,
            Recorder(
                self.roster,
                profilers,
                self.spool,
                lambda: 1_795_330_000.123,
                lambda: next(self.ids),
            ),
            self.spool,
            self.places,
            lambda: asyncio.get_running_loop().time(),
        )

    def leftovers(self) -> list[str]:
        """Files that belong to no finished snapshot."""
        whole = {one.id for one in self.spool.snapshots()}
        names = (path.name for path in (self.folder / "spool").iterdir())
        return sorted(name for name in names if name.partition(".")[0] not in whole)
