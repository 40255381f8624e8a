"""Attaches to a Node process: SIGUSR1, then the Chrome DevTools Protocol over a WebSocket.

The inspector is open for a moment only, to put the hook into the process (`injection.py`); the
snapshot then comes from there. Where that does not work it comes over the inspector.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from memwatch_agent.drivers import cdp, identity, injection, inspector, markers
from memwatch_agent.drivers.artifact import Artifact, Throttled
from memwatch_agent.drivers.base import (
    CaptureFacts,
    HeapFigures,
    Link,
    PauseSource,
    Process,
    Progress,
    Report,
    Sink,
    Stage,
    Way,
)
from memwatch_agent.drivers.cost import CostMeter
from memwatch_agent.drivers.errors import (
    CaptureFailedError,
    DriverError,
    InspectorExposedError,
    TargetBusyError,
    TargetEndedError,
)
from memwatch_agent.drivers.hook import HookLink
from memwatch_agent.drivers.kept import KeptLinks
from memwatch_agent.drivers.markers import Marker
from memwatch_agent.drivers.sockets import TcpRow

#: The app's own thread answers commands; one that is busy for longer cannot be measured anyway.
ANSWER_SECONDS = 10.0

#: How long leaving waits for the inspector to shut; after that it goes on in the background.
LEAVE_SECONDS = 5.0

#: A snapshot that was given up runs to its end in the target before it hears us: minutes.
SHUT_SECONDS = 900.0

#: What the target says of itself is cut here.
MAX_NOTE_CHARS = 200

#: By the connection that is there, then by a fresh one.
SHUT_TRIES = 2

#: A signal that has opened nothing by then will open nothing.
MARKER_SECONDS = 600.0

#: Messages of up to 1 MiB that wait for the sink; after them the socket is left unread.
MAX_QUEUE = 4

_MILLIS = "Number(process.hrtime.bigint())/1e6"

_HEAP_STATISTICS = """(() => {
  const v8 = process.getBuiltinModule ? process.getBuiltinModule('v8')
    : typeof require === 'function' ? require('v8') : process.mainModule.require('v8');
  return v8.getHeapStatistics();
})()"""

# The first one works in every release so far; it ends this connection too.
_SHUT = """(() => {
  const ways = [
    () => process._debugEnd(),
    () => process.getBuiltinModule('inspector').close(),
    () => require('inspector').close(),
    () => process.mainModule.require('inspector').close(),
  ];
  return ways.some((way) => { try { way(); return true; } catch { return false; } });
})()"""

Command = tuple[str, Mapping[str, Any]]

_log = structlog.get_logger(__name__)


class NodeAttachDriver:
    """Takes snapshots through V8's inspector, and shuts it again where it was shut before."""

    way = Way.ATTACH

    def __init__(self, state_dir: Path) -> None:
        """`state_dir`: where it is remembered which inspectors are open because of us."""
        self._state_dir = state_dir
        self._in_use: set[Path] = set()
        self._kept = KeptLinks()
        self._shutting: set[asyncio.Task[None]] = set()

    def open(self, target: Process) -> AbstractAsyncContextManager[Link]:
        """Connects to the target's inspector, opened by SIGUSR1 where it is not open.

        Raises:
            NoWayInError: it cannot be opened or reached, and why.
            DebuggerAttachedError: somebody else is connected to it.
            InspectorNotTargetError: its port is another process's.
            InspectorExposedError: it would open to other machines.
            TargetEndedError: the process has ended.
        """
        return self._opened(target)

    async def close_leftovers(self) -> None:
        """Shuts the inspectors that were opened by us and not shut, by this agent or one before.

        To be called when an agent starts and now and then. One that cannot be shut yet is left
        for the next time.
        """
        for marker in await asyncio.to_thread(lambda: list(markers.leftovers(self._state_dir))):
            if marker.path not in self._in_use:
                self._in_use.add(marker.path)
                await self._leave(_Door(marker.process(), marker, ours=True), last=True)

    async def aclose(self) -> None:
        """Leaves every target; inspectors that are not shut in a moment keep their markers."""
        self._kept.close()
        if self._shutting:
            await asyncio.wait(self._shutting, timeout=LEAVE_SECONDS)
        for task in self._shutting:
            task.cancel()

    @asynccontextmanager
    async def _opened(self, target: Process) -> AsyncIterator[Link]:
        marker = markers.marker(self._state_dir, target.pid, target.start_ticks)
        if marker.path in self._in_use:
            raise TargetBusyError(
                target.pid, "another capture of it has not come to its end", "try again"
            )
        self._in_use.add(marker.path)
        # A marker that was there before is of an inspector that we did not live to shut.
        door = _Door(target, marker, ours=marker.exists)
        try:
            if hook := await self._kept.take(target) or await self._injected(door):
                async with self._keeping(target, hook):
                    yield hook
            else:
                yield door.link
        finally:
            await self._leave(door, last=True)

    async def _injected(self, door: "_Door") -> HookLink | None:
        """A hook put into the target, with the inspector shut again; None where it cannot be."""
        link = await door.enter()
        try:
            hook = await injection.inject(door.target, link.evaluate)
        except (DriverError, OSError, TimeoutError) as error:
            if not identity.is_alive(door.target):
                raise _failed(door.target, str(error)) from error
            link.note(f"taken over the inspector: the hook could not be used ({error})")
            return None
        await self._leave(door)
        hook.notes = tuple(door.notes)
        if door.is_open:  # when it is shut, V8 forgets the ids
            hook.epoch = ""
        return hook

    @asynccontextmanager
    async def _keeping(self, target: Process, hook: HookLink) -> AsyncIterator[None]:
        """Keeps the hook's connection for the next capture, where this one ended well."""
        try:
            yield
        except BaseException:
            hook.close()
            raise
        self._kept.put(target, hook)

    async def _leave(self, door: "_Door", *, last: bool = False) -> None:
        """Shuts the door in a task of its own, so that no cancel can leave it open.

        Args:
            door: whose; may be shut already.
            last: the process is free for another capture afterwards.
        """
        task = asyncio.create_task(_shut(door), name=f"shut inspector of {door.target.pid}")
        self._shutting.add(task)
        task.add_done_callback(self._shutting.discard)
        if last:
            task.add_done_callback(lambda _: self._in_use.discard(door.marker.path))
        await asyncio.wait({task}, timeout=LEAVE_SECONDS)


