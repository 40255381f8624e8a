"""Unix sockets here that end in a container: each connection is one command's input and output.

The other end is `python -m memwatch_agent.tunnel`, started in the agent's container by its engine
or cluster, so that no network, port or folder has to be shared, and the engine may be far away.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

#: As much as a pipe holds.
BLOCK_BYTES = 64 * 1024

#: Between two tries to listen in the container: the agent itself tries every half second.
RETRY_SECONDS = 0.5

#: Connections at once: a controller and this command each keep one or two.
MAX_CONNECTIONS = 64


class Stream(Protocol):
    """A running command's input and output."""

    def read(self) -> bytes:
        """The next bytes of its output; empty at its end.

        Raises:
            OSError: the connection to the engine broke.
        """

    def write(self, data: bytes) -> None:
        """Sends bytes to its input.

        Raises:
            OSError: it has ended, or the connection broke.
        """

    def close(self) -> None:
        """Leaves it: its input ends."""


def serve(path: Path, open_stream: Callable[[], Stream]) -> None:
    """Joins each connection to a socket here with a new stream; returns when it listens.

    Raises:
        OSError: the socket cannot be made.
    """
    listener = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(mask)
    listener.listen(MAX_CONNECTIONS)

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_joined, args=(connection, open_stream), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def call_back(path: Path, open_stream: Callable[[], Stream]) -> None:
    """Keeps a stream open that waits for a call from inside, and joins it with a socket here."""

    def listen() -> None:
        while True:
            with contextlib.suppress(OSError):
                stream = open_stream()
                try:
                    if first := stream.read():
                        _answered(path, stream, first)
                finally:
                    stream.close()
            time.sleep(RETRY_SECONDS)

    threading.Thread(target=listen, daemon=True).start()


def _joined(connection: socket.socket, open_stream: Callable[[], Stream]) -> None:
    with connection, contextlib.suppress(OSError):
        stream = open_stream()
        try:
            _join(connection, stream)
        finally:
            stream.close()


def _answered(path: Path, stream: Stream, first: bytes) -> None:
    """Joins what was heard from inside with the socket here that it was meant for."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(first)
        _join(connection, stream)


def _join(connection: socket.socket, stream: Stream) -> None:
    """Copies both ways until either side ends."""

    def inwards() -> None:
        with contextlib.suppress(OSError):
            while block := connection.recv(BLOCK_BYTES):
                stream.write(block)
        stream.close()

    threading.Thread(target=inwards, daemon=True).start()
    try:
        while block := stream.read():
            connection.sendall(block)
    finally:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)  # wakes the other direction
