"""Captures through a hook's Unix socket: one shell for the hooks of both runtimes."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from memwatch_agent.drivers import hookwire
from memwatch_agent.drivers.artifact import Artifact, Throttled
from memwatch_agent.drivers.base import (
    Bounds,
    CaptureFacts,
    HeapFigures,
    Manner,
    PauseSource,
    Process,
    Progress,
    Report,
    Runtime,
    Sink,
    Stage,
    Way,
)
from memwatch_agent.drivers.cost import CostMeter
from memwatch_agent.drivers.errors import (
    CannotForkError,
    CaptureFailedError,
    DriverError,
    ForkFailedError,
    InspectorNotTargetError,
    NoWayInError,
    TargetBusyError,
    TargetEndedError,
)
from memwatch_agent.drivers.identity import is_alive
from memwatch_agent.drivers.unixstream import UnixStream

#: How long a process whose socket has closed may take to be seen ended.
ENDING_SECONDS = 0.5

#: A hook answers from the app's own loop (Node) or thread (Python): a busy app is slow, but one
#: that says nothing for this long is stuck.
ANSWER_SECONDS = 10.0

#: Read from the socket at once.
READ_BYTES = 256 * 1024

#: At most so many notes of a hook are believed, each cut here.
MAX_NOTES = 20
MAX_NOTE_CHARS = 200

#: No byte count, pause or number of objects comes near; an infinite one is a lie.
MAX_FIGURE = 2.0**53

#: The longest that a Python hook lets a child take; it refuses a longer deadline.
MAX_DEADLINE_MILLIS = 900_000

_PEER = struct.Struct("3i")
_T = TypeVar("_T")


class HookDriver:
    """Takes snapshots through the memwatch hook in the target."""

    way = Way.HOOK

    def open(self, target: Process) -> AbstractAsyncContextManager["HookLink"]:
        """Connects to the target's hook and makes sure that it is the target's.

        Raises:
            NoWayInError: nothing answers, or not in words we know.
            InspectorNotTargetError: another process answers.
            TargetEndedError: the target is gone.
        """
        return _opened(target, self._link)

    def _link(self, target: Process, stream: UnixStream) -> "HookLink":
        return HookLink(target, stream, stream, epoch_of(target))


def epoch_of(target: Process) -> str:
    """The epoch of ids that last as long as the process: see `CaptureFacts.id_epoch`."""
    return f"{target.runtime}-{target.pid}-{target.start_ticks}"


@asynccontextmanager
async def _opened(
    target: Process, make: Callable[[Process, UnixStream], "HookLink"]
) -> AsyncIterator["HookLink"]:
    link = make(target, await _connected(target))
    try:
        link.hello = await link.greet()
        yield link
    finally:
        link.close()


async def _connected(target: Process) -> UnixStream:
    if target.hook_socket is None:
        raise NoWayInError(target.pid, "it has no memwatch hook", "start it with the hook")
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            stream = await UnixStream.connect(target.hook_socket)
    except (OSError, TimeoutError) as error:
        raise await _gone_or(target, NoWayInError, f"its hook does not answer ({error})") from error
    # Who listens, in our pid namespace; 0 where it is not in ours.
    peer = _PEER.unpack(stream.option(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))[0]
    if target.visible and peer not in (0, target.pid):
        stream.close()
        raise InspectorNotTargetError(
            target.pid, f"its hook's socket is served by process {peer}", "list the targets again"
        )
    return stream


class Reader(Protocol):
    """Where a hook's words come from: an asyncio stream, or ours."""

    async def read(self, count: int, /) -> bytes:
        """The next bytes; none where the hook has closed."""


class Writer(Protocol):
    """Where requests go."""

    def write(self, data: bytes, /) -> None:
        """Sends a request."""

    def close(self) -> None:
        """Ends the connection."""


