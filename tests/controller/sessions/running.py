"""A real controller process and fake agents that are linked to it, for tests of sessions."""

import asyncio
import contextlib
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from grpc_health.v1 import health_pb2, health_pb2_grpc

from memwatch_heap.testing import HeapBuilder
from memwatch_proto.auth import bearer
from memwatch_proto.v1 import sessions_pb2, sessions_pb2_grpc, snapshots_pb2, snapshots_pb2_grpc
from tests.fakes.agent import FakeAgent
from tests.fakes.linked import LinkedAgent, fake_target, linked
from tests.support.stack import program_env

State = sessions_pb2.SessionState
FINISHED = (
    State.SESSION_STATE_SUCCEEDED,
    State.SESSION_STATE_FAILED,
    State.SESSION_STATE_CANCELLED,
)


def small_heap(request_id: str) -> bytes:
    """A heap with 2 objects of class Leaked before, and 5 after."""
    heap = HeapBuilder()
    for _ in range(2 if request_id.endswith(".before") else 5):
        heap.node("object", "Leaked", size=64, held_by=heap.root)
    return heap.text()


class Controller:
    """A controller process in a folder; killed and started at will."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.address = f"unix:{folder}/c.sock"
        self.token = "secret-of-the-tests"
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Starts it and waits until it serves."""
        with (self.folder / "controller.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "memwatch_controller", "--listen", self.address),
                *("--http-listen", "off", "--data-dir", str(self.folder / "data")),
                *("--heartbeat-seconds", "0.5", *self._arguments),
                env={**os.environ, **program_env(), "MEMWATCH_TOKEN": self.token},
                stderr=log,
                start_new_session=True,
            )
        await eventually(self._serves, 60)

    async def _serves(self) -> bool:
        assert self._process is not None
        assert self._process.returncode is None, (self.folder / "controller.log").read_text()
        with contextlib.suppress(grpc.aio.AioRpcError):
            async with grpc.aio.insecure_channel(self.address) as channel:
                stub: Any = health_pb2_grpc.HealthStub(channel)
                answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=2)
                return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
        return False

    async def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ends it; its exit code."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(how)
        return await self._process.wait()

    async def kill(self) -> None:
        """SIGKILL for it and the workers it started."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()


class World:
    """A controller, its callers and its agents."""

    def __init__(self, controller: Controller, stack: contextlib.AsyncExitStack) -> None:
        self.controller = controller
        self._stack = stack

    async def agent(self, name: str, **fields: Any) -> LinkedAgent:
        """A fake agent with the one target `t-NAME` of service NAME, registered."""
        fake = FakeAgent(raw=small_heap, **fields)
        address = f"unix:{self.controller.folder}/{name}.sock"
        agent = LinkedAgent(f"a-{name}", address, [fake_target(f"t-{name}", name)], fake)
        await self._stack.enter_async_context(
            linked(agent, self.controller.address, self.controller.token)
        )
        await asyncio.wait_for(agent.registered.wait(), 30)
        return agent

    async def call(self, method: str, request: Any) -> Any:
        """One call of SessionService."""
        async with grpc.aio.insecure_channel(self.controller.address) as channel:
            stub = sessions_pb2_grpc.SessionServiceStub(channel)
            return await getattr(stub, method)(
                request, metadata=bearer(self.controller.token), timeout=30
            )

    async def create(
        self, name: str, seconds: float, *, snapshots: int = 2, **plan: Any
    ) -> sessions_pb2.Session:
        """A session over the targets of a service."""
        wanted = sessions_pb2.SessionPlan(
            timeframe_millis=int(seconds * 1000), snapshots=snapshots, **plan
        )
        if name:
            wanted.selector.name = name
        request = sessions_pb2.CreateSessionRequest(request_id=uuid.uuid4().hex, plan=wanted)
        session: sessions_pb2.Session = await self.call("CreateSession", request)
        return session

    async def cancel(self, id: str) -> sessions_pb2.Session:
        """Cancels a session."""
        request = sessions_pb2.CancelSessionRequest(id=id)
        session: sessions_pb2.Session = await self.call("CancelSession", request)
        return session

    async def get(self, id: str) -> sessions_pb2.Session:
        """A session now."""
        request = sessions_pb2.GetSessionRequest(id=id)
        session: sessions_pb2.Session = await self.call("GetSession", request)
        return session

    async def until(self, id: str, *states: int, seconds: float = 60) -> sessions_pb2.Session:
        """The session once it is in one of the states."""
        found: list[sessions_pb2.Session] = []

        async def there() -> bool:
            found[:] = [await self.get(id)]
            assert found[0].state in states or found[0].state not in FINISHED, found[0]
            return found[0].state in states

        try:
            await eventually(there, seconds)
        except TimeoutError:
            raise AssertionError(MessageToDict(found[0])) from None
        return found[0]

    async def snapshots(self, session_id: str) -> list[snapshots_pb2.Snapshot]:
        """All snapshots of a session in the store."""
        async with grpc.aio.insecure_channel(self.controller.address) as channel:
            stub = snapshots_pb2_grpc.SnapshotServiceStub(channel)
            answer = await stub.ListSnapshots(
                snapshots_pb2.ListSnapshotsRequest(session_id=session_id),
                metadata=bearer(self.controller.token),
            )
            return list(answer.snapshots)


@contextlib.asynccontextmanager
async def world(folder: Path, *arguments: str) -> AsyncIterator[World]:
    """A world whose controller runs."""
    controller = Controller(folder, *arguments)
    async with contextlib.AsyncExitStack() as stack:
        await controller.start()
        stack.push_async_callback(controller.kill)
        yield World(controller, stack)


async def eventually(condition: Callable[[], Any], seconds: float) -> None:
    """Returns once an async condition holds."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110  what is waited for is another process
            await asyncio.sleep(0.05)
