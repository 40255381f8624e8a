"""Whether a capture may go on: what it will cost, what there is, and the verdict. Pure.

The prediction starts from measured figures of each way and is drawn towards what the target's
own earlier captures have cost.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from memwatch_agent.cgroups import Level
from memwatch_agent.drivers.base import HeapFigures, Process, Runtime
from memwatch_agent.errors import HeadroomError, PauseBudgetError
from memwatch_proto.v1 import agents_pb2

_MB = 1024 * 1024

#: V8 takes 370 to 930 bytes for each node of the graph while it writes a snapshot: 10 to 13 times
#: a usual heap and up to 24 times one of very small objects (docs/decisions/0010-preflight.md).
NODE_MEMORY_PER_HEAP = 16.0
#: A `.heapsnapshot` has about twice the bytes of the heap that it describes.
NODE_RAW_PER_HEAP = 2.0
#: Milliseconds of stopped event loop for each MB of heap, up to and including a major version.
#: Node 18's table of strings degrades where many differ in their digits only.
NODE_PAUSE_PER_MB = ((18, 600.0), (20, 110.0), (22, 88.0), (999, 63.0))
_NODE_OLDEST_PAUSE = NODE_PAUSE_PER_MB[0][1]

#: A forked Python copies what it touches and builds its own tables.
PYTHON_MEMORY_PER_RSS = 2.0
#: The C walker's child makes small tables (8 MB and 1.5 % of RSS at most); the rest is for pages
#: that the app writes meanwhile. The child ends itself before the limit is reached.
PYTHON_C_MEMORY_PER_RSS = 0.1
PYTHON_C_MEMORY_BYTES = 24 * _MB
PYTHON_RAW_PER_RSS = 1.0
#: Milliseconds of a walk for each MiB of a heap whose objects have 75 bytes: 0.1 us an object for
#: the C walker, 5 us for its twin.
PYTHON_C_WALK_PER_MB = 1.4
PYTHON_WALK_PER_MB = 70.0
#: Copying the page tables takes 35 ms for each GiB; waking the hook's thread and the collector
#: take the rest.
PYTHON_PAUSE_PER_MB = 35.0 / 1024
PYTHON_PAUSE_MILLIS = 50.0

#: How much an earlier capture counts beside the next newer one.
_OLDER = 0.5
#: How much the general figures count beside the newest capture of the same process: they may be
#: wrong by a factor of five and still move a prediction by less than a third.
_GENERAL = 0.05

#: V8's heap holds garbage that a snapshot first collects: a size up to this much smaller than at an
#: earlier capture may describe the same objects, so the prediction is not lowered for it.
_GARBAGE = 0.7

#: A learned prediction is kept within 30 %, so that much more must be there. The general figures
#: are upper ends already.
LEARNED_MARGIN = 1.3


@dataclass(frozen=True)
class Cost:
    """What one capture costs, predicted or measured."""

    pause_millis: float
    extra_memory_bytes: float
    raw_size_bytes: float
    #: From the first command to the last byte.
    duration_millis: float = 0.0


@dataclass(frozen=True)
class Past:
    """One earlier capture: the size it was taken at, and what it cost.

    The memory counts as if the process had kept nothing from captures before.
    """

    basis_bytes: int
    cost: Cost


@dataclass(frozen=True)
class Estimate:
    """A prediction.

    Attributes:
        cost: what the capture costs a process that kept nothing from captures before.
        retained_bytes: what this process did keep, and will use again.
        learned_from: how many earlier captures the prediction rests on.
    """

    cost: Cost
    retained_bytes: float
    learned_from: int

    @property
    def extra_memory_bytes(self) -> int:
        """The memory that the capture takes on top of what the process has now."""
        return max(0, round(self.cost.extra_memory_bytes - self.retained_bytes))

    @property
    def needed_bytes(self) -> int:
        """The memory that must be there, with the margin for a wrong prediction."""
        margin = LEARNED_MARGIN if self.learned_from else 1.0
        return max(0, round(self.cost.extra_memory_bytes * margin - self.retained_bytes))


def basis_bytes(process: Process, heap: HeapFigures, rss_bytes: int) -> int:
    """The size that costs grow with: V8's heap where it is known, else the resident memory."""
    if process.runtime is Runtime.NODE and heap.used_bytes:
        return heap.used_bytes
    return rss_bytes