class HookLink:
    """A connection to one hook; for one request at a time."""

    def __init__(
        self,
        target: Process,
        reader: Reader,
        writer: Writer,
        epoch: str,
    ) -> None:
        """`epoch`: see `CaptureFacts.id_epoch`. `notes` are added to those of the hook."""
        self._target = target
        self._reader = reader
        self._writer = writer
        self._wire = hookwire.Connection()
        self.epoch = epoch
        self.notes: tuple[str, ...] = ()
        self.hello = hookwire.Hello(hookwire.PROTOCOL, "", "", "", 0, 0, "", ())

    def close(self) -> None:
        """Closes the connection; the hook gives up whatever still runs on it."""
        self._writer.close()

    async def greet(self) -> hookwire.Hello:
        """Waits for HELLO and checks that it is the target who speaks."""
        async for event in self._events(ANSWER_SECONDS):
            if isinstance(event, hookwire.Hello):
                self._check(event)
                self.hello = event
                return event
        raise await self.ended("its hook closed the connection at once")

    def _check(self, hello: hookwire.Hello) -> None:
        other_pid = not self._target.visible and hello.pid != self._target.pid
        if other_pid or hello.start_ticks != self._target.start_ticks:
            raise InspectorNotTargetError(
                self._target.pid,
                f"its hook speaks for another process: {hello.pid}, started at {hello.start_ticks}",
                "list the targets again",
            )
        if hello.protocol != hookwire.PROTOCOL:
            raise NoWayInError(
                self._target.pid,
                f"its hook speaks version {hello.protocol}, this agent {hookwire.PROTOCOL}",
                "bring hook and agent to the same version",
            )

    @property
    def manners(self) -> Sequence[Manner]:
        """CPython's hook always forks; Node's does where it knows how."""
        if self._target.runtime is Runtime.PYTHON:
            return (Manner.FORKED,)
        forks = Manner.FORKED in self.hello.pauses
        return (Manner.FORKED, Manner.BLOCKING) if forks else (Manner.BLOCKING,)

    @property
    def cannot_fork(self) -> str:
        """Why not, in a clause."""
        return "" if Manner.FORKED in self.manners else "its hook is too old to fork"

    async def stats(self, types: int = 0) -> Mapping[str, Any]:
        """The hook's own figures, as the wire's `stats` command tells them."""
        return await self._ask("stats", {"types": types})

    async def metrics(self, offset: int = 0) -> Mapping[str, Any]:
        """One page of what the app tells, as the wire's `metrics` command has it."""
        return await self._ask("metrics", {"offset": offset})

    async def figures(self) -> HeapFigures:
        """How big the heap is: bytes of V8's, the number of tracked objects of CPython's."""
        stats = await self.stats()
        heap, memory = stats.get("heap"), stats.get("memory")
        heap = heap if isinstance(heap, dict) else {}
        memory = memory if isinstance(memory, dict) else {}
        return HeapFigures(
            used_bytes=amount(heap.get("used_heap_bytes") or memory.get("heap_used_bytes")),
            limit_bytes=amount(heap.get("heap_limit_bytes")),
            objects=amount(stats.get("gc_objects")),
            workers=amount(stats.get("workers")),
            external_bytes=amount(memory.get("external_bytes")),
            resources=_sum(stats.get("resources")),
        )

    async def capture(self, sink: Sink, report: Report) -> CaptureFacts:
        """Asks for `heap` and passes the bytes on; see `Link.capture`."""
        return await self._captured(sink, report, {})

    async def capture_forked(self, sink: Sink, report: Report, bounds: Bounds) -> CaptureFacts:
        """Asks for `heap` from a child; see `Link.capture_forked`."""
        if self._target.runtime is Runtime.PYTHON:
            return await self._captured(sink, report, python_bounds(bounds))
        options: dict[str, Any] = {"pause": str(Manner.FORKED)}
        if bounds.seconds:
            options["deadline_millis"] = round(bounds.seconds * 1000)
        if bounds.memory_bytes:
            options["max_bytes"] = bounds.memory_bytes
        facts = await self._captured(sink, report, options)
        # V8 numbered the objects in a child that is gone.
        return replace(facts, id_epoch="")

    async def _captured(
        self, sink: Sink, report: Report, options: Mapping[str, Any]
    ) -> CaptureFacts:
        artifact = Artifact(sink)
        async with CostMeter(self._target) as meter:
            self._writer.write(self._wire.request("heap", options))
            result = await self._received(artifact, report)
            said = result.get("size_bytes")
            if said != artifact.size_bytes or not artifact.complete:
                raise CaptureFailedError(
                    self._target.pid,
                    f"its hook sent {artifact.size_bytes} bytes of a snapshot of {str(said)[:20]}",
                    "capture it again",
                )
            return self._facts(artifact.size_bytes, meter, result)

    async def ask(
        self, command: str, options: Mapping[str, Any]
    ) -> AsyncGenerator[hookwire.Event, None]:
        """Sends a request that takes its time; what the hook says until it closes."""
        self._writer.write(self._wire.request(command, options))
        async with contextlib.aclosing(self._events(None)) as events:
            async for event in events:
                yield event

    def end_recording(self) -> None:
        """Ends the running recording before its time; what was recorded comes."""
        self._writer.write(self._wire.stop())

    async def _received(self, artifact: Artifact, report: Report) -> Mapping[str, Any]:
        progress = Throttled(report)
        async for event in self._events(None):
            match event:
                case hookwire.Data():
                    await artifact.take(event.data)
                case hookwire.Progress():
                    progress.report(Progress(Stage.CAPTURING, event.done, event.total))
                case hookwire.Result():
                    return event.result
                case hookwire.Failed():
                    raise self._refused(event)
                case _:
                    pass
        raise await self.ended("its hook closed the connection half-way")

    def _facts(self, size: int, meter: CostMeter, result: Mapping[str, Any]) -> CaptureFacts:
        pause = believed(result.get("pause_millis"))
        extra = amount(result.get("extra_memory_bytes")) or 0
        forked = result.get("pause") == Manner.FORKED or self._target.runtime is Runtime.PYTHON
        return CaptureFacts(
            size_bytes=size,
            objects=amount(result.get("objects")),
            pause_millis=meter.duration_millis if pause is None else pause,
            pause_source=PauseSource.ROUND_TRIP if pause is None else PauseSource.RUNTIME,
            cpu_millis=amount(result.get("cpu_millis")) or meter.cpu_millis,
            # What the app itself takes meanwhile is no cost of a child.
            extra_memory_bytes=extra if forked and extra else max(extra, meter.extra_memory_bytes),
            rss_before_bytes=meter.rss_before_bytes,
            rss_after_bytes=meter.rss_bytes,
            duration_millis=meter.duration_millis,
            id_epoch=_epoch_after(self.epoch, amount(result.get("ids")) or 0),
            notes=(*self.notes, *believed_notes(result.get("notes"))),
            manner=Manner.FORKED if forked else Manner.BLOCKING,
        )

    async def _ask(self, command: str, options: Mapping[str, Any]) -> Mapping[str, Any]:
        self._writer.write(self._wire.request(command, options))
        async for event in self._events(ANSWER_SECONDS):
            match event:
                case hookwire.Result():
                    return event.result
                case hookwire.Failed():
                    raise self._refused(event)
                case _:
                    pass
        raise await self.ended("its hook closed the connection")

    async def _events(self, seconds: float | None) -> AsyncGenerator[hookwire.Event, None]:
        """What the hook says until it closes; `seconds` bounds the silence before each word."""
        try:
            while data := await _within(seconds, self._reader.read(READ_BYTES)):
                for event in self._wire.receive(data):
                    yield event
        except hookwire.WireError as error:
            raise NoWayInError(
                self._target.pid, f"its hook breaks the protocol: {error}", "restart it"
            ) from error
        except TimeoutError as error:
            raise NoWayInError(
                self._target.pid,
                f"its hook says nothing for {seconds:g} s",
                "it may be too busy; try again",
            ) from error
        except ConnectionError as error:
            raise await self.ended(f"the connection to its hook broke ({error})") from error

    def _refused(self, event: hookwire.Failed) -> DriverError:
        if event.reason == "BUSY":
            return TargetBusyError(self._target.pid, "its hook is taking a snapshot already")
        if event.reason == "CANNOT_FORK":
            return CannotForkError(self._target.pid, event.message, "let it pause")
        if event.reason == "CHILD_FAILED" and event.details.get("pause") == Manner.FORKED:
            return ForkFailedError(
                self._target.pid,
                event.message,
                "try again, or let it pause",
                kind=str(event.details.get("cause", ""))[:MAX_NOTE_CHARS],
                pause_millis=believed(event.details.get("pause_millis")) or 0.0,
                duration_millis=believed(event.details.get("duration_millis")) or 0.0,
                extra_memory_bytes=amount(event.details.get("extra_memory_bytes")) or 0,
            )
        return CaptureFailedError(
            self._target.pid, f"its hook says {event.reason}: {event.message}"
        )

    async def ended(self, cause: str) -> DriverError:
        """What it means that the hook is gone."""
        return await _gone_or(self._target, CaptureFailedError, cause)