async def _shut(door: "_Door") -> None:
    try:
        async with asyncio.timeout(SHUT_SECONDS):
            await door.shut()
    except (DriverError, OSError, TimeoutError, WebSocketException) as error:
        _log.warning("inspector not shut", pid=door.target.pid, cause=str(error))


class _Door:
    """The inspector of one process: whether it is open because of us, and the way to shut it."""

    def __init__(self, target: Process, marker: Marker, *, ours: bool) -> None:
        self.target = target
        self.marker = marker
        self.notes: list[str] = []
        self._ours = ours
        self._listener: TcpRow | None = None
        self._link: NodeLink | None = None
        self._shutting = asyncio.Lock()

    @property
    def link(self) -> "NodeLink":
        """The connection, once entered."""
        assert self._link is not None
        return self._link

    @property
    def is_open(self) -> bool:
        """Whether it is open because of us, or we are connected to it."""
        return self._ours or self._link is not None

    async def enter(self) -> "NodeLink":
        """Opens the inspector where it is shut, and connects to it."""
        self._listener = await inspector.find(self.target)
        if self._listener is None:
            self._listener, opened = await inspector.open_by_signal(self.target, self._mark)
            if not opened:
                self._unmark()
        self._check_exposure(self._listener)
        if not self._ours:
            await inspector.check_undisturbed(self.target, self._listener)
        self._link = await self._connected(self._listener)
        return self._link

    def _mark(self) -> None:
        try:
            self.marker.write()
        except OSError as error:
            cause = f"it cannot be remembered in the state directory ({error})"
            raise CaptureFailedError(self.target.pid, cause, "make room in it") from error
        self._ours = True

    def _unmark(self) -> None:
        self.marker.remove()
        self._ours = False

    def _check_exposure(self, listener: TcpRow) -> None:
        if not listener.exposed:
            return
        where = f"{listener.address}:{listener.port}"
        if self._ours:
            raise InspectorExposedError(
                self.target.pid,
                f"its inspector opened on {where}, which other machines may reach",
                "it was shut again; use the hook",
            )
        self.notes.append(f"the target's own inspector listens on {where}: others may reach it")

    async def shut(self) -> None:
        """Shuts what we opened and makes sure of it; an inspector of the owner's is left open.

        Raises:
            DriverError: it could not be shut; the marker remains.
        """
        async with self._shutting:
            try:
                if self._ours:
                    await self._shut_ours()
            finally:
                await self._hang_up()

    async def _shut_ours(self) -> None:
        try:
            listener = self._listener or await inspector.find_anywhere(self.target)
        except TargetEndedError:
            return self._unmark()
        if listener is None:
            return self._forget_unless_it_may_open_yet()
        for _ in range(SHUT_TRIES):
            if self._link is None and not await inspector.is_shut(self.target, listener):
                self._link = await self._connected(listener)
            if self._link is not None:
                await self._link.end()
                await self._hang_up()
            if await _until_shut(self.target, listener):
                return self._unmark()
        raise CaptureFailedError(
            self.target.pid, f"its inspector's port {listener.port} stays open"
        )

    async def _connected(self, listener: TcpRow) -> "NodeLink":
        return NodeLink(self.target, await _connected(self.target, listener), self.notes)

    async def _hang_up(self) -> None:
        if self._link is not None:
            await self._link.hang_up()
            self._link = None

    def _forget_unless_it_may_open_yet(self) -> None:
        """A busy app may open its inspector when it gets round to the signal, minutes later."""
        if time.time() - self.marker.written_seconds > MARKER_SECONDS:
            self._unmark()


