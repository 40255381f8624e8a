"""`drivers/unixstream.py`: bytes and descriptors from a peer that may send anything."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from memwatch_agent.drivers.unixstream import UnixStream


@contextlib.asynccontextmanager
async def pair(folder: Path) -> AsyncIterator[tuple[UnixStream, socket.socket]]:
    """A connected stream, and its peer's end."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "s"))
        listener.listen()
        stream = await UnixStream.connect(folder / "s")
        peer, _ = listener.accept()
        with peer:
            yield stream, peer
        stream.close()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_bytes_come_and_go(tmp_path):
    """What a peer sends is read in order; its end is an empty read."""
    async with pair(tmp_path) as (stream, peer):
        stream.write(b"request")
        assert peer.recv(100) == b"request"
        reading = asyncio.create_task(stream.read(100))
        await asyncio.sleep(0)
        peer.send(b"answer")
        assert await reading == b"answer"
        peer.shutdown(socket.SHUT_WR)
        assert await stream.read(100) == b""


async def test_a_descriptor_comes_with_bytes_and_is_taken_once(tmp_path):
    """It is the taker's, does not survive an exec, and is given out once."""
    async with pair(tmp_path) as (stream, peer):
        with open(os.devnull) as sent:  # noqa: ASYNC230 not a file on a disk
            socket.send_fds(peer, [b"x"], [sent.fileno()])
        assert await stream.read(10) == b"x"
        taken = stream.take_descriptor()
        assert os.get_inheritable(taken) is False
        assert stream.take_descriptor() == -1
        os.close(taken)


async def test_descriptors_that_nobody_takes_are_closed(tmp_path):
    """However many a peer attaches, at most one is held, and none after the end."""
    before = descriptors()
    async with pair(tmp_path) as (stream, peer):
        held = descriptors()
        with open(os.devnull) as sent:  # noqa: ASYNC230 not a file on a disk
            for _ in range(5):
                socket.send_fds(peer, [b"x"], [sent.fileno()] * 3)
                assert await stream.read(1) == b"x"
        assert descriptors() == held + 1
    assert descriptors() == before


async def test_a_close_ends_a_read_that_waits(tmp_path):
    """Who waits for a word hears that the connection was closed."""
    async with pair(tmp_path) as (stream, _):
        reading = asyncio.create_task(stream.read(10))
        await asyncio.sleep(0.01)
        stream.close()
        with pytest.raises(ConnectionError):
            await reading


async def test_a_peer_that_reads_nothing_ends_the_connection(tmp_path):
    """A write never waits: where it does not fit, the next read says that it is over."""
    async with pair(tmp_path) as (stream, peer):
        for _ in range(1000):
            stream.write(b"x" * 60_000)
        assert await stream.read(10) == b""
        assert peer.recv(10)