def python_bounds(bounds: Bounds) -> dict[str, Any]:
    """A Python hook's words for what its child may take; an older hook does not know them."""
    options: dict[str, Any] = {}
    if bounds.seconds:
        millis = round(bounds.seconds * 1000)
        options["deadline_millis"] = max(1, min(millis, MAX_DEADLINE_MILLIS))
    if bounds.memory_bytes:
        options["max_extra_bytes"] = bounds.memory_bytes
    return options


def _epoch_after(epoch: str, times_forgotten: int) -> str:
    """V8 forgets all object ids when a profile over an inspector session ends."""
    return f"{epoch}-{times_forgotten}" if epoch and times_forgotten else epoch


async def _within(seconds: float | None, waiting: Awaitable[_T]) -> _T:
    async with asyncio.timeout(seconds):
        return await waiting


async def _gone_or(target: Process, kind: type[DriverError], cause: str) -> DriverError:
    """TargetEndedError where the process is gone, else the error that fits the cause."""
    # A process that is killed closes its sockets a moment before /proc says that it has ended.
    if is_alive(target):
        await asyncio.sleep(ENDING_SECONDS)
    if not is_alive(target):
        return TargetEndedError(target.pid, f"it has ended ({cause})", "capture its successor")
    return kind(target.pid, cause, "try again")


def believed(value: object) -> float | None:
    """A figure that the hook told; None for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if 0 <= value < MAX_FIGURE else None
    return None


def _sum(counts: object) -> int | None:
    """Of all counts that the hook told; None where it told none."""
    if not isinstance(counts, dict):
        return None
    return sum(amount(one) or 0 for one in counts.values())


def amount(value: object) -> int | None:
    """A whole figure that the hook told; None for anything else."""
    number = believed(value)
    return None if number is None else int(number)


def believed_notes(value: object) -> tuple[str, ...]:
    """The notes that the hook told."""
    notes = value[:MAX_NOTES] if isinstance(value, list) else []
    return tuple(str(note)[:MAX_NOTE_CHARS] for note in notes)
