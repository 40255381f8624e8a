"""Takes one snapshot of one target: chooses the way, asks the preflight, drives, spools."""

import asyncio
import datetime
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from memwatch_agent import cgroups, forecasts
from memwatch_agent.attempts import (
    Attempts,
    PauseMode,
    Taken,
    Try,
    bounds,
    manners,
    untried,
)
from memwatch_agent.drivers.base import (
    Bounds,
    CaptureFacts,
    Link,
    Manner,
    PauseSource,
    Progress,
    Stage,
    Tracer,
    Way,
)
from memwatch_agent.drivers.errors import NoWayInError
from memwatch_agent.figures import Drivers, Figures
from memwatch_agent.forecasts import MANNERS, Forecast, Size, forecast
from memwatch_agent.history import History, Record
from memwatch_agent.intake import Intake
from memwatch_agent.spool import Blob, Spool
from memwatch_agent.targets import RUNTIMES, WAYS, Roster, Target
from memwatch_proto.v1 import agents_pb2, common_pb2, snapshots_pb2

_STAGES = {
    Stage.CONNECTING: agents_pb2.CAPTURE_STAGE_CONNECTING,
    Stage.CAPTURING: agents_pb2.CAPTURE_STAGE_CAPTURING,
    Stage.FINISHING: agents_pb2.CAPTURE_STAGE_FINISHING,
}
PAUSE_SOURCES = {
    PauseSource.UNKNOWN: common_pb2.PAUSE_SOURCE_UNSPECIFIED,
    PauseSource.RUNTIME: common_pb2.PAUSE_SOURCE_RUNTIME,
    PauseSource.ROUND_TRIP: common_pb2.PAUSE_SOURCE_ROUND_TRIP,
}

FORCED_NOTE = "forced although the preflight refused: "

#: Stands in a file's name where a capture belongs to no session.
SINGLE_PHASE = "snapshot"

#: Manners whose being passed over is recorded: what comes after them costs the target more.
_FIRST = (Manner.FORKED,)

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True)
class CaptureSpec:
    """What a caller asks for.

    Attributes:
        way: None lets the agent choose.
        force: take it although the preflight says no.
        max_pause_millis: the longest pause allowed; 0: any.
        pause: whether the target may stand still while the snapshot is written.
        trace_frames: have allocations traced from then on, with so many frames; 0: leave it.
        trace_seconds: for how long at most; 0: tracing ends.
    """

    request_id: str
    target_id: str
    way: Way | None = None
    force: bool = False
    session_id: str = ""
    phase: str = ""
    max_pause_millis: int = 0
    timeout_seconds: float = 1800.0
    pause: PauseMode = PauseMode.AUTO
    trace_frames: int = 0
    trace_seconds: int = 0


@dataclass
class Course:
    """How far a capture is; written by the one who takes it, read by those who follow.

    Attributes:
        preflight: what was predicted; None until the target was asked.
        expected_seconds: how long it will take, as far as anybody knows.
    """

    stage: agents_pb2.CaptureStage = agents_pb2.CAPTURE_STAGE_CONNECTING
    preflight: agents_pb2.Preflight | None = None
    intake: Intake | None = None
    expected_seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    def to_pb(self) -> agents_pb2.CaptureProgress:
        """The course as it crosses a call."""
        return agents_pb2.CaptureProgress(
            stage=self.stage,
            raw_size_bytes=self.intake.received_bytes if self.intake else 0,
            expected_size_bytes=self.preflight.raw_size_bytes if self.preflight else 0,
            preflight=self.preflight,
        )

    def begun(self, intake: Intake) -> None:
        """Hears of a try."""
        self.intake = intake
        self.stage = agents_pb2.CAPTURE_STAGE_CAPTURING

    def report(self, progress: Progress) -> None:
        """Takes in what a driver says."""
        self.stage = _STAGES[progress.stage]


@dataclass(frozen=True)
class _Before:
    """What was known when the capture began."""

    began: float
    basis_bytes: int
    retained_bytes: float
    sample: common_pb2.MemorySample | None
    plan: Sequence[tuple[Manner, Bounds]]
    untried: Sequence[Try]


