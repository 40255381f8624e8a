"""The inspector of one process: open for as long as we need it, and shut for certain."""

import asyncio
import time

from memwatch_agent.drivers import devtools, inspector
from memwatch_agent.drivers.base import Process
from memwatch_agent.drivers.devtools import NodeLink
from memwatch_agent.drivers.errors import (
    CaptureFailedError,
    InspectorExposedError,
    TargetEndedError,
)
from memwatch_agent.drivers.markers import Marker
from memwatch_agent.drivers.sockets import TcpRow

#: By the connection that is there, then by a fresh one.
SHUT_TRIES = 2

#: A signal that has opened nothing by then will open nothing.
MARKER_SECONDS = 600.0


class Door:
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
    def link(self) -> NodeLink:
        """The connection, once entered."""
        assert self._link is not None
        return self._link

    @property
    def is_open(self) -> bool:
        """Whether it is open because of us, or we are connected to it."""
        return self._ours or self._link is not None

    async def enter(self) -> NodeLink:
        """Opens the inspector where it is shut, and connects to it."""
        self._listener = await inspector.find(self.target)
        if self._listener is None:
            self._listener, opened = await inspector.open_by_signal(self.target, self._mark)
            if not opened:
                self._unmark()
        self._check_exposure(self._listener)
        if not self._ours:
            await inspector.check_undisturbed(self.target, self._listener)
        self._link = await devtools.connected(self.target, self._listener, self.notes)
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
                self._link = await devtools.connected(self.target, listener, self.notes)
            if self._link is not None:
                await self._link.end()
                await self._hang_up()
            if await _until_shut(self.target, listener):
                return self._unmark()
        raise CaptureFailedError(
            self.target.pid, f"its inspector's port {listener.port} stays open"
        )

    async def _hang_up(self) -> None:
        if self._link is not None:
            await self._link.hang_up()
            self._link = None

    def _forget_unless_it_may_open_yet(self) -> None:
        """A busy app may open its inspector when it gets round to the signal, minutes later."""
        if time.time() - self.marker.written_seconds > MARKER_SECONDS:
            self._unmark()


async def _until_shut(target: Process, listener: TcpRow) -> bool:
    """Whether the port is shut, or soon will be."""
    for _ in range(100):
        if await inspector.is_shut(target, listener):
            return True
        await asyncio.sleep(0.02)
    return False
