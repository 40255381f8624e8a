"""Recordings as their callers see them: one at a time for each process, each made once.

A recording is a task of its own that callers follow. It goes on to its end without them: its
duration bounds it, and what it made waits in the spool.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

import structlog

from memwatch_agent.captures import DISCARDED_NOTE, POLL_SECONDS, SIGN_OF_LIFE_SECONDS
from memwatch_agent.drivers.errors import DriverError
from memwatch_agent.errors import (
    AgentError,
    BadRequestError,
    CaptureCancelledError,
    CaptureTimeoutError,
    RecordingLostError,
)
from memwatch_agent.places import Places
from memwatch_agent.recording import Recorder, RecordingCourse, RecordSpec
from memwatch_agent.spool import Entry, Spool
from memwatch_agent.targets import Roster, Target
from memwatch_proto.v1 import agents_pb2, snapshots_pb2

#: What a recording may take beyond its duration, to make and bring over the artifact.
FINISHING_SECONDS = 600.0

_log = structlog.get_logger(__name__)

_Task = asyncio.Task[snapshots_pb2.Snapshot]


@dataclass
class _Running:
    """A recording that runs."""

    spec: RecordSpec
    target: Target
    task: _Task
    course: RecordingCourse


class Recordings:
    """Starts recordings, lets callers follow them, and ends them early on demand."""

    def __init__(
        self,
        roster: Roster,
        recorder: Recorder,
        spool: Spool,
        places: Places,
        clock: Callable[[], float],
    ) -> None:
        self._roster = roster
        self._recorder = recorder
        self._spool = spool
        self._places = places
        self._clock = clock
        self._running: dict[str, _Running] = {}
        self._closing = False

    @property
    def running(self) -> int:
        """How many recordings run now."""
        return len(self._running)

    async def record(self, spec: RecordSpec) -> AsyncGenerator[agents_pb2.RecordProfileEvent, None]:
        """Records, joins the recording, or returns what was recorded before.

        Raises:
            CaptureError, DriverError, SpoolError: it could not be recorded.
        """
        running, entry = self._known(spec)
        if running is None and entry is None:
            if spec.join_only:
                raise RecordingLostError(spec.request_id)
            target = await self._roster.find(spec.target_id)
            running, entry = self._known(spec)
            if running is None and entry is None:
                running = self._start(spec, target)
        if running is not None:
            async with contextlib.aclosing(self._follow(running)) as events:
                async for event in events:
                    yield event
        elif entry is not None:
            yield agents_pb2.RecordProfileEvent(artifact=_past(entry))

    def stop(self, request_id: str) -> None:
        """Ends a recording before its time; one that does not run is no error."""
        if running := self._running.get(request_id):
            running.course.stop.set()

    async def close(self) -> None:
        """Cancels every recording and waits until each has left its target."""
        self._closing = True
        tasks = [running.task for running in self._running.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _known(self, spec: RecordSpec) -> tuple[_Running | None, Entry | None]:
        """The recording of a request, and what it made.

        Raises:
            BadRequestError: the request id was used for something else.
        """
        running = self._running.get(spec.request_id)
        entry = self._spool.by_request(spec.request_id)
        used = running.spec.target_id if running else entry.snapshot.target_id if entry else ""
        if used and used != spec.target_id:
            cause = f"'{spec.request_id}' was used for target '{used}'; use a new one"
            raise BadRequestError("request_id", cause)
        return running, entry

    def _start(self, spec: RecordSpec, target: Target) -> _Running:
        """Starts a recording where nothing stands in its way.

        Raises:
            KindUnsupportedError, NoWayInError: it cannot be recorded.
            CaptureInProgressError: the process is captured or recorded already.
            CaptureCancelledError: the agent stops.
        """
        if self._closing:
            raise CaptureCancelledError(target.found.pid, "the agent stops")
        self._recorder.profiler(spec.kind, target)
        ends = self._clock() + spec.options.duration_seconds
        self._places.recording(spec.request_id, target, lambda: ends - self._clock())
        course = RecordingCourse(spec.options.duration_seconds)
        task = asyncio.create_task(self._record(spec, target, course), name="recording")
        running = _Running(spec, target, task, course)
        self._running[spec.request_id] = running
        task.add_done_callback(lambda _: self._done(running))
        return running

    async def _record(
        self, spec: RecordSpec, target: Target, course: RecordingCourse
    ) -> snapshots_pb2.Snapshot:
        """The task of one recording.

        Raises:
            CaptureTimeoutError, CaptureCancelledError: it was ended.
        """
        seconds = spec.options.duration_seconds + FINISHING_SECONDS
        try:
            async with asyncio.timeout(seconds):
                return await self._recorder.record(spec, target, course)
        except TimeoutError as error:
            raise CaptureTimeoutError(target.found.pid, seconds) from error
        except asyncio.CancelledError as error:
            raise CaptureCancelledError(target.found.pid, "the agent stops") from error

    def _done(self, running: _Running) -> None:
        """Notes a recording's end, whoever hears of it."""
        spec = running.spec
        del self._running[spec.request_id]
        self._places.free(spec.request_id)
        about = {"request": spec.request_id, "target": spec.target_id, "kind": str(spec.kind)}
        error = asyncio.CancelledError() if running.task.cancelled() else running.task.exception()
        if error is None:
            artifact = running.task.result()
            _log.info("recorded", artifact=artifact.id, raw_bytes=artifact.raw_size_bytes, **about)
        elif isinstance(error, AgentError | DriverError):
            _log.warning("not recorded", reason=str(error.reason), cause=str(error), **about)
        else:
            _log.error("recording broke", exc_info=error, **about)

    async def _follow(
        self, running: _Running
    ) -> AsyncGenerator[agents_pb2.RecordProfileEvent, None]:
        """What happens to a recording, to its end."""
        last, told = None, self._clock()
        while True:
            done, _ = await asyncio.wait([running.task], timeout=POLL_SECONDS)
            progress = running.course.to_pb()
            silent = self._clock() - told >= SIGN_OF_LIFE_SECONDS
            if progress != last or silent:
                last, told = progress, self._clock()
                yield agents_pb2.RecordProfileEvent(progress=progress)
            if done:
                break
        yield agents_pb2.RecordProfileEvent(artifact=running.task.result())


def _past(entry: Entry) -> snapshots_pb2.Snapshot:
    """An artifact that was recorded before, with a note where its bytes are gone."""
    artifact = snapshots_pb2.Snapshot()
    artifact.CopyFrom(entry.snapshot)
    if entry.discarded:
        artifact.notes.append(DISCARDED_NOTE)
    return artifact
