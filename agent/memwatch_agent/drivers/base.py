"""What a driver is: one way of taking a heap snapshot out of a process.

A driver opens a `Link` to a process; the link tells the heap's size for the
preflight, then streams one snapshot. Whatever the driver opened is shut again
when the block ends, however it ends:

    async with driver.open(process) as link:
        figures = await link.figures()
        ...                                   # the preflight decides
        facts = await link.capture(sink, report)
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol, runtime_checkable


class Runtime(StrEnum):
    """The language runtime of a process."""

    NODE = "node"
    PYTHON = "python"


class Way(StrEnum):
    """How a snapshot is taken out of a process."""

    HOOK = "hook"
    ATTACH = "attach"


class Manner(StrEnum):
    """Who writes a snapshot.

    A child that the process forks, for which it stands still for the fork alone; or the process
    itself, which stands still until it is done.
    """

    FORKED = "forked"
    BLOCKING = "blocking"


class Stage(StrEnum):
    """What a driver is doing."""

    CONNECTING = "connecting"
    CAPTURING = "capturing"
    FINISHING = "finishing"


class PauseSource(StrEnum):
    """How a pause was measured."""

    UNKNOWN = ""
    RUNTIME = "runtime"
    ROUND_TRIP = "round_trip"


@dataclass(frozen=True)
class Process:
    """One process, as the agent found it; a driver checks that it still is that one.

    Attributes:
        pid: in the agent's pid namespace.
        start_ticks: field 22 of /proc/PID/stat; with the pid it names one process for ever.
        runtime: its language runtime.
        version: of the runtime, without a leading "v"; empty where it is not known.
        uid: the real user id.
        exe: what /proc/PID/exe points at; empty where it cannot be read.
        argv: the command line.
        environ: those environment variables that matter here (NODE_OPTIONS, MEMWATCH_*);
            empty where it cannot be read.
        root: the process's root directory as the agent reaches it, such as /proc/PID/root.
        hook_socket: where its hook listens, as the agent reaches it; None without a hook.
        visible: whether `pid` is one of the agent's pid namespace; a process that is known by
            its hook alone is not, and nothing of it can be read in /proc.
    """

    pid: int
    start_ticks: int
    runtime: Runtime
    version: str = ""
    uid: int = 0
    exe: str = ""
    argv: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    root: Path = Path("/")
    hook_socket: Path | None = None
    visible: bool = True


@dataclass(frozen=True)
class HeapFigures:
    """How big a runtime's heap is now; None where the runtime does not tell."""

    used_bytes: int | None = None
    limit_bytes: int | None = None
    #: Objects that the collector tracks; only CPython tells.
    objects: int | None = None
    #: Worker threads of Node, as its hook counts them.
    workers: int | None = None
    #: Node: memory that objects hold outside the heap, and what keeps the event loop alive.
    external_bytes: int | None = None
    resources: int | None = None
    #: Which walker a Python hook has: "c", or "python", whose child copies the heap.
    walker: str = ""


@dataclass(frozen=True)
class HeapWalk:
    """What a heap walker of ours saw of a process.

    Attributes:
        walker: "c", or "python" for the twin.
        way: "clone", "fork" or "in place"; empty where the hook does not tell.
        objects: in the snapshot.
        heap_bytes: sum of their sizes.
        rss_bytes: of the process when the walk began; 0 where nobody knows.
        walk_millis: CPU time of the walk and of writing the dump.
        dump_bytes: size of the dump.
        convert_millis: CPU time of making the snapshot of the dump, here.
    """

    walker: str
    way: str
    objects: int
    heap_bytes: int
    rss_bytes: int
    walk_millis: int
    dump_bytes: int
    convert_millis: int


@dataclass(frozen=True)
class CaptureFacts:
    """What one snapshot was and what it cost the target, measured.

    Attributes:
        size_bytes: sum of the bytes given to the sink.
        objects: nodes in the graph; None where it is not known.
        pause_millis: the longest time in which the target's own code could not run.
        pause_source: how the pause was measured.
        cpu_millis: CPU time of the target and of its child, if it forked.
        extra_memory_bytes: highest extra memory of the target and its child.
        rss_before_bytes, rss_after_bytes: RSS of the target before and after.
        duration_millis: from the first command to the last byte.
        id_epoch: object ids of two snapshots may be compared only where both carry the same
            word here; "" says that this snapshot's ids compare with no other's.
        notes: what a reader of the snapshot should know.
        walk: what a heap walker of ours saw; None where the runtime wrote the snapshot itself.
        manner: who wrote it; None where nobody said.
    """

    size_bytes: int
    objects: int | None
    pause_millis: float
    pause_source: PauseSource
    cpu_millis: int
    extra_memory_bytes: int
    rss_before_bytes: int
    rss_after_bytes: int
    duration_millis: float
    id_epoch: str
    notes: tuple[str, ...] = ()
    walk: HeapWalk | None = None
    manner: Manner | None = None


@dataclass(frozen=True)
class Bounds:
    """What a forked child may take at most; 0: any.

    `artifact_bytes`: of what it writes to a file of its own, before that is converted.
    """

    seconds: float = 0.0
    memory_bytes: int = 0
    artifact_bytes: int = 0


@dataclass(frozen=True)
class Progress:
    """How far a capture is; `total` is 0 where nobody knows. `done` and `total` have no unit."""

    stage: Stage
    done: int = 0
    total: int = 0


#: Takes the next bytes of the snapshot; the driver reads on when it returns. The bytes are
#: the sink's own.
Sink = Callable[[bytes], Awaitable[None]]

#: Hears of progress, at most a few times a second; must not block.
Report = Callable[[Progress], None]


class Link(Protocol):
    """An open way into one process; for one snapshot."""

    @property
    def manners(self) -> Sequence[Manner]:
        """Who may write it, best first."""

    @property
    def cannot_fork(self) -> str:
        """Why FORKED is not among them, in a clause; empty where it is."""

    async def figures(self) -> HeapFigures:
        """How big the heap is, asked without pausing the target noticeably."""

    async def capture(self, sink: Sink, report: Report) -> CaptureFacts:
        """Takes the snapshot; every byte has gone to the sink when it returns.

        Raises:
            DriverError: it went wrong; what the sink has is worthless.
        """

    async def capture_forked(self, sink: Sink, report: Report, bounds: Bounds) -> CaptureFacts:
        """The same from a forked child, once; only where FORKED is among the manners.

        Raises:
            CannotForkError: the target cannot fork after all.
            ForkFailedError: the child failed; another one may not.
            DriverError: it went wrong otherwise.
        """


@runtime_checkable
class Tracer(Protocol):
    """A link whose target can trace its allocations for the snapshots that follow."""

    def trace(self, frames: int, seconds: int) -> None:
        """Has the next snapshot begin that, with so many frames each, for so long; 0: end it."""


class Driver(Protocol):
    """One way of taking a heap snapshot."""

    way: Way

    def open(self, target: Process) -> AbstractAsyncContextManager[Link]:
        """Opens the way in; leaving the block shuts what was opened, also after a cancel.

        Raises:
            DriverError: there is no way in, with the reason.
        """
