"""Attaches to a Node process: SIGUSR1, then the Chrome DevTools Protocol over a WebSocket.

The inspector is open for a moment only, to put the hook into the process (`injection.py`); the
snapshot then comes from there. Where that does not work it comes over the inspector.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import structlog
from websockets.exceptions import WebSocketException

from memwatch_agent.drivers import identity, injection, markers
from memwatch_agent.drivers.base import Link, Process, Way
from memwatch_agent.drivers.devtools import failed
from memwatch_agent.drivers.door import Door
from memwatch_agent.drivers.errors import DriverError, TargetBusyError
from memwatch_agent.drivers.hook import HookLink
from memwatch_agent.drivers.kept import KeptLinks

#: How long leaving waits for the inspector to shut; after that it goes on in the background.
LEAVE_SECONDS = 5.0

#: A snapshot that was given up runs to its end in the target before it hears us: minutes.
SHUT_SECONDS = 900.0

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
                await self._leave(Door(marker.process(), marker, ours=True), last=True)

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
        door = Door(target, marker, ours=marker.exists)
        try:
            if hook := await self._kept.take(target) or await self._injected(door):
                async with self._keeping(target, hook):
                    yield hook
            else:
                yield door.link
        finally:
            await self._leave(door, last=True)

    async def _injected(self, door: Door) -> HookLink | None:
        """A hook put into the target, with the inspector shut again; None where it cannot be."""
        link = await door.enter()
        try:
            hook = await injection.inject(door.target, link.evaluate)
        except (DriverError, OSError) as error:
            if not identity.is_alive(door.target):
                raise failed(door.target, str(error)) from error
            cause = error.cause if isinstance(error, DriverError) else str(error)
            link.note(f"taken over the inspector: the hook could not be used ({cause})")
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

    async def _leave(self, door: Door, *, last: bool = False) -> None:
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


async def _shut(door: Door) -> None:
    try:
        async with asyncio.timeout(SHUT_SECONDS):
            await door.shut()
    except (DriverError, OSError, TimeoutError, WebSocketException) as error:
        _log.warning("inspector not shut", pid=door.target.pid, cause=str(error))
