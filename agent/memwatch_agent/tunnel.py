"""Joins standard input and output with a Unix socket: how a caller outside reaches an agent inside.

Run as `python -m memwatch_agent.tunnel connect|listen PATH` by `docker exec` or `kubectl exec`
in the agent's container, so that neither a network nor a folder has to be shared:

    connect: calls the socket (the agent's), for the length of one connection.
    listen: is the socket, takes one connection (the agent's to a controller), and ends with it.

Nothing is written before the other side has spoken. Standard library only: it starts in 50 ms.
"""

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Sequence

#: As much as a pipe holds.
BLOCK_BYTES = 64 * 1024

_USAGE = "usage: python -m memwatch_agent.tunnel connect|listen PATH"


def main(arguments: Sequence[str]) -> int:
    """Runs one tunnel; the exit code."""
    match list(arguments):
        case ["connect", path]:
            open_connection = _connected
        case ["listen", path]:
            open_connection = _accepted
        case _:
            print(_USAGE, file=sys.stderr)  # noqa: T201
            return 2
    try:
        connection = open_connection(path)
    except OSError as error:
        print(f"cannot open tunnel to '{path}': {error.strerror}", file=sys.stderr)  # noqa: T201
        return 1
    with connection:
        _join(connection)
    return 0


def _connected(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection


def _accepted(path: str) -> socket.socket:
    """The first connection to a socket of that name, which is gone again afterwards."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # of a tunnel that was killed
    with socket.socket(socket.AF_UNIX) as listener:
        mask = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(mask)
        listener.listen(1)
        connection, _ = listener.accept()
        os.unlink(path)
    return connection


def _join(connection: socket.socket) -> None:
    """Copies both ways until either side ends."""
    ended = threading.Event()

    def inwards() -> None:
        with contextlib.suppress(OSError):
            while block := os.read(0, BLOCK_BYTES):
                connection.sendall(block)
        ended.set()

    def outwards() -> None:
        with contextlib.suppress(OSError):
            while block := connection.recv(BLOCK_BYTES):
                _write(block)
        ended.set()

    for copy in (inwards, outwards):
        threading.Thread(target=copy, daemon=True).start()
    ended.wait()


def _write(block: bytes) -> None:
    left = memoryview(block)
    while left:
        left = left[os.write(1, left) :]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
