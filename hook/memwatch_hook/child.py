"""The forked child that walks the heap: sheds what it inherited, and sends what it finds.

It owns nothing of the app: no descriptor but its two, no signal handler, no exit handler, no way
back.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import gc
import json
import os
import sys
import time
from select import POLLOUT

from . import cgroup, walker, wire
from .originals import poll

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

STALL_MILLIS = 1000  # how often a child that waits for its reader looks whether its parent lives
PROGRESS_SECONDS = 1.0
NICE = 10
# The child ends itself when so little is left below the cgroup's limit: the app needs it more.
KEEP_FREE_BYTES = 48 << 20
# How it ends is said on the status pipe. The exit status is 0 unless not even that was to be had: a
# process manager that waits for any child logs other ones, and gunicorn's takes 3 and 4 as "give
# up".
DONE, BROKEN = 0, 70


class _OrphanedError(Exception):
    """The app has ended: nothing is left to snapshot for."""


class _NoRoomError(Exception):
    """The container's memory is running out."""


class Sender:
    """Sends frames on the connection, which is not blocking, and counts the artifact's bytes.

    Where the socket takes a frame only in part, `<` and then `>` go to the status pipe, so that the
    parent knows whether a killed child left half a frame behind.
    """

    def __init__(self, connection: _socket.socket, status: int, request_id: int) -> None:
        self.size = 0
        self._connection = connection
        self._status = status
        self._request_id = request_id
        self._parent = os.getppid()
        self._memory = cgroup.Memory()
        self._buffer = bytearray()
        self._next_progress = 0.0
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
        self._check_parent()
        self._check_memory()
        now = time.monotonic()
        if now >= self._next_progress:
            self._next_progress = now + PROGRESS_SECONDS
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
                self._check_parent()
                self._writable.poll(STALL_MILLIS)
                continue
            left = left[sent:]
            if left and not partial:
                partial = True
                os.write(self._status, b"<")
        if partial:
            os.write(self._status, b">")

    def _check_parent(self) -> None:
        if os.getppid() != self._parent:
            raise _OrphanedError

    def _check_memory(self) -> None:
        left = self._memory.headroom()
        if left is not None and left < KEEP_FREE_BYTES:
            raise _NoRoomError(
                f"{left} bytes are left below the container's limit of {self._memory.limit}, "
                f"the app keeps {KEEP_FREE_BYTES}"
            )


def run(
    order: walker.Order,
    connection: _socket.socket,
    status: int,
    request_id: int,
    deadline_seconds: int,
) -> NoReturn:
    """Everything the child does, and its end. Never returns, never raises."""
    code = BROKEN
    try:
        _report(status, _life(order, connection, status, request_id, deadline_seconds))
        code = DONE
    except BaseException:  # whatever it is, it must not reach the app's code
        pass
    finally:
        os._exit(code)


def _life(
    order: walker.Order,
    connection: _socket.socket,
    status: int,
    request_id: int,
    deadline_seconds: int,
) -> dict[str, object]:
    """Walks and sends; what came of it."""
    try:
        _shed({connection.fileno(), status}, deadline_seconds)
        sender = Sender(connection, status, request_id)
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            order.own += [frame, *frame.f_locals.values()]
            frame = frame.f_back
        objects = walker.write_heap(order, sender.data, sender.progress)
        sender.finish()
    except MemoryError:
        return {"failure": "out of memory"}
    except Exception as cause:
        return {"failure": f"{type(cause).__name__}: {cause}"[:300]}
    return {
        **_cost(),
        "objects": objects,
        "size_bytes": sender.size,
        "chunks": order.chunks.known(),
    }


def _shed(keep: set[int], deadline_seconds: int) -> None:
    """Lets go of what the child inherited."""
    gc.disable()
    _signal.set_wakeup_fd(-1)
    for number in _signal.valid_signals():
        if callable(_signal.getsignal(number)):
            _signal.signal(number, _signal.SIG_DFL)
    _signal.signal(_signal.SIGALRM, _signal.SIG_DFL)
    _signal.signal(_signal.SIGPIPE, _signal.SIG_IGN)
    _signal.alarm(deadline_seconds)
    _close_descriptors(keep)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    try:
        with open("/proc/self/oom_score_adj", "w") as score:
            score.write("1000")
        os.nice(NICE)
    except OSError:
        pass


def _close_descriptors(keep: set[int]) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        if standard not in keep:
            os.dup2(nowhere, standard)
    # Listing what is open beats closing a million numbers where the limit is high.
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        if descriptor > 2 and descriptor not in keep:
            try:
                os.close(descriptor)
            except OSError:
                pass


def _cost() -> dict[str, object]:
    extra = None
    try:
        with open("/proc/self/smaps_rollup") as lines:
            for line in lines:
                if line.startswith("Private_Dirty:"):
                    extra = int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return {"cpu_millis": time.process_time() * 1000, "extra_memory_bytes": extra}


def _report(status: int, facts: dict[str, object]) -> None:
    os.write(status, json.dumps(facts).encode() + b"\n")
