"""A fake agent that registers with a real controller and stays registered, as a real one does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc

from memwatch_proto.auth import bearer
from memwatch_proto.keepalive import CHANNEL_OPTIONS
from memwatch_proto.v1 import (
    agents_pb2,
    common_pb2,
    registry_pb2,
    registry_pb2_grpc,
    targets_pb2,
)
from tests.fakes.agent import FakeAgent, serving

#: A fake agent comes back at once, so that tests are quick.
_RECONNECT_SECONDS = 0.1


def fake_target(id: str, service: str = "web", **fields: Any) -> targets_pb2.Target:
    """A Node target that can be captured."""
    return targets_pb2.Target(
        id=id,
        pid=100,
        service=service,
        runtime=common_pb2.RUNTIME_NODE,
        ways=[common_pb2.CAPTURE_WAY_HOOK],
        **fields,
    )


class LinkedAgent:
    """An agent's identity, targets and stream to the controller.

    Attributes:
        targets: what the next heartbeat reports; change it at will.
        registered: set while the controller has acknowledged a stream.
    """

    def __init__(
        self, id: str, address: str, targets: Sequence[targets_pb2.Target], fake: FakeAgent
    ) -> None:
        self.id = id
        self.address = address
        self.targets = list(targets)
        self.fake = fake
        self.registered = asyncio.Event()

    async def run(self, controller: str, token: str) -> None:
        """Registers again and again until cancelled."""
        async with grpc.aio.insecure_channel(controller, CHANNEL_OPTIONS) as channel:
            stub = registry_pb2_grpc.RegistryServiceStub(channel)
            while True:
                with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                    await self._stream(stub, token)
                self.registered.clear()
                await asyncio.sleep(_RECONNECT_SECONDS)

    async def _stream(self, stub: Any, token: str) -> None:
        call = stub.Connect(metadata=bearer(token))
        try:
            agent = agents_pb2.Agent(
                id=self.id,
                address=self.address,
                spooled=[snapshot for snapshot, _ in self.fake.spool.values()],
            )
            register = registry_pb2.Register(agent=agent, targets=self.targets)
            await call.write(registry_pb2.ConnectRequest(register=register))
            answer = await call.read()
            if answer is grpc.aio.EOF:
                return
            interval = answer.registered.heartbeat_interval_millis / 1000
            self.registered.set()
            while True:
                await asyncio.sleep(interval)
                heartbeat = registry_pb2.Heartbeat(targets=self.targets)
                await call.write(registry_pb2.ConnectRequest(heartbeat=heartbeat))
                if await call.read() is grpc.aio.EOF:
                    return
        finally:
            call.cancel()


@contextlib.asynccontextmanager
async def linked(agent: LinkedAgent, controller: str, token: str) -> AsyncIterator[LinkedAgent]:
    """Serves an agent and keeps it registered, for the length of the block."""
    async with serving(agent.fake, agent.address, token):
        task = asyncio.create_task(agent.run(controller, token))
        try:
            yield agent
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
