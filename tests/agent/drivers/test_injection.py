"""`drivers/injection.py`: who connects back must be the target, and know the token."""

import asyncio
import os
import re
import socket
from pathlib import Path

import pytest

from memwatch_agent import procfs
from memwatch_agent.drivers import hookwire, injection
from memwatch_agent.drivers.base import Process, Runtime
from memwatch_agent.drivers.errors import CaptureFailedError
from tests.agent.drivers.test_hook import hello

HOOK = Path(__file__).resolve().parents[3] / "hook" / "node" / "memwatch-hook.cjs"


def us() -> Process:
    """This very process as a target."""
    found = procfs.stat(f"/proc/{os.getpid()}")
    assert found is not None
    return Process(os.getpid(), found.start_ticks, Runtime.NODE)


def port_and_token(expression: str) -> tuple[int, bytes]:
    """What the expression tells the hook."""
    match = re.search(r'\.dial\((\d+), "([0-9a-f]{32})", \{"places"', expression)
    assert match
    return int(match[1]), match[2].encode()


class Peer:
    """Evaluates by connecting back itself and saying what it is told to."""

    def __init__(self, *, right_token: bool = True) -> None:
        self.right_token = right_token
        self.socket: socket.socket | None = None

    async def evaluate(self, expression: str) -> object:
        """Connects back, as the hook would."""
        port, token = port_and_token(expression)
        self.socket = await asyncio.to_thread(socket.create_connection, ("127.0.0.1", port))
        self.socket.sendall((token if self.right_token else b"0" * 32) + hello())
        return None


async def test_the_target_that_knows_the_token_is_the_link():
    """Its HELLO is read, and its ids carry an epoch of this connection's own."""
    first, second = Peer(), Peer()
    one = await injection.inject(us(), first.evaluate)
    two = await injection.inject(us(), second.evaluate)

    assert one.epoch != two.epoch
    assert "" not in (one.epoch, two.epoch)
    one.close()
    two.close()


async def test_a_target_that_gets_round_to_it_late_is_asked_again(monkeypatch):
    """One that does not answer, and one that does not connect in time."""
    monkeypatch.setattr(injection, "CONNECT_SECONDS", 0.2)
    peer, asked = Peer(), []

    async def starved(expression: str) -> object:
        asked.append(expression)
        if len(asked) == 1:
            raise CaptureFailedError(1, "it does not answer within 10 s")
        return await peer.evaluate(expression) if len(asked) == 3 else None

    link = await injection.inject(us(), starved)
    assert len(asked) == 3
    link.close()


@pytest.mark.parametrize("stranger", ["wrong token", "another process"])
async def test_nobody_else_is(monkeypatch, stranger):
    """A wrong token, or a socket that is not the target's, is hung up on."""
    monkeypatch.setattr(injection, "CONNECT_SECONDS", 0.3)
    peer = Peer(right_token=stranger != "wrong token")
    found = procfs.stat(f"/proc/{os.getppid()}")
    assert found is not None
    other = Process(os.getppid(), found.start_ticks, Runtime.NODE)
    target = us() if stranger == "wrong token" else other
    monkeypatch.setattr(injection, "TRIES", 1)
    with pytest.raises(CaptureFailedError, match="did not connect in 1 tries"):
        await injection.inject(target, peer.evaluate)

    assert peer.socket is not None
    with peer.socket:
        peer.socket.settimeout(5)
        assert await asyncio.to_thread(closed, peer.socket)


def closed(connection: socket.socket) -> bool:
    """Whether the other side has hung up."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


async def test_an_expression_that_fails_is_the_callers_to_handle():
    """Nothing listens any more afterwards."""
    ports = []

    async def failing(expression: str) -> object:
        ports.append(port_and_token(expression)[0])
        raise CaptureFailedError(1, "it threw")

    with pytest.raises(CaptureFailedError):
        await injection.inject(us(), failing)
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", ports[0])):
        pass


def test_the_hook_is_the_one_file_that_is_preloaded_too():
    """One source for both ways; it speaks this agent's version of the wire."""
    assert injection.hook_source() == HOOK.read_text()
    assert f"const PROTOCOL = {hookwire.PROTOCOL};" in injection.hook_source()
