"""Node's inspector of one process: find it, open it by SIGUSR1, reach it, and prove it is it.

Nothing is signalled that would not survive it, and nothing is said to a listener before the
kernel has told that it belongs to the target.
"""

import asyncio
import contextlib
import ipaddress
import json
import os
import re
import shlex
import signal
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from memwatch_agent.drivers import identity, sockets
from memwatch_agent.drivers.base import Process
from memwatch_agent.drivers.errors import (
    CaptureFailedError,
    DebuggerAttachedError,
    InspectorExposedError,
    InspectorNotTargetError,
    NoWayInError,
    TargetEndedError,
)
from memwatch_agent.drivers.sockets import TcpRow

DEFAULT_PORT = 9229

#: Node opens its inspector 3 to 60 ms after the signal, and seconds where it waits for a core; an
#: app that blocks its loop in one native call for longer cannot be told from one with a handler.
OPEN_SECONDS = 15.0

#: The inspector's thread accepts and answers at once, however busy the app is.
REPLY_SECONDS = 5.0

#: How long a connection must last to be a debugger's, and not a passing look at /json.
DEBUGGER_SECONDS = 0.3

#: Node's answers are a few hundred bytes.
MAX_HTTP_BYTES = 64 * 1024

#: Of a process's own listeners, so many are asked whether they are its inspector.
MAX_PROBES = 16

_FLAG = re.compile(r"--(?:inspect|debug)(?P<kind>-brk|-port|-wait)?(?:=(?P<value>\S*))?")
_SOCKET_PATH = re.compile(r"/[0-9a-fA-F-]{1,64}")
_VALUE_OPTIONS = frozenset(
    (
        *("-r", "--require", "--import", "--loader", "--experimental-loader", "-C", "--conditions"),
        *("-e", "--eval", "-p", "--print", "--env-file", "--inspect-port", "--debug-port"),
    )
)
_HOOK_INSTEAD = "load the memwatch hook into it instead (NODE_OPTIONS=--require …)"


@dataclass(frozen=True)
class Flags:
    """What a process's command line says of its inspector.

    Attributes:
        host: where it listens; None where nothing is said (then it is 127.0.0.1).
        port: where it listens; 0 for any.
        signal_disabled: whether SIGUSR1 opens nothing.
    """

    host: str | None = None
    port: int = DEFAULT_PORT
    signal_disabled: bool = False

    @property
    def exposed(self) -> bool:
        """Whether the inspector would listen on more than loopback."""
        if self.host in (None, "", "localhost"):
            return False
        try:
            return not ipaddress.ip_address((self.host or "").strip("[]")).is_loopback
        except ValueError:
            return True  # a name: whatever it resolves to, it was not meant for this host alone


def parse_flags(words: Iterable[str]) -> Flags:
    """The inspector's flags among words of a command line; a later one wins, as in Node."""
    host, port, disabled = None, DEFAULT_PORT, False
    for word in words:
        disabled = disabled or word == "--disable-sigusr1"
        match = _FLAG.fullmatch(word)
        if not match or not match["value"]:
            continue
        value_host, _, value_port = match["value"].rpartition(":")
        if not value_port.isdigit():
            value_host, value_port = match["value"], ""
        host = value_host or host
        port = int(value_port) if value_port else port
    return Flags(host, port, disabled)


def flags_of(target: Process) -> Flags:
    """The inspector's flags of a process: NODE_OPTIONS, then its own options."""
    own = _node_options(target.argv)
    with contextlib.suppress(ValueError):  # quotes that do not close
        return parse_flags([*shlex.split(target.environ.get("NODE_OPTIONS", "")), *own])
    return parse_flags(own)


def _node_options(argv: tuple[str, ...]) -> list[str]:
    """Node's options as `--name=value`, up to the script; what follows is the app's own."""
    options: list[str] = []
    words = iter(argv[1:])
    for word in words:
        if word in _VALUE_OPTIONS:
            options.append(f"{word}={next(words, '')}")
        elif word.startswith("-") and word not in ("-", "--"):
            options.append(word)
        else:
            break
    return options


async def find(target: Process) -> TcpRow | None:
    """The inspector that the target has open, where its flags or Node's habit say; None without.

    Raises:
        NoWayInError: we may not look, or cannot reach it.
    """
    port = flags_of(target).port
    own = await _listeners(target)
    likely = [row for row in own if port == 0 or row.port in (port, DEFAULT_PORT)]
    return await _first_inspector(target, likely)


async def find_anywhere(target: Process) -> TcpRow | None:
    """The inspector that the target has open, among all its listeners; None without.

    Asks the app's own ports for /json/version too: only for where an inspector must be.

    Raises:
        NoWayInError: we may not look, or cannot reach it.
    """
    return await _first_inspector(target, await _listeners(target))