class NodeLink:
    """A CDP connection to one Node process."""

    def __init__(self, target: Process, web_socket: ClientConnection, notes: list[str]) -> None:
        self._target = target
        self._socket = web_socket
        self._notes = notes
        self._cdp = cdp.Connection()
        self._waiting: dict[int, str] = {}  # the method of each command that is not answered
        self._results: dict[int, Mapping[str, Any]] = {}

    async def figures(self) -> HeapFigures:
        """V8's used heap and its limit."""
        figures = await self.evaluate(_HEAP_STATISTICS)
        figures = figures if isinstance(figures, dict) else {}
        return HeapFigures(
            used_bytes=_whole(figures.get("used_heap_size")),
            limit_bytes=_whole(figures.get("heap_size_limit")),
        )

    async def evaluate(self, expression: str) -> object:
        """The plain value of an expression.

        Raises:
            DriverError: it throws, or is not answered.
        """
        try:
            async with asyncio.timeout(ANSWER_SECONDS), _answering(self._target):
                params = cdp.evaluate_params(expression)
                (result,) = await self._run(("Runtime.evaluate", params))
                value: object = cdp.evaluated(result)
                return value
        except TimeoutError as error:
            raise CaptureFailedError(
                self._target.pid,
                f"it does not answer within {ANSWER_SECONDS:g} s",
                "it is too busy; try again",
            ) from error

    async def capture(self, sink: Sink, report: Report) -> CaptureFacts:
        """Takes a heap snapshot; see `Link.capture`."""
        artifact = Artifact(sink)
        async with CostMeter(self._target) as meter:
            pause = await self._taken(artifact, report)
            duration = meter.duration_millis
            if not artifact.complete:
                raise CaptureFailedError(
                    self._target.pid, f"its snapshot ended after {artifact.size_bytes} bytes"
                )
            report(Progress(Stage.FINISHING))
            return CaptureFacts(
                size_bytes=artifact.size_bytes,
                objects=None,
                pause_millis=duration if pause is None else pause,
                pause_source=PauseSource.ROUND_TRIP if pause is None else PauseSource.RUNTIME,
                cpu_millis=meter.cpu_millis,
                extra_memory_bytes=meter.extra_memory_bytes,
                rss_before_bytes=meter.rss_before_bytes,
                rss_after_bytes=meter.rss_bytes,
                duration_millis=duration,
                id_epoch="",  # V8 numbers all objects anew once this connection ends
                notes=tuple(self._notes),
            )

    async def _taken(self, artifact: Artifact, report: Report) -> float | None:
        """Streams the snapshot; returns how long the target's thread was at it, by its clock.

        The second look at the clock is asked for while the target is busy: it runs as soon as
        the snapshot is done, however late we read it. (Asked for at once it would run before,
        since from Node 22 on the command only queues the snapshot.)
        """
        clock = ("Runtime.evaluate", cdp.evaluate_params(_MILLIS))
        progress = Throttled(report)
        ended: int | None = None
        async with _answering(self._target):
            _, before = await self._run(("HeapProfiler.enable", {}), clock)
            await self._send(("HeapProfiler.takeHeapSnapshot", cdp.take_snapshot_params()))
            while self._waiting:
                event = await self._next()
                if ended is None and isinstance(event, cdp.Chunk | cdp.SnapshotProgress):
                    ended = await self._send(clock)
                if isinstance(event, cdp.Chunk):
                    await artifact.take(event.data)
                elif isinstance(event, cdp.SnapshotProgress):
                    progress.report(Progress(Stage.CAPTURING, event.done, event.total))
            return _between(before, self._results.pop(ended)) if ended else None

    async def end(self) -> None:
        """Has the target shut its inspector, which ends this connection.

        What the target still has to say is read first, and dropped: Node 24 was seen to crash when
        its inspector was shut with a snapshot on its way out (docs/decisions/0005-node-attach.md).
        """
        with contextlib.suppress(ConnectionClosed, cdp.ProtocolError):
            while self._waiting:
                await self._next()
            await self._run(("Runtime.evaluate", cdp.evaluate_params(_SHUT)))

    def note(self, note: str) -> None:
        """Adds what a reader of the snapshot should know."""
        self._notes.append(note[:MAX_NOTE_CHARS])

    async def hang_up(self) -> None:
        """Closes the connection."""
        await self._socket.close()

    async def _run(self, *commands: Command) -> list[Mapping[str, Any]]:
        """Sends the commands at once; returns their results when all are answered.

        Raises:
            cdp.ProtocolError: the peer refuses one, or does not speak CDP.
            ConnectionClosed: the connection ended.
        """
        ids = [await self._send(command) for command in commands]
        while not self._results.keys() >= set(ids):
            await self._next()
        return [self._results.pop(id_) for id_ in ids]

    async def _send(self, command: Command) -> int:
        """Sends a command; returns its id."""
        id_, text = self._cdp.command(*command)
        self._waiting[id_] = command[0]
        await self._socket.send(text)
        return id_

    async def _next(self) -> cdp.Event:
        """The next event; an answer's result is put among the results."""
        event = self._cdp.receive(await self._socket.recv(decode=False))
        if isinstance(event, cdp.Refusal):
            method = self._waiting.pop(event.id, "a command")
            raise cdp.ProtocolError(f"{method} was refused: {event.message}")
        if isinstance(event, cdp.Reply):
            self._waiting.pop(event.id)
            self._results[event.id] = event.result
        return event


