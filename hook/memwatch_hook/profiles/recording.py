"""A recording that a peer of the hook asked for: a thread that sends on the peer's connection.

To the server it is what a snapshot's child is: `status` becomes readable when it has ended.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import atexit
import os
import time
from select import POLLIN, POLLOUT

from memwatch_hook import wire
from memwatch_hook.originals import poll, start_new_thread

from . import recorder
from .order import Order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STALL_MILLIS = 500  # how often a sender that waits for its reader looks whether it is still wanted
STALLED_SECONDS = 60.0  # a reader that takes nothing for so long is gone
PROGRESS_SECONDS = 1.0
# How long the hook's thread, or the app's end, waits for a recording that was given up: reading
# a million traces takes a second.
CLOSE_SECONDS = 5.0
EXIT_SECONDS = 1.0


class Recording:
    """One recording for one peer; see `Snapshot` for what the server asks of it."""

    late = False  # a recording ends itself
    spool = None  # it sends its artifact on the connection

    def __init__(self, connection: _socket.socket, request: wire.Request) -> None:
        self.status = -1
        self.left_half_frame = False
        self._request_id = request.id
        self._kind = recorder.new(Order(request.options))
        self._control = recorder.Control()
        # Its own descriptor: the server may drop the connection while the thread sends.
        self._socket = _socket.socket(fileno=_socket.dup(connection.fileno()))
        self._writable = poll()
        self._writable.register(self._socket.fileno(), POLLOUT)
        self._status_writer = -1
        self._outcome: dict[str, Any] | wire.RequestError | None = None
        self._next_progress = 0.0

    def start(self) -> None:
        """Starts the thread.

        Raises:
            RequestError: a request of the app is being recorded.
        """
        if not recorder.turn.claim():
            self._control.close()
            self._socket.close()
            raise wire.RequestError(
                wire.BUSY, "cannot record a profile: another one is being made; try again later"
            )
        recorder.turn.remember(self._kind)
        self.status, self._status_writer = os.pipe()
        atexit.register(self._leave)
        start_new_thread(self._run, ())

    def stop(self) -> None:
        """Ends it before its time; what was recorded is sent."""
        self._control.stop()

    def ended(self) -> bool:
        """Whether it has ended."""
        return self._wait(0)

    def progress(self) -> bytes:
        """Nothing: the thread tells the peer itself."""
        return b""

    def result(self) -> dict[str, Any]:
        """What was recorded and what it cost, once it has ended.

        Raises:
            RequestError: it failed.
        """
        if isinstance(self._outcome, dict):
            return self._outcome
        raise self._outcome or wire.RequestError(wire.FAILED, "cannot record a profile: no outcome")

    def close(self) -> None:
        """Gives it up if it still runs, and lets go of everything. At any time."""
        if self.status < 0:
            return
        self._control.abort()
        self.left_half_frame |= not self._wait(CLOSE_SECONDS)
        os.close(self.status)
        self.status = -1
        atexit.unregister(self._leave)

    def forget(self) -> None:
        """In a forked child of the app: lets go of what is the parent's."""
        atexit.unregister(self._leave)
        self._control.close()
        self._socket.close()
        for descriptor in (self.status, self._status_writer):
            if descriptor >= 0:
                os.close(descriptor)
        self.status = self._status_writer = -1

    def _leave(self) -> None:
        """The app ends: puts it back, so that its own end is as it would have been."""
        self._control.abort()
        self._wait(EXIT_SECONDS)

    def _wait(self, seconds: float) -> bool:
        """Whether the thread has ended, after so long at most."""
        waiting = poll()
        waiting.register(self.status, POLLIN)
        return bool(waiting.poll(seconds * 1000))

    def _run(self) -> None:
        """The thread's body. Never raises."""
        try:
            _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
            self._outcome = recorder.record(self._kind, self._control, self._data, self._progress)
        except wire.RequestError as fault:
            self._outcome = fault
        except BaseException as cause:  # whatever it is, it must not reach the app
            self._outcome = wire.RequestError(
                wire.FAILED, f"cannot record a profile: {type(cause).__name__}: {cause}"
            )
        finally:
            recorder.turn.release()
            self._socket.close()
            self._control.close()
            os.close(self._status_writer)

    def _data(self, data: bytes) -> None:
        for start in range(0, len(data), wire.DATA_BYTES):
            self._send(wire.frame(wire.DATA, data[start : start + wire.DATA_BYTES]))

    def _progress(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now >= self._next_progress:
            self._next_progress = now + PROGRESS_SECONDS
            self._send(wire.progress(self._request_id, "recording", done, total))

    def _send(self, frame: bytes) -> None:
        left = memoryview(frame)
        silent_since = time.monotonic()
        while left:
            try:
                sent = self._socket.send(left, _socket.MSG_NOSIGNAL)
            except BlockingIOError:
                if self._control.aborted or time.monotonic() - silent_since > STALLED_SECONDS:
                    self.left_half_frame |= len(left) < len(frame)
                    raise wire.RequestError(
                        wire.CANCELLED, "cannot finish the recording: nobody takes it"
                    )
                self._writable.poll(STALL_MILLIS)
                continue
            left = left[sent:]
            silent_since = time.monotonic()