class Taker:
    """Takes snapshots; knows nothing of callers."""

    def __init__(
        self,
        proc: Path,
        roster: Roster,
        figures: Figures,
        drivers: Drivers,
        spool: Spool,
        history: History,
        now: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        """`now` tells the Unix time in seconds, `new_id` an id for a snapshot."""
        self._proc = proc
        self._roster = roster
        self._figures = figures
        self._drivers = drivers
        self._spool = spool
        self._history = history
        self._now = now
        self._new_id = new_id

    async def take(
        self, spec: CaptureSpec, target: Target, course: Course
    ) -> snapshots_pb2.Snapshot:
        """Takes the snapshot; it lies finished in the spool when this returns.

        Raises:
            DriverError: there is no way in, or it broke.
            HeadroomError, PauseBudgetError: the preflight refuses.
            SpoolFullError: there is no room for it.
        """
        ways = self.ways(spec, target)
        for way in ways[:-1]:
            try:
                return await self._through(way, spec, target, course)
            except NoWayInError as error:
                course.notes.append(f"tried by {way} first: {error}")
        return await self._through(ways[-1], spec, target, course)

    def ways(self, spec: CaptureSpec, target: Target) -> Sequence[Way]:
        """The ways to try, best first.

        Raises:
            NoWayInError: there is none, or not the one that was asked for.
        """
        if not target.ways:
            raise NoWayInError(target.found.pid, target.unavailable)
        if spec.way is None:
            return target.ways
        if spec.way not in target.ways:
            offered = " and ".join(target.ways)
            raise NoWayInError(
                target.found.pid, f"it does not offer {spec.way}", f"it offers {offered}"
            )
        return (spec.way,)

    async def _through(
        self, way: Way, spec: CaptureSpec, target: Target, course: Course
    ) -> snapshots_pb2.Snapshot:
        assert target.found.runtime is not None
        driver = self._drivers[target.found.runtime, way]
        course.stage = agents_pb2.CAPTURE_STAGE_CONNECTING
        snapshot_id, taken = self._new_id(), None
        try:
            async with driver.open(target.process) as link:
                before = await self._preflight(link, way, spec, target, course)
                if spec.trace_frames and isinstance(link, Tracer):
                    link.trace(spec.trace_frames, spec.trace_seconds)
                attempts = Attempts(
                    target.found.pid,
                    link,
                    self._spool,
                    snapshot_id,
                    partial(self._room, target),
                    course.begun,
                    list(before.untried),
                )
                taken = await attempts.run(before.plan, course.report)
            course.stage = agents_pb2.CAPTURE_STAGE_FINISHING
            blob = await taken.intake.finish()
            snapshot = snapshot_of(snapshot_id, spec, target, way, taken, blob, before, course)
            await asyncio.to_thread(taken.writer.keep, snapshot)
        finally:
            if taken is not None:
                await taken.intake.abort()  # does nothing to what was kept
        self._learn(way, target, taken.facts, before)
        return snapshot

    async def _preflight(
        self, link: Link, way: Way, spec: CaptureSpec, target: Target, course: Course
    ) -> _Before:
        """Predicts the cost of each manner and compares it with what there is.

        Raises:
            HeadroomError, PauseBudgetError: the capture must not go on, and is not forced.
            CannotForkError: it must not stop the target, and nothing else can be had.
        """
        wanted = manners(spec.pause, link, target.found.pid)
        heap = await link.figures()
        self._figures.learn(target.id, heap)
        sample = await asyncio.to_thread(self._roster.sample, target, heap)
        room = await asyncio.to_thread(self._room, target)
        rss = sample.rss_bytes if sample else 0
        size = Size.of(target.process, heap, rss)
        past = self._history.past(target.id, kin(way, target))
        retained = past[0].retained_at(rss) if past and past[0].target_id == target.id else 0.0
        all_ = [
            forecast(target.process, size, manner, past, retained, room, spec.max_pause_millis)
            for manner in wanted
        ]
        course.preflight = forecasts.to_pb(all_, room)
        course.stage = agents_pb2.CAPTURE_STAGE_PREFLIGHT
        allowed = [one for one in all_ if one.refused is None] or (all_ if spec.force else [])
        if not allowed:
            assert all_[0].refused is not None
            raise all_[0].refused
        if allowed[0].refused is not None:
            course.notes.append(f"{FORCED_NOTE}{allowed[0].refused}")
        course.expected_seconds = allowed[0].estimate.cost.duration_millis / 1000
        free = max(1, self._spool.room_bytes)
        plan = [
            (one.manner, bounds(room, one.estimate.cost.duration_millis, free)) for one in allowed
        ]
        refused = tuple(
            _refused(one) for one in all_ if one not in allowed and one.manner in _FIRST
        )
        unasked = (*untried(spec.pause, link), *refused)
        return _Before(self._now(), size.basis_bytes, retained, sample, plan, unasked)

    def _room(self, target: Target) -> cgroups.Level | None:
        return room_of(self._proc, target)

    def _learn(self, way: Way, target: Target, facts: CaptureFacts, before: _Before) -> None:
        # A child takes nothing of what the process kept from before, and leaves it nothing.
        kept = 0.0 if facts.manner is Manner.FORKED else before.retained_bytes
        full = kept + facts.extra_memory_bytes
        grown = facts.rss_after_bytes - facts.rss_before_bytes
        record = Record(
            target_id=target.id,
            kin=kin(way, target),
            basis_bytes=before.basis_bytes,
            pause_millis=facts.pause_millis,
            full_memory_bytes=full,
            retained_bytes=min(max(0.0, before.retained_bytes + grown), full),
            rss_after_bytes=facts.rss_after_bytes,
            raw_size_bytes=facts.size_bytes,
            duration_millis=facts.duration_millis,
            manner=str(facts.manner or ""),
            cpu_millis=facts.cpu_millis,
        )
        if before.basis_bytes:
            self._history.learn(record)


def room_of(proc: Path, target: Target) -> cgroups.Level | None:
    """The level with the least headroom, among the target's cgroups and the machine."""
    levels = cgroups.levels(proc, target.found.pid) if target.found.visible else []
    host = cgroups.host_level(proc)
    return cgroups.tightest([*levels, host] if host else levels)


def kin(way: Way, target: Target) -> str:
    """What processes have in common whose captures cost alike."""
    found = target.found
    return f"{found.runtime}/{found.version}/{way}/{target.service}"


def snapshot_of(
    snapshot_id: str,
    spec: CaptureSpec,
    target: Target,
    way: Way,
    taken: Taken,
    blob: Blob,
    before: _Before,
    course: Course,
) -> snapshots_pb2.Snapshot:
    """The metadata of a snapshot that was just taken."""
    found, facts = target.found, taken.facts
    snapshot = snapshots_pb2.Snapshot(
        id=snapshot_id,
        request_id=spec.request_id,
        target_id=target.id,
        session_id=spec.session_id,
        phase=spec.phase,
        kind=common_pb2.SNAPSHOT_KIND_HEAP,
        way=WAYS[way],
        runtime=RUNTIMES[found.runtime] if found.runtime else common_pb2.RUNTIME_UNSPECIFIED,
        runtime_version=found.version,
        service=target.service,
        container_id=found.container.container_id,
        raw_size_bytes=blob.raw_size_bytes,
        raw_sha256=blob.raw_sha256,
        stored_size_bytes=blob.stored_size_bytes,
        stored_sha256=blob.stored_sha256,
        cost=cost_of(taken),
        file_name=file_name(found.container.container_id, found.pid, before.began, spec.phase),
        memory=before.sample,
        notes=[*course.notes, *fallback_notes(taken.tries), *facts.notes],
        id_epoch=facts.id_epoch,
        walk=snapshots_pb2.HeapWalk(**asdict(facts.walk)) if facts.walk else None,
    )
    snapshot.capture_time.FromMilliseconds(int(before.began * 1000))
    return snapshot


def _refused(one: Forecast) -> Try:
    return Try(one.manner, str(one.refused), 0.0, 0.0, 0)


def fallback_notes(tries: Sequence[Try]) -> list[str]:
    """Says why the target stood still although a child was to write the snapshot."""
    if len(tries) < 2 or tries[-1].manner is Manner.FORKED:
        return []
    failed = [one for one in tries if one.failure]
    again = f" ({len(failed)} tries)" if len(failed) > 1 else ""
    return [f"not taken in a forked child{again}: {failed[-1].failure}"]


def cost_of(taken: Taken) -> common_pb2.CaptureCost:
    """What all tries together cost the target."""
    facts, tries = taken.facts, taken.tries
    return common_pb2.CaptureCost(
        pause_millis=round(max(one.pause_millis for one in tries)),
        manner=MANNERS[facts.manner] if facts.manner else common_pb2.CAPTURE_MANNER_UNSPECIFIED,
        tries=[_try(one) for one in tries] if len(tries) > 1 else [],
        pause_source=PAUSE_SOURCES[facts.pause_source],
        cpu_millis=facts.cpu_millis,
        extra_memory_bytes=facts.extra_memory_bytes,
        rss_before_bytes=facts.rss_before_bytes,
        rss_after_bytes=facts.rss_after_bytes,
        duration_millis=round(facts.duration_millis),
    )


def _try(one: Try) -> common_pb2.CaptureTry:
    return common_pb2.CaptureTry(
        manner=MANNERS[one.manner],
        failure=one.failure,
        pause_millis=round(one.pause_millis),
        duration_millis=round(one.duration_millis),
        extra_memory_bytes=one.extra_memory_bytes,
    )


def file_name(
    container_id: str,
    pid: int,
    began: float,
    phase: str,
    prefix: str = "session",
    extension: str = "heapsnapshot",
) -> str:
    """The name that a download of a snapshot or profile gets; safe on every file system."""
    where = _UNSAFE.sub("", container_id)[:12] or f"pid{pid}"
    time = datetime.datetime.fromtimestamp(began, datetime.UTC)
    iso = f"{time:%Y-%m-%dT%H-%M-%S}-{time.microsecond // 1000:03d}Z"
    name = _UNSAFE.sub("", phase)[:64] or SINGLE_PHASE
    return f"{prefix}_{where}_{int(began * 1000)}_{name}_{iso}.{extension}"