def general_cost(process: Process, basis: int, walker: str = "") -> Cost:
    """The cost of a capture of nobody in particular, from the figures above.

    `walker`: see `HeapFigures`.
    """
    if process.runtime is Runtime.NODE:
        pause = node_pause_per_mb(process.version) * basis / _MB
        return Cost(pause, NODE_MEMORY_PER_HEAP * basis, NODE_RAW_PER_HEAP * basis)
    pause = PYTHON_PAUSE_MILLIS + PYTHON_PAUSE_PER_MB * basis / _MB
    memory, walk = PYTHON_MEMORY_PER_RSS * basis, PYTHON_WALK_PER_MB * basis / _MB
    if walker == "c":
        memory = PYTHON_C_MEMORY_BYTES + PYTHON_C_MEMORY_PER_RSS * basis
        walk = PYTHON_C_WALK_PER_MB * basis / _MB
    return Cost(pause, memory, PYTHON_RAW_PER_RSS * basis, pause + walk)


def node_pause_per_mb(version: str) -> float:
    """Milliseconds of pause for each MB of heap; the oldest Node's where the version is unknown."""
    major = version.partition(".")[0]
    if not major.isdigit():
        return _NODE_OLDEST_PAUSE
    return next(pause for newest, pause in NODE_PAUSE_PER_MB if int(major) <= newest)


def estimate(
    general: Cost, basis: int, past: Sequence[Past], retained_bytes: float = 0
) -> Estimate:
    """The cost at a size, drawn towards what earlier captures have cost.

    `past` is the newest first. Costs are taken to grow with the size in proportion.
    """
    if not past:
        return Estimate(general, retained_bytes, 0)
    scaled = [_scaled(one, basis) for one in past]
    cost = Cost(
        drawn(general.pause_millis, [one.pause_millis for one in scaled]),
        drawn(general.extra_memory_bytes, [one.extra_memory_bytes for one in scaled]),
        drawn(general.raw_size_bytes, [one.raw_size_bytes for one in scaled]),
        drawn(general.duration_millis, [one.duration_millis for one in scaled]),
    )
    return Estimate(cost, retained_bytes, len(past))


def drawn(general: float, past: Sequence[float]) -> float:
    """A general figure, drawn towards what was measured, the newest first."""
    weights = [_GENERAL, *(_OLDER**age for age in range(len(past)))]
    sum_ = sum(w * value for w, value in zip(weights, (general, *past), strict=True))
    return sum_ / sum(weights)


def _scaled(past: Past, basis: int) -> Cost:
    factor = basis / max(past.basis_bytes, 1)
    if _GARBAGE <= factor < 1:
        factor = 1.0
    cost = past.cost
    return Cost(
        cost.pause_millis * factor,
        cost.extra_memory_bytes * factor,
        cost.raw_size_bytes * factor,
        cost.duration_millis * factor,
    )


def retained_bytes(retained_after: float, rss_after: int, rss_now: int) -> float:
    """What a process still keeps of the memory that it kept after its last capture.

    An allocator keeps most of what a snapshot took and uses it again for the next one. What has
    left RSS since is gone; what came to it since is the app's own.
    """
    return max(0.0, retained_after - max(0, rss_after - rss_now))


def refusal(
    pid: int, estimate: Estimate, room: Level | None, max_pause_millis: int
) -> HeadroomError | PauseBudgetError | None:
    """Why the capture must not go on; None where it may.

    Args:
        pid: the process, for the sentence.
        estimate: what it will cost.
        room: the limited level with the least headroom; None where there is no limit.
        max_pause_millis: the longest pause that the caller allows; 0: any.
    """
    headroom = room.headroom_bytes if room else None
    if headroom is not None and estimate.needed_bytes > headroom:
        return HeadroomError(pid, estimate.needed_bytes, headroom)
    if max_pause_millis and estimate.cost.pause_millis > max_pause_millis:
        return PauseBudgetError(pid, round(estimate.cost.pause_millis), max_pause_millis)
    return None


def to_pb(
    estimate: Estimate, room: Level | None, refused: HeadroomError | PauseBudgetError | None
) -> agents_pb2.Preflight:
    """The verdict as it crosses a call."""
    return agents_pb2.Preflight(
        pause_millis=round(estimate.cost.pause_millis),
        extra_memory_bytes=estimate.extra_memory_bytes,
        headroom_bytes=room.headroom_bytes if room else None,
        raw_size_bytes=round(estimate.cost.raw_size_bytes),
        learned_from=estimate.learned_from,
        allowed=refused is None,
        refusal=str(refused) if refused else "",
    )
