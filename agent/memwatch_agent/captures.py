"""Captures as their callers see them: one at a time for each pod, each taken once.

A capture is a task of its own that callers follow. When the last of them has gone it goes on
for a while, so that one who lost the connection finds it again by its request id.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

import structlog

from memwatch_agent.drivers.errors import CaptureFailedError, DriverError, TargetEndedError
from memwatch_agent.errors import (
    AgentError,
    BadRequestError,
    CaptureCancelledError,
    CaptureTimeoutError,
)
from memwatch_agent.places import Places
from memwatch_agent.spool import Entry, Spool
from memwatch_agent.taking import CaptureSpec, Course, Taker
from memwatch_agent.targets import Roster, Target
from memwatch_proto.v1 import agents_pb2, snapshots_pb2

#: So long a capture goes on without a caller.
ORPHAN_SECONDS = 10.0

#: How often a follower looks; also the longest that a finished capture waits for its caller.
POLL_SECONDS = 0.1

#: A follower hears something at least this often.
SIGN_OF_LIFE_SECONDS = 5.0

#: After a failure the target is looked at so many times, `POLL_SECONDS` apart, for its end.
ENDING_LOOKS = 5

DISCARDED_NOTE = "discarded from the agent's spool: its bytes are no longer there"

_log = structlog.get_logger(__name__)


@dataclass
class _Running:
    """A capture that runs."""

    spec: CaptureSpec
    target: Target
    started: float
    task: "asyncio.Task[snapshots_pb2.Snapshot]"
    course: Course
    followers: int = 0
    orphaned: asyncio.TimerHandle | None = None
    cancel_cause: str = ""


@dataclass
class Counts:
    """What became of captures since the start, for metrics."""

    started: int = 0
    succeeded: int = 0
    raw_bytes: int = 0
    failed: dict[str, int] = field(default_factory=dict)


class Captures:
    """Starts captures, lets callers follow them, and ends those that nobody wants."""

    def __init__(
        self,
        roster: Roster,
        taker: Taker,
        spool: Spool,
        places: Places,
        clock: Callable[[], float],
    ) -> None:
        self._roster = roster
        self._taker = taker
        self._spool = spool
        self._places = places
        self._clock = clock
        self._running: dict[str, _Running] = {}
        self._closing = False
        self.counts = Counts()

    @property
    def running(self) -> int:
        """How many captures run now."""
        return len(self._running)

    async def capture(self, spec: CaptureSpec) -> AsyncGenerator[agents_pb2.CaptureEvent, None]:
        """Takes a snapshot, joins the capture that takes it, or returns what was taken before.

        Raises:
            CaptureError, DriverError, SpoolError: it could not be taken.
        """
        running = self._running.get(spec.request_id)
        entry = self._spool.by_request(spec.request_id)
        if running is None and entry is None:
            target = await self._roster.find(spec.target_id)
            running = self._running.get(spec.request_id)
            entry = self._spool.by_request(spec.request_id)
            if running is None and entry is None:
                running = self._start(spec, target)
        if running is not None:
            _check_same(spec, running.spec.target_id)
            async with contextlib.aclosing(self._follow(running)) as events:
                async for event in events:
                    yield event
        elif entry is not None:
            _check_same(spec, entry.snapshot.target_id)
            yield agents_pb2.CaptureEvent(snapshot=_past(entry))

    async def close(self) -> None:
        """Cancels every capture and waits until each has left its target."""
        self._closing = True
        tasks = [self._cancel(running, "the agent stops") for running in self._running.values()]
        if tasks:
            await asyncio.wait(tasks)

    def _start(self, spec: CaptureSpec, target: Target) -> _Running:
        """Starts a capture where none stands in its way.

        Raises:
            CaptureInProgressError: one does.
            NoWayInError: the target offers none.
            CaptureCancelledError: the agent stops.
        """
        if self._closing:
            raise CaptureCancelledError(target.found.pid, "the agent stops")
        self._taker.ways(spec, target)
        course, began = Course(), self._clock()
        self._places.capture(
            spec.request_id, target, lambda: course.expected_seconds - (self._clock() - began)
        )
        task = asyncio.create_task(self._take(spec, target, course), name=f"capture {spec.phase}")
        running = _Running(spec, target, began, task, course)
        self._running[spec.request_id] = running
        self.counts.started += 1
        task.add_done_callback(lambda _: self._done(running))
        return running

    async def _take(
        self, spec: CaptureSpec, target: Target, course: Course
    ) -> snapshots_pb2.Snapshot:
        """The task of one capture.

        Raises:
            CaptureTimeoutError, CaptureCancelledError: it was ended.
        """
        try:
            async with asyncio.timeout(spec.timeout_seconds):
                return await self._taker.take(spec, target, course)
        except CaptureFailedError as error:
            if await self._ends(target):
                cause = f"it has ended ({error.cause})"
                raise TargetEndedError(target.found.pid, cause, "capture its successor") from error
            raise
        except TimeoutError as error:
            raise CaptureTimeoutError(target.found.pid, spec.timeout_seconds) from error
        except asyncio.CancelledError as error:
            running = self._running.get(spec.request_id)
            cause = running.cancel_cause if running else ""
            raise CaptureCancelledError(target.found.pid, cause or "it was cancelled") from error

    async def _ends(self, target: Target) -> bool:
        """Whether the target is gone, or is about to be: its sockets close before it ends."""
        for _ in range(ENDING_LOOKS):
            if not await asyncio.to_thread(self._roster.alive, target):
                return True
            await asyncio.sleep(POLL_SECONDS)
        return False

    def _done(self, running: _Running) -> None:
        """Notes a capture's end, whoever hears of it."""
        del self._running[running.spec.request_id]
        self._places.free(running.spec.request_id)
        if running.orphaned is not None:
            running.orphaned.cancel()
        about = {
            "request": running.spec.request_id,
            "target": running.target.id,
            "pid": running.target.found.pid,
            "seconds": round(self._clock() - running.started, 3),
        }
        error = _error_of(running.task)
        if error is None:
            snapshot = running.task.result()
            self.counts.succeeded += 1
            self.counts.raw_bytes += snapshot.raw_size_bytes
            _log.info("captured", snapshot=snapshot.id, raw_bytes=snapshot.raw_size_bytes, **about)
            return
        reason = str(getattr(error, "reason", "INTERNAL"))
        self.counts.failed[reason] = self.counts.failed.get(reason, 0) + 1
        if isinstance(error, AgentError | DriverError):
            _log.warning("not captured", reason=reason, cause=str(error), **about)
        else:
            _log.error("capture broke", exc_info=error, **about)

    async def _follow(self, running: _Running) -> AsyncGenerator[agents_pb2.CaptureEvent, None]:
        """What happens to a capture, to its end; the first event has the preflight."""
        self._joined(running)
        try:
            last, told = None, self._clock()
            while True:
                done, _ = await asyncio.wait([running.task], timeout=POLL_SECONDS)
                progress = running.course.to_pb()
                silent = self._clock() - told >= SIGN_OF_LIFE_SECONDS
                if running.course.preflight is not None and (progress != last or silent):
                    last, told = progress, self._clock()
                    yield agents_pb2.CaptureEvent(progress=progress)
                if done:
                    break
            yield agents_pb2.CaptureEvent(snapshot=running.task.result())
        finally:
            self._left(running)

    def _joined(self, running: _Running) -> None:
        running.followers += 1
        if running.orphaned is not None:
            running.orphaned.cancel()
            running.orphaned = None

    def _left(self, running: _Running) -> None:
        running.followers -= 1
        if running.followers == 0 and not running.task.done():
            running.orphaned = asyncio.get_running_loop().call_later(
                ORPHAN_SECONDS, self._cancel, running, "its caller went away"
            )

    @staticmethod
    def _cancel(running: _Running, cause: str) -> "asyncio.Task[snapshots_pb2.Snapshot]":
        running.cancel_cause = running.cancel_cause or cause
        running.task.cancel()
        return running.task


def _error_of(task: "asyncio.Task[snapshots_pb2.Snapshot]") -> BaseException | None:
    return asyncio.CancelledError() if task.cancelled() else task.exception()


def _check_same(spec: CaptureSpec, target_id: str) -> None:
    """A request id belongs to one target for ever."""
    if spec.target_id != target_id:
        cause = f"'{spec.request_id}' was used for target '{target_id}'; use a new one"
        raise BadRequestError("request_id", cause)


def _past(entry: Entry) -> snapshots_pb2.Snapshot:
    """A snapshot that was taken before, with a note where its bytes are gone."""
    snapshot = snapshots_pb2.Snapshot()
    snapshot.CopyFrom(entry.snapshot)
    if entry.discarded:
        snapshot.notes.append(DISCARDED_NOTE)
    return snapshot