async def open_by_signal(target: Process, before_signal: Callable[[], None]) -> tuple[TcpRow, bool]:
    """Has the target open its inspector.

    Args:
        target: a Node process whose inspector was not found.
        before_signal: called when everything is checked and the signal is about to be sent.

    Returns:
        Where it listens, and whether it is this signal that opened it.

    Raises:
        NoWayInError: SIGUSR1 would not open it, or has not.
        InspectorExposedError: it would listen on more than loopback; nothing was sent.
        InspectorNotTargetError: another process has its port; nothing was sent.
        TargetEndedError: the process has ended.
    """
    known = {row.inode for row in await _listeners(target)}
    await asyncio.to_thread(_check_port, target)
    await asyncio.to_thread(_signal, target, before_signal)
    deadline = asyncio.get_running_loop().time() + OPEN_SECONDS
    while asyncio.get_running_loop().time() < deadline:
        fresh = [row for row in await _listeners(target) if row.inode not in known]
        if row := await _first_inspector(target, fresh):
            return row, True
        await asyncio.sleep(0.01)
    if row := await find_anywhere(target):
        return row, False  # it was open all the time, at an address that nobody could know
    raise NoWayInError(
        target.pid,
        f"it opened no inspector within {OPEN_SECONDS:g} s of SIGUSR1: it handles that signal "
        "itself, or is too busy",
        _HOOK_INSTEAD,
    )


def _check_port(target: Process) -> None:
    """Raises where the inspector could not open, or would open to the world."""
    flags = flags_of(target)
    if flags.exposed:
        raise InspectorExposedError(
            target.pid,
            f"its inspector would listen on '{flags.host}', which other machines may reach",
            "start it without a host in --inspect-port, or with the memwatch hook",
        )
    taken = [row for row in sockets.rows(target.pid) if _clashes(row, flags.port)]
    if flags.port and taken:
        raise InspectorNotTargetError(
            target.pid,
            f"its inspector's port {flags.port} is taken by another listener",
            f"start it with --inspect-port=0, or {_HOOK_INSTEAD}",
        )


def _clashes(row: TcpRow, port: int) -> bool:
    local = row.address.is_loopback or row.address.is_unspecified
    return row.state == sockets.LISTEN and row.port == port and local


def _signal(target: Process, before_signal: Callable[[], None]) -> None:
    """Sends SIGUSR1 to the very process, once it is sure to survive it.

    The pidfd comes first: what is checked after it is checked of the process it stands for, and
    a pid that is given to another process meanwhile is not signalled.
    """
    try:
        descriptor = os.pidfd_open(target.pid)
    except ProcessLookupError as error:
        raise TargetEndedError(target.pid, "it has ended") from error
    except OSError as error:  # a kernel before 5.3, or a sandbox that forbids it
        raise NoWayInError(
            target.pid, f"it cannot be held by a pidfd ({error})", _HOOK_INSTEAD
        ) from error
    try:
        if flags_of(target).signal_disabled:
            raise NoWayInError(target.pid, "it runs with --disable-sigusr1", _HOOK_INSTEAD)
        if not identity.runs_node(target):
            raise NoWayInError(target.pid, "its program is not Node", "choose another target")
        if not identity.is_alive(target):
            raise TargetEndedError(target.pid, "it has ended, and its pid is another's now")
        before_signal()
        if not identity.catches(target, signal.SIGUSR1):  # last: the check that saves its life
            raise NoWayInError(
                target.pid, "it does not catch SIGUSR1, which would end it", _HOOK_INSTEAD
            )
        signal.pidfd_send_signal(descriptor, signal.SIGUSR1)
    except ProcessLookupError as error:
        raise TargetEndedError(target.pid, "it has ended") from error
    except PermissionError as error:
        raise NoWayInError(
            target.pid, "this agent may not signal it", f"run the agent as user {target.uid}"
        ) from error
    finally:
        os.close(descriptor)


async def check_undisturbed(target: Process, listener: TcpRow) -> None:
    """Makes sure that nobody is connected to an inspector that we did not open.

    A second client would see the app stand still under its hands, and its objects would stand
    in the snapshot. Whoever only looks at /json is gone again after a moment.

    Raises:
        DebuggerAttachedError: somebody stays connected.
    """
    before = await _clients(target, listener)
    if not before:
        return
    await asyncio.sleep(DEBUGGER_SECONDS)
    if staying := before & await _clients(target, listener):
        raise DebuggerAttachedError(
            target.pid,
            f"{len(staying)} client(s) are connected to its inspector on port {listener.port}",
            "disconnect the debugger (or close chrome://inspect)",
        )


async def _clients(target: Process, listener: TcpRow) -> frozenset[int]:
    """Inodes of the target's accepted connections to its inspector."""
    rows = await asyncio.to_thread(sockets.rows, target.pid)
    there = [r for r in rows if r.state == sockets.ESTABLISHED and r.port == listener.port]
    return frozenset(
        row.inode for row in await asyncio.to_thread(sockets.held_by, target.pid, there)
    )


