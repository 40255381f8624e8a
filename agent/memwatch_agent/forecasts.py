"""What a capture would cost in each manner, from general figures and the target's past. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from memwatch_agent import safety
from memwatch_agent.cgroups import Level
from memwatch_agent.drivers.base import HeapFigures, Manner, Process, Runtime
from memwatch_agent.errors import HeadroomError, PauseBudgetError
from memwatch_agent.history import Record
from memwatch_agent.safety import Cost, Estimate, Past
from memwatch_proto.v1 import agents_pb2, common_pb2

_MB = 1024 * 1024

#: Copying the page tables and marking V8's mappings: measured 30 to 45 ms for each GB of resident
#: memory, and a few milliseconds whatever the size (docs/decisions/0034-forked-node.md).
FORK_PAUSE_MILLIS = 5.0
FORK_PAUSE_PER_MB = 45.0 / 1024

MANNERS = {
    Manner.FORKED: common_pb2.CAPTURE_MANNER_FORKED,
    Manner.BLOCKING: common_pb2.CAPTURE_MANNER_BLOCKING,
}


@dataclass(frozen=True)
class Size:
    """How big a target is now.

    Attributes:
        basis_bytes: the size that costs grow with.
        rss_bytes: its resident memory.
        walker: see `HeapFigures`.
    """

    basis_bytes: int
    rss_bytes: int
    walker: str = ""

    @classmethod
    def of(cls, process: Process, heap: HeapFigures, rss_bytes: int) -> "Size":
        """The size of a process."""
        return cls(safety.basis_bytes(process, heap, rss_bytes), rss_bytes, heap.walker)


@dataclass(frozen=True)
class Forecast:
    """One manner: what it will cost, and why it must not be."""

    manner: Manner
    estimate: Estimate
    refused: HeadroomError | PauseBudgetError | None

    def to_pb(self) -> agents_pb2.Forecast:
        """The forecast as it crosses a call."""
        return agents_pb2.Forecast(
            manner=MANNERS[self.manner],
            pause_millis=round(self.estimate.cost.pause_millis),
            duration_millis=round(self.estimate.cost.duration_millis),
            extra_memory_bytes=self.estimate.extra_memory_bytes,
            learned_from=self.estimate.learned_from,
            refusal=str(self.refused) if self.refused else "",
        )


def forecast(
    process: Process,
    size: Size,
    manner: Manner,
    records: Sequence[Record],
    retained_bytes: float,
    room: Level | None,
    max_pause_millis: int,
) -> Forecast:
    """What a capture will cost.

    Args:
        process: whose.
        size: how big it is now.
        manner: who will write the snapshot.
        records: earlier captures, the newest first, in whatever manner.
        retained_bytes: what the process kept of them; a child cannot use it.
        room: the level with the least headroom; None where there is no limit.
        max_pause_millis: the longest pause that the caller allows; 0: any.
    """
    general = _general(process, size, manner)
    same = [record for record in records if record.wrote == manner]
    if process.runtime is Runtime.PYTHON:
        past = [record.past for record in records]
    else:
        past = [record.past for record in same]
        past = past or [_borrowed(record, manner) for record in records]
        retained_bytes = 0.0 if manner is Manner.FORKED else retained_bytes
    estimate = safety.estimate(general, size.basis_bytes, past, retained_bytes)
    if process.runtime is Runtime.NODE and manner is Manner.FORKED:
        estimate = replace(estimate, cost=_with_fork_pause(estimate.cost, size.rss_bytes, same))
    refused = safety.refusal(process.pid, estimate, room, max_pause_millis)
    return Forecast(manner, estimate, refused)


def _general(process: Process, size: Size, manner: Manner) -> Cost:
    """The cost in one manner of a process that nothing is known of."""
    cost = safety.general_cost(process, size.basis_bytes, size.walker)
    if process.runtime is Runtime.PYTHON:
        return cost
    cost = replace(cost, duration_millis=cost.pause_millis)
    if manner is Manner.BLOCKING:
        return cost
    return replace(cost, pause_millis=_fork_millis(size.rss_bytes))


def _fork_millis(rss_bytes: int) -> float:
    return FORK_PAUSE_MILLIS + FORK_PAUSE_PER_MB * rss_bytes / _MB


def _with_fork_pause(cost: Cost, rss_bytes: int, forked: Sequence[Record]) -> Cost:
    """A fork copies the page tables of all that is resident, whatever of it is V8's heap.

    A process that once wrote a snapshot itself has kept several times its heap since.
    """
    general = _fork_millis(rss_bytes)
    past = [one.pause_millis * general / _fork_millis(one.rss_after_bytes) for one in forked]
    return replace(cost, pause_millis=safety.drawn(general, past))


def _borrowed(record: Record, manner: Manner) -> Past:
    """What a capture in the other manner teaches: the same work, done by somebody else.

    How long the app would stand still for the whole is what the child took of a processor: a child
    gives way to everybody, and waits longer for its turns than the app would.
    """
    if manner is Manner.FORKED:
        return record.past  # but for its pause: see `_with_fork_pause`
    millis = record.cpu_millis or record.duration_millis
    cost = replace(record.past.cost, pause_millis=millis, duration_millis=millis)
    return Past(record.basis_bytes, cost)


def to_pb(forecasts: Sequence[Forecast], room: Level | None) -> agents_pb2.Preflight:
    """The verdict as it crosses a call: of the first manner that may be, else of the first."""
    best = next((one for one in forecasts if one.refused is None), forecasts[0])
    preflight = safety.to_pb(best.estimate, room, best.refused)
    preflight.manner = MANNERS[best.manner]
    preflight.duration_millis = round(best.estimate.cost.duration_millis)
    preflight.forecasts.extend(one.to_pb() for one in forecasts)
    return preflight