async def _connected(target: Process, listener: TcpRow) -> ClientConnection:
    try:
        url = await inspector.web_socket_url(target, listener)
        return await connect(
            url,
            sock=await inspector.dial(target, listener),
            compression=None,  # over loopback it only costs
            max_size=cdp.MAX_MESSAGE_BYTES,
            max_queue=MAX_QUEUE,
            ping_interval=None,  # the inspector's thread would answer even for a dead app
            open_timeout=inspector.REPLY_SECONDS,
            close_timeout=1,
            proxy=None,
        )
    except (OSError, TimeoutError, WebSocketException, asyncio.IncompleteReadError) as error:
        raise _failed(target, f"its inspector does not answer ({error})") from error


async def _until_shut(target: Process, listener: TcpRow) -> bool:
    """Whether the port is shut, or soon will be."""
    for _ in range(100):
        if await inspector.is_shut(target, listener):
            return True
        await asyncio.sleep(0.02)
    return False


@asynccontextmanager
async def _answering(target: Process) -> AsyncIterator[None]:
    """Translates what can go wrong while the target answers; what the sink raises passes."""
    try:
        yield
    except cdp.ProtocolError as error:
        raise CaptureFailedError(target.pid, f"its inspector: {error}", "try again") from error
    except ConnectionClosed as error:
        raise _failed(target, "its inspector closed the connection half-way") from error


def _failed(target: Process, cause: str) -> DriverError:
    if not identity.is_alive(target):
        return TargetEndedError(target.pid, f"it has ended ({cause})", "capture its successor")
    return CaptureFailedError(target.pid, cause, "try again")


def _between(before: Mapping[str, Any], after: Mapping[str, Any]) -> float | None:
    """Milliseconds between two readings of the target's clock; None where one is missing."""
    started = cdp.evaluated(before)
    ended = cdp.evaluated(after) if after else None
    if isinstance(started, int | float) and isinstance(ended, int | float):
        return max(0.0, float(ended - started))
    return None


def _whole(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) and 0 <= value < 2**53 else None