async def is_shut(target: Process, listener: TcpRow) -> bool:
    """Whether that listener is gone."""
    if not identity.is_alive(target):
        return True
    rows = await asyncio.to_thread(sockets.rows, target.pid)
    return all(row.inode != listener.inode for row in rows if row.state == sockets.LISTEN)


async def web_socket_url(target: Process, listener: TcpRow) -> str:
    """The address of the inspector's one debugging target.

    Raises:
        CaptureFailedError: the inspector does not name it.
    """
    found = await _get_json(target, listener, "/json/list")
    entry = found[0] if isinstance(found, list) and found else None
    claimed = entry.get("webSocketDebuggerUrl") if isinstance(entry, dict) else None
    path = _SOCKET_PATH.search(claimed.partition("//")[2]) if isinstance(claimed, str) else None
    if path is None:
        raise CaptureFailedError(target.pid, "its inspector names no debugging target")
    return f"ws://{_authority(listener)}{path[0]}"


async def dial(target: Process, listener: TcpRow) -> socket.socket:
    """A connection to the listener, proven to be held by the target at its other end.

    Raises:
        InspectorNotTargetError: it is not.
        ConnectionError, TimeoutError: nobody accepts it.
    """
    loop = asyncio.get_running_loop()
    address = listener.dial_address
    sock = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6)
    try:
        sock.setblocking(False)
        async with asyncio.timeout(REPLY_SECONDS):
            await loop.sock_connect(sock, (str(address), listener.port))
            accepted = await _accepted(target, sock, listener.port)
        if not await asyncio.to_thread(sockets.held_by, target.pid, [accepted]):
            raise InspectorNotTargetError(
                target.pid,
                f"port {listener.port} was taken by another process",
                "list the targets again",
            )
    except BaseException:
        sock.close()
        raise
    return sock


async def _accepted(target: Process, sock: socket.socket, port: int) -> TcpRow:
    """The other end of our connection, as soon as a process has accepted it."""
    our_port = sock.getsockname()[1]
    while True:
        for row in await asyncio.to_thread(sockets.rows, target.pid):
            ours = row.port == port and row.remote_port == our_port
            if ours and row.state == sockets.ESTABLISHED and row.inode:
                return row
        await asyncio.sleep(0.002)


async def _listeners(target: Process) -> list[TcpRow]:
    if not identity.is_alive(target):
        raise TargetEndedError(target.pid, "it has ended", "capture its successor")
    try:
        if await asyncio.to_thread(sockets.same_network, target.pid):
            return await asyncio.to_thread(sockets.listeners, target.pid)
    except PermissionError as error:
        raise NoWayInError(
            target.pid,
            "this agent may not look into it",
            f"run the agent as user {target.uid}, or with CAP_SYS_PTRACE",
        ) from error
    except OSError as error:
        raise TargetEndedError(target.pid, f"it has ended ({error})") from error
    raise NoWayInError(
        target.pid,
        "it is in another network namespace than this agent",
        "run the agent in its pod (or with --network container:…), or use the hook",
    )


async def _first_inspector(target: Process, rows: list[TcpRow]) -> TcpRow | None:
    for row in rows[:MAX_PROBES]:
        if await _is_inspector(target, row):
            return row
    return None


async def _is_inspector(target: Process, row: TcpRow) -> bool:
    try:
        version = await _get_json(target, row, "/json/version")
    except (OSError, TimeoutError, CaptureFailedError, asyncio.IncompleteReadError):
        return False
    browser = version.get("Browser") if isinstance(version, dict) else None
    return isinstance(browser, str) and browser.startswith("node.js/")


async def _get_json(target: Process, listener: TcpRow, path: str) -> object:
    """What the listener answers to one GET.

    Raises:
        CaptureFailedError: not JSON, or too much.
        OSError, TimeoutError, asyncio.IncompleteReadError: not HTTP, or nothing at all.
    """
    sock = await dial(target, listener)
    reader, writer = await asyncio.open_connection(sock=sock, limit=MAX_HTTP_BYTES)
    try:
        async with asyncio.timeout(REPLY_SECONDS):
            request = f"GET {path} HTTP/1.1\r\nHost: {_authority(listener)}\r\n\r\n"
            writer.write(request.encode("ascii"))
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length:\s*(\d{1,8})\r\n", head)
            if not head.startswith(b"HTTP/1.") or not length:
                raise CaptureFailedError(target.pid, "its inspector does not speak HTTP")
            if int(length[1]) > MAX_HTTP_BYTES:
                raise CaptureFailedError(target.pid, "its inspector's answer is too long")
            return json.loads(await reader.readexactly(int(length[1])))
    except (ValueError, RecursionError, asyncio.LimitOverrunError) as error:
        raise CaptureFailedError(
            target.pid, f"its inspector's answer is no JSON: {error}"
        ) from error
    finally:
        writer.close()


def _authority(listener: TcpRow) -> str:
    address = listener.dial_address
    host = str(address) if address.version == 4 else f"[{address}]"
    return f"{host}:{listener.port}"
