"""Finds the hooks that answer: one Unix socket for each hooked process, named by pid and start.

See docs/formats/hook-wire.md. A socket's name already tells the process; HELLO then proves
that somebody answers there, and tells the versions.
"""

import asyncio
import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from memwatch_agent.containers import Container
from memwatch_agent.drivers import hookwire
from memwatch_agent.drivers.base import Runtime
from memwatch_agent.processes import Found

#: A hook answers at once, from a thread of its own or between two turns of an event loop.
HELLO_SECONDS = 2.0

#: How long a silent hook is left alone, and one of an invisible process is believed to be there.
RETRY_SECONDS = 15.0

#: A socket without a listener is removed only after this long: it may be about to listen.
LEFTOVER_SECONDS = 60.0

#: A folder is read this far.
MAX_SOCKETS = 1_000

_NAME = re.compile(r"(?P<runtime>node|python)-(?P<pid>\d{1,10})-(?P<ticks>\d{1,20})\.sock")


@dataclass(frozen=True)
class Hook:
    """A hook that said HELLO, and where."""

    socket: Path
    hello: hookwire.Hello


@dataclass(frozen=True)
class _Asked:
    """What came of asking a socket, and when (seconds of the monotonic clock)."""

    at: float
    hello: hookwire.Hello | None


class HookFinder:
    """Knows which processes have a hook that answers; asks each socket once."""

    def __init__(
        self, folders: Sequence[Path], clock: Callable[[], float], now: Callable[[], float]
    ) -> None:
        """Where to look, and the time.

        Args:
            folders: where hooks listen besides where each process itself says.
            clock: seconds that only go forward.
            now: Unix time in seconds.
        """
        self._folders = tuple(folders)
        self._clock = clock
        self._now = now
        #: Pids whose socket is there and does not answer, as of the last `find`.
        self.silent: frozenset[int] = frozenset()
        self._current: set[tuple[Path, int]] = set()
        self._asked: dict[tuple[Path, int], _Asked] = {}

    async def find(self, processes: Sequence[Found]) -> dict[int, Hook]:
        """The hooks of visible processes, by pid."""
        sockets = await asyncio.to_thread(self._predicted, processes)
        self._current = {key for _, key in sockets}
        asked = await asyncio.gather(*(self._ask(key, None) for _, key in sockets))
        hooks = {}
        pairs = zip(sockets, asked, strict=True)
        self.silent = frozenset(found.pid for (found, _), hello in pairs if hello is None)
        for (found, (path, _)), hello in zip(sockets, asked, strict=True):
            if hello and (hello.pid, hello.start_ticks) == (found.inner_pid, found.start_ticks):
                hooks[found.pid] = Hook(path, hello)
        return hooks

    async def find_invisible(
        self, processes: Sequence[Found], known: Iterable[Hook]
    ) -> list[tuple[Found, Hook]]:
        """Hooks that answer although their process is not among the visible ones.

        So it is beside a sidecar that has a pid namespace of its own. Sockets that nobody
        listens on any more are removed.
        """
        used = {hook.socket for hook in known}
        names = {name for found in processes if (name := socket_name(found))}
        keys = [
            key
            for key in await asyncio.to_thread(self._listed)
            if key[0] not in used and key[0].name not in names
        ]
        asked = await asyncio.gather(*(self._ask(key, RETRY_SECONDS) for key in keys))
        self._current.update(keys)
        self._asked = {key: self._asked[key] for key in self._current & self._asked.keys()}
        return [
            (found_by_hook(hello), Hook(path, hello))
            for (path, _), hello in zip(keys, asked, strict=True)
            if hello is not None and path.name == _name(hello)
        ]

    async def _ask(
        self, key: tuple[Path, int], believed_seconds: float | None
    ) -> hookwire.Hello | None:
        before = self._asked.get(key)
        if before is not None:
            recent = self._clock() - before.at < (believed_seconds or RETRY_SECONDS)
            if recent or (before.hello is not None and believed_seconds is None):
                return before.hello
        try:
            hello = await greet(key[0])
        except ConnectionRefusedError:
            hello = None
            await asyncio.to_thread(self._remove_leftover, key[0])
        self._asked[key] = _Asked(self._clock(), hello)
        return hello

    def _remove_leftover(self, path: Path) -> None:
        """Removes a socket that nobody listens on, once it is old enough to be a leftover."""
        with contextlib.suppress(OSError):
            if self._now() - path.lstat().st_ctime > LEFTOVER_SECONDS:
                path.unlink()

    def _predicted(self, processes: Sequence[Found]) -> list[tuple[Found, tuple[Path, int]]]:
        """Where the hook of each process listens, if there is a socket of that name."""
        sockets = []
        for found in processes:
            name = socket_name(found)
            for folder in [*self._folders, *_own_folders(found)] if name else ():
                if (inode := _socket_inode(folder / name)) is not None:
                    sockets.append((found, (folder / name, inode)))
                    break
        return sockets

    def _listed(self) -> list[tuple[Path, int]]:
        """Every socket with a hook's name in the common folders."""
        listed: list[tuple[Path, int]] = []
        for folder in self._folders:
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    if len(listed) < MAX_SOCKETS and _NAME.fullmatch(entry.name):
                        path = folder / entry.name
                        if (inode := _socket_inode(path)) is not None:
                            listed.append((path, inode))
        return listed


