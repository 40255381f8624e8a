"""Where a forked child's snapshot goes: onto the connection as frames, or into a file.

Both count the artifact's bytes, tell progress, and look after the app now and then: `_Watch`.
"""

from __future__ import annotations

import _socket
import json
import os
import time
from select import POLLOUT

from . import cgroup, wire
from .originals import poll

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .spool import Spool

STALL_MILLIS = 1000  # how often a child that waits for its reader looks whether its parent lives
PROGRESS_SECONDS = 1.0


class OrphanedError(Exception):
    """The app has ended: nothing is left to snapshot for."""


class NoRoomError(Exception):
    """The container's memory, or the room for the dump, is running out."""


class _Watch:
    """Sees that the app lives and has room; ends the walk otherwise."""

    def __init__(self) -> None:
        self._parent = os.getppid()
        self._memory = cgroup.Memory()

    def check_parent(self) -> None:
        """Raises OrphanedError where the app has ended."""
        if os.getppid() != self._parent:
            raise OrphanedError

    def check_memory(self) -> None:
        """Raises NoRoomError where the app needs what is left."""
        left = self._memory.headroom()
        if left is not None and left < self._memory.keep:
            limit = self._memory.limit
            whose = "on the machine" if limit is None else f"below the container's limit of {limit}"
            raise NoRoomError(f"{left} bytes are left {whose}, the app keeps {self._memory.keep}")


class _Pace:
    """Lets something through once in a while."""

    def __init__(self) -> None:
        self._next = 0.0

    def due(self) -> bool:
        """Whether it is time again."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + PROGRESS_SECONDS
        return True


class Frames:
    """DATA frames on the connection, which is not blocking.

    Where the socket takes a frame only in part, `<` and then `>` go to the status pipe, so that the
    parent knows whether a killed child left half a frame behind.
    """

    def __init__(self, connection: _socket.socket, status: int, request_id: int) -> None:
        self.size = 0
        self._connection = connection
        self._status = status
        self._request_id = request_id
        self._watch = _Watch()
        self._pace = _Pace()
        self._buffer = bytearray()
        self._writable = poll()
        self._writable.register(connection.fileno(), POLLOUT)

    def data(self, piece: bytes) -> None:
        """Takes the next bytes of the artifact."""
        self._buffer += piece
        while len(self._buffer) >= wire.DATA_BYTES:
            self._frame(bytes(self._buffer[: wire.DATA_BYTES]))
            del self._buffer[: wire.DATA_BYTES]

    def finish(self) -> None:
        """Sends what is left."""
        if self._buffer:
            self._frame(bytes(self._buffer))
            self._buffer.clear()

    def progress(self, stage: str, done: int, total: int) -> None:
        """Tells how far the walk is, at most once a second."""
        self._watch.check_parent()
        self._watch.check_memory()
        if self._pace.due():
            self._send(wire.progress(self._request_id, stage, done, total))

    def _frame(self, payload: bytes) -> None:
        self._send(wire.frame(wire.DATA, payload))
        self.size += len(payload)

    def _send(self, frame: bytes) -> None:
        left = memoryview(frame)
        partial = False
        while left:
            try:
                sent = self._connection.send(left, _socket.MSG_NOSIGNAL)
            except BlockingIOError:
                self._watch.check_parent()
                self._writable.poll(STALL_MILLIS)
                continue
            left = left[sent:]
            if left and not partial:
                partial = True
                os.write(self._status, b"<")
        if partial:
            os.write(self._status, b">")


class File:
    """A spool; progress goes to the status pipe as lines, which the app's side passes on."""

    def __init__(self, spool: Spool, status: int) -> None:
        self.size = 0
        self._spool = spool
        self._status = status
        self._watch = _Watch()
        self._pace = _Pace()

    def data(self, piece: bytes) -> None:
        """Takes the next bytes of the artifact."""
        self.size += len(piece)
        if self.size > self._spool.limit:
            raise NoRoomError(f"the dump has grown past {self._spool.limit} bytes, all it may take")
        left = memoryview(piece)
        while left:
            left = left[os.write(self._spool.descriptor, left) :]

    def finish(self) -> None:
        """Nothing is left to do."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """Tells how far the walk is, at most once a second."""
        self._watch.check_parent()
        self._watch.check_memory()
        if self._pace.due():
            os.write(self._status, json.dumps({"progress": [stage, done, total]}).encode() + b"\n")
