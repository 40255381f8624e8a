"""The port to the engine that makes sessions durable: work that is done later, once it is due.

The engine knows nothing of sessions but the name of a piece of work. It promises: work
that was scheduled is performed at its time or later, at least once, also when the process
is killed in between and started again; work with the same id is not scheduled twice.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from memwatch_controller.model import Millis


class WorkKind(StrEnum):
    """What is to be done for one target of a session."""

    CAPTURE = "capture"  # `number` is the index of the snapshot
    ANALYSE = "analyse"
    DISCARD = "discard"  # lets the agent drop what nobody waits for; `number` is the try


class Queue(StrEnum):
    """Where work waits until a program takes it."""

    SESSIONS = "sessions"  # needs agents: the controller's
    ANALYSIS = "analysis"  # needs the store alone: the controller's, or any worker's


QUEUES = {
    WorkKind.CAPTURE: Queue.SESSIONS,
    WorkKind.DISCARD: Queue.SESSIONS,
    WorkKind.ANALYSE: Queue.ANALYSIS,
}


@dataclass(frozen=True, slots=True)
class Share:
    """Which part of the work a program takes.

    Attributes:
        queues: what it listens to; it may put work into others.
        analyses: analyses that it does at once; 0: it takes none.
    """

    queues: frozenset[Queue] = frozenset(Queue)
    analyses: int = 1


@dataclass(frozen=True, slots=True)
class Work:
    """One piece of work. Equal work has an equal id, and is done once."""

    kind: WorkKind
    session_id: str
    target_id: str
    number: int = 0

    @property
    def id(self) -> str:
        """Unique name, fit for a key."""
        return f"{self.session_id}.{self.target_id}.{self.kind}-{self.number}"


@dataclass(frozen=True, slots=True)
class Scheduled:
    """Work and when it is due; a time in the past means now."""

    work: Work
    at: Millis = 0


class WorkState(StrEnum):
    """What an engine knows of work."""

    UNKNOWN = "unknown"  # never scheduled, or done and forgotten
    WAITING = "waiting"  # not due yet, or due and not begun
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"  # cancelled, timed out, or broken by a fault: will not go on


#: Performs work; returns what is to be done next. Must be fit to be called again with the
#: same work, and to be cancelled at any await.
Handler = Callable[[Work], Awaitable[Scheduled | None]]


class Engine(Protocol):
    """Makes work durable."""

    async def start(self, handler: Handler) -> None:
        """Takes up what was left and begins to perform what is due."""

    async def stop(self) -> None:
        """Lets go of everything; what runs is left for the next start."""

    async def schedule(self, scheduled: Collection[Scheduled]) -> None:
        """Writes work down. When this returns it will be done; known ids are left alone."""

    async def cancel(self, work: Collection[Work]) -> None:
        """Ends work within a moment, whether it waits or runs; unknown ids are no error."""

    async def states(self, work: Collection[Work]) -> Mapping[Work, WorkState]:
        """What is known of each piece of work."""

    async def forget_done(self, before: Millis) -> int:
        """Drops the records of work that ended before a time; how many."""
