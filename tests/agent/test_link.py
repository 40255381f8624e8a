"""`link.py`: registered for as long as the agent lives, whatever the controller does."""

import asyncio
from contextlib import asynccontextmanager

import grpc
import pytest

from memwatch_agent import link as module
from memwatch_agent.link import Backoff, Link
from memwatch_proto.auth import TokenInterceptor, bearer
from memwatch_proto.v1 import agents_pb2, registry_pb2, registry_pb2_grpc, targets_pb2

TOKEN = "secret"


class Registry(registry_pb2_grpc.RegistryServiceServicer):
    """A controller that writes down what it hears."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[str] = asyncio.Queue()
        self.requests: list[registry_pb2.ConnectRequest] = []
        self.silent = False
        self.end_after: int | None = None

    async def Connect(self, request_iterator, context):  # noqa: N802
        count = 0
        async for request in request_iterator:
            self.requests.append(request)
            self.heard.put_nowait(request.WhichOneof("message"))
            count += 1
            if self.silent:
                continue
            if request.HasField("register"):
                yield registry_pb2.ConnectResponse(
                    registered=registry_pb2.Registered(heartbeat_interval_millis=1)
                )
            else:
                yield registry_pb2.ConnectResponse(ack=registry_pb2.HeartbeatAck())
            if count == self.end_after:
                return

    async def next(self, count: int = 1) -> list[str]:
        async with asyncio.timeout(10):
            return [await self.heard.get() for _ in range(count)]


@asynccontextmanager
async def controller(registry, address, token=TOKEN):
    server = grpc.aio.server(interceptors=[TokenInterceptor(token)])
    registry_pb2_grpc.add_RegistryServiceServicer_to_server(registry, server)
    server.add_insecure_port(address)
    await server.start()
    try:
        yield
    finally:
        await server.stop(0)


@asynccontextmanager
async def linked(address):
    looked = 0

    async def about():
        return agents_pb2.Agent(id="a-1")

    async def targets():
        nonlocal looked
        looked += 1
        return [targets_pb2.Target(id=f"t-{looked}")]

    link = Link(
        lambda: grpc.aio.insecure_channel(address),
        bearer(TOKEN),
        about,
        targets,
        Backoff(lambda: 0.0),
    )
    task = asyncio.create_task(link.run())
    try:
        yield link
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "FIRST_BACKOFF_SECONDS", 0.02)
    monkeypatch.setattr(module, "REFUSED_BACKOFF_SECONDS", 0.02)
    monkeypatch.setattr(module, "MIN_INTERVAL_SECONDS", 0.02)


async def test_it_registers_and_then_beats(tmp_path):
    """First who it is with every target, then heartbeats with what is there now."""
    registry, address = Registry(), f"unix:{tmp_path}/c"
    async with controller(registry, address), linked(address) as link:
        assert await registry.next(3) == ["register", "heartbeat", "heartbeat"]
        assert link.connected

    assert registry.requests[0].register.agent.id == "a-1"
    assert [t.id for t in registry.requests[0].register.targets] == ["t-1"]
    assert [t.id for t in registry.requests[1].heartbeat.targets] == ["t-2"]


async def test_it_waits_for_a_controller(tmp_path):
    """An agent that starts first keeps trying."""
    registry, address = Registry(), f"unix:{tmp_path}/c"
    async with linked(address) as link:
        await asyncio.sleep(0.1)
        assert not link.connected
        async with controller(registry, address):
            assert await registry.next() == ["register"]


async def test_it_comes_back_after_a_controller_s_restart(tmp_path):
    """The stream is made again and begins with `register`."""
    address = f"unix:{tmp_path}/c"
    async with linked(address) as link:
        for _ in range(3):
            registry = Registry()
            async with controller(registry, address):
                assert await registry.next(2) == ["register", "heartbeat"]
        assert link.connects == 3


async def test_a_stream_that_ends_is_made_again(tmp_path):
    """A controller that closes the stream politely is connected to again."""
    registry, address = Registry(), f"unix:{tmp_path}/c"
    registry.end_after = 1
    async with controller(registry, address), linked(address):
        heard = await registry.next(6)

    assert heard.count("register") >= 3


async def test_a_silent_controller_is_left(tmp_path, monkeypatch):
    """No answer within the time means that nobody is there."""
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.05)
    registry, address = Registry(), f"unix:{tmp_path}/c"
    registry.silent = True
    async with controller(registry, address), linked(address) as link:
        assert await registry.next(2) == ["register", "register"]
        assert not link.connected


async def test_a_refused_token_is_tried_on(tmp_path):
    """A controller that gets the right token later takes the agent in without a restart."""
    registry, address = Registry(), f"unix:{tmp_path}/c"
    async with linked(address) as link:
        async with controller(registry, address, token="other"):
            await asyncio.sleep(0.1)
            assert not link.connected
        async with controller(registry, address):
            assert await registry.next() == ["register"]


def test_the_back_off_grows_to_its_limit(monkeypatch):
    """Each try waits longer, spread at random, up to a limit; a success resets it."""
    monkeypatch.undo()
    low, high = Backoff(lambda: 0.0), Backoff(lambda: 1.0)

    assert [low.seconds(False) for _ in range(9)] == [0.25, 0.5, 1, 2, 4, 8, 15, 15, 15]
    assert [high.seconds(False) for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert high.seconds(True) == module.REFUSED_BACKOFF_SECONDS
    low.reset()
    assert low.seconds(False) == 0.25


async def test_a_mistake_in_a_look_does_not_end_the_link(tmp_path):
    """The loop outlives an error that nobody foresaw."""
    registry, address = Registry(), f"unix:{tmp_path}/c"
    tries = 0

    async def about():
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ZeroDivisionError("ours")
        return agents_pb2.Agent(id="a-1")

    async def targets():
        return []

    link = Link(
        lambda: grpc.aio.insecure_channel(address),
        bearer(TOKEN),
        about,
        targets,
        Backoff(lambda: 0.0),
    )
    async with controller(registry, address):
        task = asyncio.create_task(link.run())
        assert await registry.next() == ["register"]
        assert tries == 2
        task.cancel()
        await asyncio.wait([task])
