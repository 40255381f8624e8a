"""Takes one snapshot of one target: chooses the way, asks the preflight, drives, spools."""

import asyncio
import datetime
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from memwatch_agent import cgroups, safety
from memwatch_agent.drivers.base import (
    CaptureFacts,
    Link,
    PauseSource,
    Progress,
    Stage,
    Way,
)
from memwatch_agent.drivers.errors import NoWayInError
from memwatch_agent.figures import Drivers, Figures
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

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True)
class CaptureSpec:
    """What a caller asks for.

    Attributes:
        way: None lets the agent choose.
        force: take it although the preflight says no.
        max_pause_millis: the longest pause allowed; 0: any.
    """

    request_id: str
    target_id: str
    way: Way | None = None
    force: bool = False
    session_id: str = ""
    phase: str = ""
    max_pause_millis: int = 0
    timeout_seconds: float = 1800.0


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
        snapshot_id, intake = self._new_id(), None
        try:
            async with driver.open(target.process) as link:
                before = await self._preflight(link, way, spec, target, course)
                writer = self._spool.create(snapshot_id)
                intake = course.intake = Intake(writer)
                course.stage = agents_pb2.CAPTURE_STAGE_CAPTURING
                facts = await link.capture(intake.take, course.report)
            course.stage = agents_pb2.CAPTURE_STAGE_FINISHING
            blob = await intake.finish()
            snapshot = snapshot_of(snapshot_id, spec, target, way, facts, blob, before, course)
            await asyncio.to_thread(writer.keep, snapshot)
        finally:
            if intake is not None:
                await intake.abort()  # does nothing to what was kept
        self._learn(way, target, facts, before)
        return snapshot

    async def _preflight(
        self, link: Link, way: Way, spec: CaptureSpec, target: Target, course: Course
    ) -> _Before:
        """Predicts the cost and compares it with what there is.

        Raises:
            HeadroomError, PauseBudgetError: the capture must not go on, and is not forced.
        """
        heap = await link.figures()
        self._figures.learn(target.id, heap)
        sample = await asyncio.to_thread(self._roster.sample, target, heap)
        room = await asyncio.to_thread(self._room, target)
        rss = sample.rss_bytes if sample else 0
        basis = safety.basis_bytes(target.process, heap, rss)
        past = self._history.past(target.id, kin(way, target))
        retained = past[0].retained_at(rss) if past and past[0].target_id == target.id else 0.0
        general = safety.general_cost(target.process, basis, heap.walker)
        estimate = safety.estimate(general, basis, [one.past for one in past], retained)
        refused = safety.refusal(target.found.pid, estimate, room, spec.max_pause_millis)
        course.preflight = safety.to_pb(estimate, room, refused)
        course.stage = agents_pb2.CAPTURE_STAGE_PREFLIGHT
        last = past[0].duration_millis if past else 0.0
        course.expected_seconds = max(estimate.cost.pause_millis, last) / 1000
        if refused is not None and not spec.force:
            raise refused
        if refused is not None:
            course.notes.append(f"{FORCED_NOTE}{refused}")
        return _Before(self._now(), basis, retained, sample)

    def _room(self, target: Target) -> cgroups.Level | None:
        """The level with the least headroom, among the target's cgroups and the machine."""
        levels = cgroups.levels(self._proc, target.found.pid) if target.found.visible else []
        host = cgroups.host_level(self._proc)
        return cgroups.tightest([*levels, host] if host else levels)

    def _learn(self, way: Way, target: Target, facts: CaptureFacts, before: _Before) -> None:
        full = before.retained_bytes + facts.extra_memory_bytes
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
        )
        if before.basis_bytes:
            self._history.learn(record)


def kin(way: Way, target: Target) -> str:
    """What processes have in common whose captures cost alike."""
    found = target.found
    return f"{found.runtime}/{found.version}/{way}/{target.service}"


def snapshot_of(
    snapshot_id: str,
    spec: CaptureSpec,
    target: Target,
    way: Way,
    facts: CaptureFacts,
    blob: Blob,
    before: _Before,
    course: Course,
) -> snapshots_pb2.Snapshot:
    """The metadata of a snapshot that was just taken."""
    found = target.found
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
        cost=_cost(facts),
        file_name=file_name(found.container.container_id, found.pid, before.began, spec.phase),
        memory=before.sample,
        notes=[*course.notes, *facts.notes],
        id_epoch=facts.id_epoch,
        walk=snapshots_pb2.HeapWalk(**asdict(facts.walk)) if facts.walk else None,
    )
    snapshot.capture_time.FromMilliseconds(int(before.began * 1000))
    return snapshot


def _cost(facts: CaptureFacts) -> common_pb2.CaptureCost:
    return common_pb2.CaptureCost(
        pause_millis=round(facts.pause_millis),
        pause_source=PAUSE_SOURCES[facts.pause_source],
        cpu_millis=facts.cpu_millis,
        extra_memory_bytes=facts.extra_memory_bytes,
        rss_before_bytes=facts.rss_before_bytes,
        rss_after_bytes=facts.rss_after_bytes,
        duration_millis=round(facts.duration_millis),
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