async def greet(path: Path, timeout_seconds: float = HELLO_SECONDS) -> hookwire.Hello | None:
    """What the hook on a socket says first; None where none answers or it is no hook.

    Raises:
        ConnectionRefusedError: nobody listens there.
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            reader, writer = await asyncio.open_unix_connection(str(path))
            try:
                return await _hello(reader)
            finally:
                writer.close()
    except ConnectionRefusedError:
        raise
    except (OSError, TimeoutError, hookwire.WireError, ValueError):
        return None


async def _hello(reader: asyncio.StreamReader) -> hookwire.Hello | None:
    wire = hookwire.Connection()
    while data := await reader.read(hookwire.MAX_JSON_BYTES):
        for event in wire.receive(data):
            return event if isinstance(event, hookwire.Hello) else None
    return None


def socket_name(found: Found) -> str:
    """The name of a process's hook socket; empty where it cannot have one."""
    if found.runtime is None:
        return ""
    return f"{found.runtime}-{found.inner_pid}-{found.start_ticks}.sock"


def _name(hello: hookwire.Hello) -> str:
    return f"{hello.runtime}-{hello.pid}-{hello.start_ticks}.sock"


def _own_folders(found: Found) -> list[Path]:
    """Where a process's hook listens by its own environment, as the agent reaches it."""
    told = (found.environ or {}).get("MEMWATCH_HOOK_DIR", "")
    folder = told if told.startswith("/") else f"/tmp/memwatch-{found.uid}"
    return [found.root / folder.lstrip("/")] if "\0" not in folder else []


def _socket_inode(path: Path) -> int | None:
    try:
        found = path.lstat()
    except (OSError, ValueError):
        return None
    return found.st_ino if stat.S_ISSOCK(found.st_mode) else None


def found_by_hook(hello: hookwire.Hello) -> Found:
    """A process that is known by its hook alone."""
    return Found(
        pid=hello.pid,
        start_ticks=hello.start_ticks,
        inner_pid=hello.pid,
        runtime=Runtime(hello.runtime),
        version=hello.runtime_version,
        uid=-1,
        exe="",
        argv=(),
        environ=None,
        container=Container(),
        service=hello.service,
        start_seconds=0.0,
        same_network=None,
        root=Path("/"),
        catches_sigusr1=False,
        visible=False,
    )


def described(found: Found, hook: Hook | None) -> Found:
    """The process with what its hook knows better."""
    if hook is None:
        return found
    return replace(
        found,
        version=hook.hello.runtime_version or found.version,
        service=hook.hello.service or found.service,
    )
