"""The tries of one capture: in which manners, how often, within what, until one succeeds."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from memwatch_agent.cgroups import Level
from memwatch_agent.drivers.base import Bounds, CaptureFacts, Link, Manner, Report
from memwatch_agent.drivers.errors import CannotForkError, ForkFailedError
from memwatch_agent.intake import Intake
from memwatch_agent.spool import Spool, Writer

#: Each costs the target one fork; of 100 children that fork while V8's workers sleep one hangs.
MAX_FORKS = 3

#: A child that fails for this will fail again, and the blocking way takes as much.
_HOPELESS = ("memory", "reader")

#: How often the memory that is left is looked at while a child runs.
_LOOK_SECONDS = 0.1

#: So much stays free under the limit while a child runs: of the limit, and at least.
_RESERVE_SHARE = 0.05
_RESERVE_BYTES = 64 * 1024 * 1024
#: Where little is free to begin with, the reserve is this much of it.
_RESERVE_OF_HEADROOM = 0.25

#: A child takes as long as the blocking way where it has a core. Being nicer by ten it has a tenth
#: of one beside a busy app, and still works; one that only sleeps is ended long before.
_SLOWER = 15.0
_MIN_SECONDS = 60.0


class PauseMode(StrEnum):
    """How long a target may stand still."""

    AUTO = "auto"
    NEVER = "never"
    BLOCKING = "blocking"


@dataclass(frozen=True)
class Try:
    """One try; `failure` is empty for the one that took the snapshot."""

    manner: Manner
    failure: str
    pause_millis: float
    duration_millis: float
    extra_memory_bytes: int


@dataclass(frozen=True)
class Taken:
    """What a capture has brought: the bytes are received, not yet finished."""

    writer: Writer
    intake: Intake
    facts: CaptureFacts
    tries: tuple[Try, ...]


def manners(mode: PauseMode, link: Link, pid: int) -> Sequence[Manner]:
    """The manners to try, best first.

    Raises:
        CannotForkError: the target must not stand still, and there is no other manner.
    """
    offered = tuple(link.manners)
    if mode is PauseMode.AUTO:
        return offered
    wanted = Manner.FORKED if mode is PauseMode.NEVER else Manner.BLOCKING
    if wanted in offered:
        return (wanted,)
    if mode is PauseMode.NEVER:
        raise CannotForkError(pid, link.cannot_fork, "let it pause")
    return offered


def untried(mode: PauseMode, link: Link) -> Sequence[Try]:
    """What is recorded where a child was to be tried first, and none could be."""
    if mode is not PauseMode.AUTO or Manner.FORKED in link.manners or not link.cannot_fork:
        return ()
    return (Try(Manner.FORKED, link.cannot_fork, 0.0, 0.0, 0),)


def bounds(room: Level | None, duration_millis: float, spool_bytes: int = 0) -> Bounds:
    """What a child may take: what is free but for the reserve, and a few times what it needs.

    `spool_bytes`: what the spool has room for; 0: any.
    """
    seconds = max(_MIN_SECONDS, _SLOWER * duration_millis / 1000)
    headroom = room.headroom_bytes if room else None
    if room is None or headroom is None:
        return Bounds(seconds, 0, spool_bytes)
    return Bounds(seconds, max(1, headroom - reserve(room)), spool_bytes)


def reserve(room: Level) -> int:
    """What must stay free under a limit."""
    wanted = max(_RESERVE_BYTES, _RESERVE_SHARE * (room.limit_bytes or 0))
    return int(min(wanted, _RESERVE_OF_HEADROOM * (room.headroom_bytes or 0)))


@dataclass
class Attempts:
    """Runs the tries of one capture, each into a fresh file of the spool.

    Attributes:
        look: reads the level with the least headroom; None where nothing is limited.
        began: hears of each try's intake as it begins.
    """

    pid: int
    link: Link
    spool: Spool
    snapshot_id: str
    look: Callable[[], Level | None]
    began: Callable[[Intake], None]
    tries: list[Try] = field(default_factory=list)

    async def run(self, plan: Sequence[tuple[Manner, Bounds]], report: Report) -> Taken:
        """Tries in order: a child again while that may help, then the next manner.

        Raises:
            ForkFailedError, CannotForkError, DriverError: the last try failed.
            SpoolFullError: there is no room.
        """
        for manner, limits in plan[:-1]:
            try:
                return await self._repeated(manner, limits, report)
            except CannotForkError as error:
                self.tries.append(Try(manner, error.cause, 0.0, 0.0, 0))
            except ForkFailedError as error:
                if error.kind in _HOPELESS:
                    raise
        return await self._repeated(*plan[-1], report)

    async def _repeated(self, manner: Manner, limits: Bounds, report: Report) -> Taken:
        for left in range(MAX_FORKS - 1, -1, -1):
            try:
                return await self._once(manner, limits, report)
            except ForkFailedError as error:
                self.tries.append(_failed(error))
                if not left or error.kind in _HOPELESS:
                    raise
        raise AssertionError("the last try returns or raises")

    async def _once(self, manner: Manner, limits: Bounds, report: Report) -> Taken:
        writer = self.spool.create(self.snapshot_id)
        intake = Intake(writer)
        self.began(intake)
        try:
            if manner is Manner.FORKED:
                taking = self.link.capture_forked(intake.take, report, limits)
                facts = await self._guarded(taking)
            else:
                facts = await self.link.capture(intake.take, report)
        except BaseException:
            await intake.abort()
            raise
        done = Try(manner, "", facts.pause_millis, facts.duration_millis, facts.extra_memory_bytes)
        return Taken(writer, intake, facts, (*self.tries, done))

    async def _guarded(self, taking: Awaitable[CaptureFacts]) -> CaptureFacts:
        """Ends a child before it takes the last of the memory.

        Raises:
            ForkFailedError: it was ended; the link is closed by that.
        """
        room = await asyncio.to_thread(self.look)
        floor = reserve(room) if room else 0
        task = asyncio.ensure_future(taking)
        try:
            while not (await asyncio.wait({task}, timeout=_LOOK_SECONDS))[0]:
                room = await asyncio.to_thread(self.look)
                left = room.headroom_bytes if room else None
                if left is not None and left < floor:
                    raise self._short(left)
            return await task
        finally:
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                task.exception()  # seen: it was raised above, or does not matter any more

    def _short(self, left: int) -> ForkFailedError:
        cause = f"a child was ended because only {left >> 20} MiB were left under the memory limit"
        return ForkFailedError(
            self.pid, cause, "raise the limit, or capture when less is used", kind="memory"
        )


def _failed(error: ForkFailedError) -> Try:
    return Try(
        Manner.FORKED,
        error.cause,
        error.pause_millis,
        error.duration_millis,
        error.extra_memory_bytes,
    )
