"""The inspector's road of a capture: one CDP connection to one Node process.

A snapshot crosses it only where the hook cannot be used (`injection.py`); otherwise it puts the
hook there and shuts the inspector.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from memwatch_agent.drivers import cdp, identity, inspector
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
    Sink,
    Stage,
)
from memwatch_agent.drivers.cost import CostMeter
from memwatch_agent.drivers.errors import (
    CannotForkError,
    CaptureFailedError,
    DriverError,
    TargetEndedError,
)
from memwatch_agent.drivers.sockets import TcpRow

#: The app's own thread answers commands; one that is busy for longer cannot be measured anyway.
ANSWER_SECONDS = 10.0

#: The inspector's thread answers at once where it gets a core; a starved machine gets more tries.
CONNECT_TRIES = 3

#: What the target says of itself is cut here.
MAX_NOTE_CHARS = 200

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


class NodeLink:
    """A CDP connection to one Node process."""

    def __init__(self, target: Process, web_socket: ClientConnection, notes: list[str]) -> None:
        self._target = target
        self._socket = web_socket
        self._notes = notes
        self._cdp = cdp.Connection()
        self._waiting: dict[int, str] = {}  # the method of each command that is not answered
        self._results: dict[int, Mapping[str, Any]] = {}

    @property
    def manners(self) -> Sequence[Manner]:
        """The inspector's thread is the app's own: it stands still."""
        return (Manner.BLOCKING,)

    @property
    def cannot_fork(self) -> str:
        """Why not, in a clause."""
        return "; ".join(self._notes) or "its snapshot comes over the inspector"

    async def capture_forked(self, sink: Sink, report: Report, bounds: Bounds) -> CaptureFacts:
        """Not to be had."""
        raise CannotForkError(self._target.pid, self.cannot_fork)

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
                manner=Manner.BLOCKING,
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


async def connected(target: Process, listener: TcpRow, notes: list[str]) -> NodeLink:
    """A connection to the target's inspector; `notes` go to what is taken over it.

    Raises:
        DriverError: nobody answers, or not the target.
    """
    for left in range(CONNECT_TRIES - 1, -1, -1):
        try:
            return NodeLink(target, await _web_socket(target, listener), notes)
        except TimeoutError as error:
            if not left:
                seconds = CONNECT_TRIES * inspector.REPLY_SECONDS
                cause = f"its inspector does not answer within {seconds:g} s"
                raise failed(target, cause) from error
        except (OSError, WebSocketException, asyncio.IncompleteReadError) as error:
            raise failed(target, f"its inspector does not answer ({error})") from error
    raise AssertionError("the last try returns or raises")


async def _web_socket(target: Process, listener: TcpRow) -> ClientConnection:
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


@asynccontextmanager
async def _answering(target: Process) -> AsyncIterator[None]:
    """Translates what can go wrong while the target answers; what the sink raises passes."""
    try:
        yield
    except cdp.ProtocolError as error:
        raise CaptureFailedError(target.pid, f"its inspector: {error}", "try again") from error
    except ConnectionClosed as error:
        raise failed(target, "its inspector closed the connection half-way") from error


def failed(target: Process, cause: str) -> DriverError:
    """TargetEndedError where the process is gone, else that the capture has failed."""
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
