"""The hook's thread: listens on the Unix socket, answers agents, and watches a snapshot's child.

One thread and one `poll`; it sleeps as long as nobody asks. Only `_thread` and `_socket` are used:
gevent replaces what `threading` and `socket` hold, and importing those before it patches breaks it.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import os
import struct
import time
from select import POLLIN, POLLOUT

from . import commands, place, wire
from .originals import poll, sleep
from .snapshot import Snapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .profiles.recording import Recording

MAX_CONNECTIONS = 8  # an agent needs two; the rest is for people who look
MAX_WAITING = 16  # requests that a peer may send ahead on one connection
MAX_OUTPUT_BYTES = 256 << 10  # answers that a peer has not read; it is dropped beyond
TICK_MILLIS = 500  # how often a recording is looked after; without one there is no tick
TIDY_SECONDS = 10.0  # leftovers of dead processes are looked for when an agent asks, not more often
RECEIVE_BYTES = 64 << 10

_DESCRIPTOR = struct.Struct("i")
_PEER_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


class Connection:
    """One peer: its socket, what it has sent ahead, and what it has yet to read."""

    def __init__(self, socket: _socket.socket) -> None:
        self.socket = socket
        self.output = bytearray()
        self.waiting: list[wire.Request] = []
        self.stopped = False
        self._descriptor = -1  # goes out with the byte of `output` at `_descriptor_at`
        self._descriptor_at = 0
        self._decoder = wire.Decoder()

    def receive(self) -> bool:
        """Reads what there is; whether a CANCEL was among it.

        Raises:
            EOFError: the peer is gone. WireError: it does not speak our language.
        """
        try:
            data = self.socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return False
        if not data:
            raise EOFError
        cancelled = False
        for kind, payload in self._decoder.feed(data):
            if kind == wire.CANCEL:
                cancelled = True
            elif kind == wire.STOP:
                self.stopped = True
            elif kind == wire.REQUEST:
                self._take(payload)
        return cancelled

    def send(self, data: bytes) -> None:
        """Queues bytes and sends what goes out at once."""
        self.output += data
        if len(self.output) > MAX_OUTPUT_BYTES:
            raise wire.WireError("a peer does not read its answers")
        self.flush()

    def send_with(self, data: bytes, descriptor: int) -> None:
        """Queues bytes with a descriptor attached to the first; it is ours to close."""
        self._descriptor, self._descriptor_at = descriptor, len(self.output)
        self.send(data)

    def flush(self) -> None:
        """Sends queued bytes as far as the peer takes them."""
        while self.output:
            try:
                sent = self._send_some()
            except BlockingIOError:
                return
            del self.output[:sent]

    def close(self) -> None:
        """Hangs up."""
        self.socket.close()
        self._close_descriptor()

    def _send_some(self) -> int:
        if self._descriptor < 0:
            return self.socket.send(self.output, _socket.MSG_NOSIGNAL)
        if self._descriptor_at:
            sent = self.socket.send(self.output[: self._descriptor_at], _socket.MSG_NOSIGNAL)
            self._descriptor_at -= sent
            return sent
        rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, _DESCRIPTOR.pack(self._descriptor))
        sent = self.socket.sendmsg([self.output], [rights], _socket.MSG_NOSIGNAL)
        self._close_descriptor()
        return sent

    def _close_descriptor(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _take(self, payload: bytes) -> None:
        try:
            request = wire.parse_request(payload)
        except wire.RequestError as fault:
            self.send(wire.error(fault.request_id, fault.reason, str(fault)))
            return
        if len(self.waiting) >= MAX_WAITING:
            raise wire.WireError(f"a peer sent more than {MAX_WAITING} requests ahead")
        self.waiting.append(request)


class Server:
    """Serves one process. Made, run and stopped in that process; a forked child makes its own."""

    def __init__(self) -> None:
        self._listener: _socket.socket | None = None
        self._path = ""
        self._pid = os.getpid()
        self._connections: dict[int, Connection] = {}
        self._snapshot: Snapshot | Recording | None = None
        self._snapshot_of: Connection | None = None
        self._recording: Recording | None = None  # the snapshot, where it is a recording
        self._snapshot_id = 0
        self._tidied = 0.0
        self._stopping = False
        self._wake_reader, self._wake_writer = os.pipe()

    def run(self, delay_seconds: float) -> None:
        """The thread's body: waits, then listens and serves until it is stopped. Never raises."""
        try:
            _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
            sleep(delay_seconds)
            if not self._stopping and self._listen():
                while not self._stopping:
                    self._serve_once()
        except BaseException:  # the app must not see the end of its hook
            pass
        finally:
            self._close()

    def stop(self) -> None:
        """Removes the socket and lets the thread end."""
        self._stopping = True
        self._remove_socket()
        try:
            os.write(self._wake_writer, b".")
        except OSError:
            pass

    def forget(self) -> None:
        """In a forked child: closes what belongs to the parent, and touches nothing of it."""
        self._path = ""
        self._close()

    def _listen(self) -> bool:
        path = place.socket_path(self._pid, place.start_ticks() or 0)
        if path is None or not place.make_directory():
            return False
        place.tidy()
        if place.answers(path):  # the hook of another interpreter in this process
            return False
        place.remove(path)  # left by the program that this process was before an exec
        listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0)
        try:
            listener.setblocking(False)
            # Bound under another name first: nobody connects before the mode is right, or without a
            # listener.
            fresh = path[: -len(".sock")] + ".new"
            place.remove(fresh)
            listener.bind(fresh)
            os.chmod(fresh, 0o600)
            listener.listen(MAX_CONNECTIONS)
            os.rename(fresh, path)
        except OSError:
            listener.close()
            return False
        self._listener, self._path = listener, path
        return True

    def _serve_once(self) -> None:
        waiting = poll()
        assert self._listener is not None
        waiting.register(self._listener.fileno(), POLLIN)
        waiting.register(self._wake_reader, POLLIN)
        for number, connection in self._connections.items():
            waiting.register(number, POLLIN | (POLLOUT if connection.output else 0))
        if self._snapshot is not None:
            waiting.register(self._snapshot.status, POLLIN)
        ready = dict(waiting.poll(self._tick_millis()))
        if self._listener.fileno() in ready:
            self._accept()
        for number in list(self._connections):
            if number in ready:
                self._guarded(self._connections[number], self._hear)
        self._look_after_snapshot()
        for connection in list(self._connections.values()):
            self._guarded(connection, self._work)

    def _tick_millis(self) -> int | None:
        if self._snapshot is None:
            return None
        return self._snapshot.tick_millis if isinstance(self._snapshot, Snapshot) else TICK_MILLIS

    def _guarded(self, connection: Connection, step: Callable[[Connection], None]) -> None:
        """One step for one peer; a peer that fails in it is dropped, and nobody else notices."""
        try:
            step(connection)
        except Exception:
            self._drop(connection)

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            number, _ = self._listener._accept()  # type: ignore[attr-defined]
        except OSError:
            return
        socket = _socket.socket(fileno=number)
        if len(self._connections) >= MAX_CONNECTIONS or not _may_ask(socket):
            socket.close()
            return
        socket.setblocking(False)
        connection = self._connections[number] = Connection(socket)
        self._guarded(
            connection, lambda peer: peer.send(wire.message(wire.HELLO, commands.hello()))
        )
        now = time.monotonic()
        if now - self._tidied > TIDY_SECONDS:
            self._tidied = now
            place.tidy()

    def _hear(self, connection: Connection) -> None:
        connection.flush()
        if connection.receive() and self._snapshot_of is connection:
            self._end_snapshot(wire.CANCELLED, "cannot finish the snapshot: it was cancelled")
        if connection.stopped:
            connection.stopped = False
            if self._recording is not None and self._snapshot_of is connection:
                self._recording.stop()

    def _work(self, connection: Connection) -> None:
        """Does what a peer asked for; nothing while its snapshot runs or its answers pile up."""
        while connection.waiting and not connection.output and self._snapshot_of is not connection:
            request = connection.waiting.pop(0)
            try:
                if request.command in ("heap", "profile"):
                    self._start_snapshot(connection, request)
                else:
                    connection.send(wire.result(request.id, commands.answer(request)))
            except wire.RequestError as fault:
                connection.send(wire.error(request.id, fault.reason, str(fault)))

    def _drop(self, connection: Connection) -> None:
        self._connections.pop(connection.socket.fileno(), None)
        if self._snapshot_of is connection:
            self._take_snapshot().close()
        connection.close()

    def _start_snapshot(self, connection: Connection, request: wire.Request) -> None:
        if self._snapshot is not None:
            raise wire.RequestError(
                wire.BUSY, "cannot take a snapshot: another one is being taken; try again later"
            )
        snapshot: Snapshot | Recording
        if request.command == "profile":
            from .profiles.recording import Recording

            snapshot = self._recording = Recording(connection.socket, request)
        else:
            snapshot = Snapshot(connection.socket, request)
        snapshot.start()
        self._snapshot, self._snapshot_of, self._snapshot_id = snapshot, connection, request.id

    def _take_snapshot(self) -> Snapshot | Recording:
        snapshot = self._snapshot
        assert snapshot is not None
        self._snapshot = self._snapshot_of = self._recording = None
        return snapshot

    def _look_after_snapshot(self) -> None:
        if self._snapshot is None:
            return
        if self._snapshot.late:
            self._end_snapshot(wire.CHILD_FAILED, "cannot finish the snapshot: it took too long")
        elif self._snapshot.ended():
            self._finish_snapshot()
        elif said := self._snapshot.progress():
            assert self._snapshot_of is not None
            self._guarded(self._snapshot_of, lambda peer: peer.send(said))
        if isinstance(self._snapshot, Snapshot):
            self._snapshot.look_after()

    def _finish_snapshot(self) -> None:
        connection, snapshot = self._snapshot_of, self._take_snapshot()
        assert connection is not None
        artifact = -1
        try:
            answer = wire.result(self._snapshot_id, snapshot.result())
            if snapshot.spool is not None:
                artifact = snapshot.spool.give()
        except wire.RequestError as fault:
            answer = wire.error(self._snapshot_id, fault.reason, str(fault))
        self._say_last(connection, snapshot, answer, artifact)

    def _end_snapshot(self, reason: str, text: str) -> None:
        connection, snapshot = self._snapshot_of, self._take_snapshot()
        assert connection is not None
        snapshot.close()
        self._say_last(connection, snapshot, wire.error(self._snapshot_id, reason, text))

    def _say_last(
        self,
        connection: Connection,
        snapshot: Snapshot | Recording,
        answer: bytes,
        artifact: int = -1,
    ) -> None:
        snapshot.close()
        if snapshot.left_half_frame:
            self._drop(connection)
        elif artifact >= 0:
            self._guarded(connection, lambda peer: peer.send_with(answer, artifact))
        else:
            self._guarded(connection, lambda peer: peer.send(answer))

    def _remove_socket(self) -> None:
        path, self._path = self._path, ""
        if path and self._pid == os.getpid():
            place.remove(path)

    def _close(self) -> None:
        self._remove_socket()
        if self._snapshot is not None:
            snapshot = self._take_snapshot()
            snapshot.close() if self._pid == os.getpid() else snapshot.forget()
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for descriptor in (self._wake_reader, self._wake_writer):
            if descriptor >= 0:
                os.close(descriptor)
        self._wake_reader = self._wake_writer = -1


def _may_ask(socket: _socket.socket) -> bool:
    """Whether the peer is of our own uid, or root."""
    raw = socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
    return _PEER_CREDENTIALS.unpack(raw)[1] in (os.getuid(), 0)
