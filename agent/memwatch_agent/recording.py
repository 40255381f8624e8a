"""Records one profile of one target: finds the profiler, drives it, spools what it gives."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from memwatch_agent.drivers.base import Runtime
from memwatch_agent.drivers.errors import KindUnsupportedError, NoWayInError, RecordingFailedError
from memwatch_agent.drivers.profiling import (
    ProfileKind,
    ProfileOptions,
    Profiler,
    Profilers,
    RecordFacts,
)
from memwatch_agent.intake import Intake
from memwatch_agent.spool import Blob, Spool
from memwatch_agent.taking import PAUSE_SOURCES, file_name
from memwatch_agent.targets import RUNTIMES, Roster, Target
from memwatch_proto.v1 import agents_pb2, common_pb2, snapshots_pb2

KINDS = {
    ProfileKind.TYPES: common_pb2.PROFILE_KIND_TYPES,
    ProfileKind.ALLOCATIONS: common_pb2.PROFILE_KIND_ALLOCATIONS,
    ProfileKind.NATIVE: common_pb2.PROFILE_KIND_NATIVE,
    ProfileKind.SAMPLING: common_pb2.PROFILE_KIND_SAMPLING,
    ProfileKind.NODE_ALLOCATIONS: common_pb2.PROFILE_KIND_NODE_ALLOCATIONS,
    ProfileKind.STATS: common_pb2.PROFILE_KIND_STATS,
    ProfileKind.NEAR_LIMIT: common_pb2.PROFILE_KIND_NEAR_LIMIT,
}

#: A profiler ends what it records at its limit; what is still under way then is taken too, and
#: a target that sends more than this beyond it is not believed any more.
SIZE_GRACE_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class RecordSpec:
    """What a caller asks for.

    Attributes:
        join_only: begin nothing.
    """

    request_id: str
    target_id: str
    kind: ProfileKind
    options: ProfileOptions = field(default_factory=ProfileOptions)
    join_only: bool = False


@dataclass
class RecordingCourse:
    """How far a recording is; written by the one who records, read by those who follow.

    Attributes:
        stop: set to end it before its time.
        started: Unix time when the target began to record; 0 before.
        duration_seconds: how long it will record from then.
    """

    duration_seconds: float
    stage: agents_pb2.RecordingStage = agents_pb2.RECORDING_STAGE_CONNECTING
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    started: float = 0.0
    intake: Intake | None = None

    def to_pb(self) -> agents_pb2.RecordingProgress:
        """The course as it crosses a call."""
        progress = agents_pb2.RecordingProgress(
            stage=self.stage,
            duration_millis=round(self.duration_seconds * 1000),
            raw_size_bytes=self.intake.received_bytes if self.intake else 0,
        )
        if self.started:
            progress.start_time.FromMilliseconds(int(self.started * 1000))
        return progress


class Recorder:
    """Records profiles; knows nothing of callers."""

    def __init__(
        self,
        roster: Roster,
        profilers: Profilers,
        spool: Spool,
        now: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        """`now` tells the Unix time in seconds, `new_id` an id for an artifact."""
        self._roster = roster
        self._profilers = profilers
        self._spool = spool
        self._now = now
        self._new_id = new_id

    def profiler(self, kind: ProfileKind, target: Target) -> Profiler:
        """What records this kind of this target.

        Raises:
            KindUnsupportedError: its runtime has no such kind.
            NoWayInError: there is no way into it.
        """
        runtime = target.found.runtime
        known = [kind for of, kind in self._profilers if of == runtime]
        profiler = self._profilers.get((runtime, kind)) if runtime else None
        if profiler is None:
            raise KindUnsupportedError(
                target.found.pid,
                f"this agent records no '{kind}' of {_name(runtime)}",
                f"it records {', '.join(known) or 'nothing of it'}",
            )
        if not target.ways:
            raise NoWayInError(target.found.pid, target.unavailable)
        return profiler

    async def record(
        self, spec: RecordSpec, target: Target, course: RecordingCourse
    ) -> snapshots_pb2.Snapshot:
        """Records; the artifact lies finished in the spool when this returns.

        Raises:
            DriverError: there is no way in, or it broke.
            SpoolFullError: there is no room for it.
        """
        profiler = self.profiler(spec.kind, target)
        artifact_id = self._new_id()
        began = self._now()
        memory = await asyncio.to_thread(self._roster.sample, target)
        writer = self._spool.create(artifact_id)
        intake = course.intake = Intake(writer)

        def started() -> None:
            course.started = course.started or self._now()
            course.stage = agents_pb2.RECORDING_STAGE_RECORDING

        async def take(data: bytes) -> None:
            course.stage = agents_pb2.RECORDING_STAGE_FINISHING
            if spec.kind is not ProfileKind.NODE_ALLOCATIONS:  # as large as the heap; preflighted
                _check_size(target, intake.received_bytes + len(data), spec.options.max_size_bytes)
            await intake.take(data)

        try:
            facts = await profiler(
                target.process, spec.kind, spec.options, take, started, course.stop
            )
            blob = await intake.finish()
            artifact = artifact_of(artifact_id, spec, target, facts, blob, course.started or began)
            artifact.end_time.FromMilliseconds(int(self._now() * 1000))
            if memory is not None:
                artifact.memory.CopyFrom(memory)
            await asyncio.to_thread(writer.keep, artifact)
        finally:
            await intake.abort()  # does nothing to what was kept
        return artifact


def artifact_of(
    artifact_id: str,
    spec: RecordSpec,
    target: Target,
    facts: RecordFacts,
    blob: Blob,
    began: float,
) -> snapshots_pb2.Snapshot:
    """The metadata of an artifact that was just recorded."""
    found = target.found
    artifact = snapshots_pb2.Snapshot(
        id=artifact_id,
        request_id=spec.request_id,
        target_id=target.id,
        kind=common_pb2.SNAPSHOT_KIND_PROFILE,
        profile_kind=KINDS[spec.kind],
        content_type=facts.content_type,
        runtime=RUNTIMES[found.runtime] if found.runtime else common_pb2.RUNTIME_UNSPECIFIED,
        runtime_version=found.version,
        service=target.service,
        container_id=found.container.container_id,
        raw_size_bytes=blob.raw_size_bytes,
        raw_sha256=blob.raw_sha256,
        stored_size_bytes=blob.stored_size_bytes,
        stored_sha256=blob.stored_sha256,
        cost=_cost(facts),
        file_name=file_name(
            found.container.container_id, found.pid, began, spec.kind, "profile", facts.extension
        ),
        notes=facts.notes,
    )
    artifact.capture_time.FromMilliseconds(int(began * 1000))
    return artifact


def _cost(facts: RecordFacts) -> common_pb2.CaptureCost:
    return common_pb2.CaptureCost(
        pause_millis=round(facts.pause_millis),
        pause_source=PAUSE_SOURCES[facts.pause_source],
        cpu_millis=facts.cpu_millis,
        extra_memory_bytes=facts.extra_memory_bytes,
        rss_before_bytes=facts.rss_before_bytes,
        rss_after_bytes=facts.rss_after_bytes,
        duration_millis=round(facts.duration_millis),
    )


def _check_size(target: Target, size: int, limit: int) -> None:
    """Refuses what goes far beyond the limit that the target was given."""
    if size > limit + SIZE_GRACE_BYTES:
        raise RecordingFailedError(
            target.found.pid, f"its profile has {size} bytes already, the limit is {limit}"
        )


def _name(runtime: Runtime | None) -> str:
    return {Runtime.NODE: "Node", Runtime.PYTHON: "Python"}.get(runtime, "it") if runtime else "it"
