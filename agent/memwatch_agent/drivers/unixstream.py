"""A Unix socket that brings descriptors beside bytes, which asyncio's streams do not take."""

import asyncio
import contextlib
import os
import socket
import struct
from pathlib import Path

_DESCRIPTOR = struct.Struct("i")

#: Of what a peer attaches to one read there is room for one descriptor; the kernel closes others.
_ROOM = socket.CMSG_LEN(_DESCRIPTOR.size)


class UnixStream:
    """One connection: reads wait, writes are small and do not.

    A descriptor that has come is kept until it is taken or the next one comes.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._descriptor = -1
        self._waiting: asyncio.Future[None] | None = None

    @classmethod
    async def connect(cls, path: Path) -> "UnixStream":
        """A connection to whoever listens.

        Raises:
            OSError: nobody does.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            await asyncio.get_running_loop().sock_connect(connection, str(path))
        except BaseException:
            connection.close()
            raise
        return cls(connection)

    def option(self, level: int, name: int, size: int) -> bytes:
        """A socket option, such as who the peer is."""
        return self._socket.getsockopt(level, name, size)

    async def read(self, count: int) -> bytes:
        """The next bytes; none where the peer has closed.

        Raises:
            ConnectionError: the connection broke, or was closed here.
        """
        while True:
            if self._socket.fileno() < 0:
                raise ConnectionResetError("it was closed")
            try:
                # Not socket.recv_fds, which drops the flag: a descriptor would pass to programs.
                data, attached, _, _ = self._socket.recvmsg(count, _ROOM, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                await self._readable()
                continue
            for level, kind, words in attached:
                rights = (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
                if rights and len(words) >= _DESCRIPTOR.size:
                    self._keep(_DESCRIPTOR.unpack(words[: _DESCRIPTOR.size])[0])
            return data

    def write(self, data: bytes) -> None:
        """Sends a request. To a peer that is gone, or reads no requests, the connection ends."""
        sent = 0
        with contextlib.suppress(OSError):
            sent = self._socket.send(data, socket.MSG_NOSIGNAL)
        if sent < len(data):
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def take_descriptor(self) -> int:
        """The descriptor that has come, which is the caller's from now on; -1 for none."""
        descriptor, self._descriptor = self._descriptor, -1
        return descriptor

    def close(self) -> None:
        """Closes the connection, and the descriptor that nobody took; ends a read that waits."""
        self._keep(-1)
        if self._waiting is not None:
            self._waiting.get_loop().remove_reader(self._socket)
            _wake(self._waiting)
        self._socket.close()

    def _keep(self, descriptor: int) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = descriptor

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        self._waiting = loop.create_future()
        loop.add_reader(self._socket, _wake, self._waiting)
        try:
            await self._waiting
        finally:
            self._waiting = None
            if self._socket.fileno() >= 0:
                loop.remove_reader(self._socket)


def _wake(waiting: "asyncio.Future[None]") -> None:
    if not waiting.done():
        waiting.set_result(None)
