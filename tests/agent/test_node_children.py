"""What becomes of a loaded Express server whose forked children hang, crash or lack memory."""

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from memwatch_proto.v1 import common_pb2
from tests.agent.drivers.apps import node
from tests.agent.test_app import Agent
from tests.hook_node.forking import Peer, addon
from tests.support import runtimes
from tests.support.memory_group import allow, memory_group, oom_kills
from tests.support.node_apps import App, Running, load, started
from tests.support.processes import wait_until

MB = 1 << 20
NEVER = common_pb2.PAUSE_MODE_NEVER


@dataclass
class Bed:
    """The server under load, and the folder that says how its next child ends."""

    app: Running
    folder: Path

    def next_child(self, way: str) -> None:
        (self.folder / "way.new").write_text(way)
        (self.folder / "way.new").rename(self.folder / "way")

    async def capture(self, agent: Agent, request_id: str, **options):
        """The snapshot, or the error that came instead."""
        return await asyncio.to_thread(self._capture, agent, request_id, options)

    def _capture(self, agent: Agent, request_id: str, options):
        with agent.stub() as stub:
            target = stub.target(self.app.process.pid)
            try:
                return stub.capture(target.id, request_id, pause=NEVER, **options)
            except grpc.RpcError as error:
                return error

    async def served_on(self) -> None:
        """Waits for fifty more answers; none was a wrong one, and no child is left."""
        wanted = self.app.requests + 50
        await asyncio.to_thread(wait_until, lambda: self.app.requests >= wanted)
        assert self.app.failed == 0
        await asyncio.to_thread(wait_until, lambda: self.app.children() == [])


@asynccontextmanager
async def bed(folder: Path):
    """Express in a folder of its own, with four clients."""
    addon()
    if not runtimes.npm_apps().exists():
        pytest.skip("Express is not installed (python -m tests.support.runtimes)")
    os.mkfifo(folder / "fifo")
    env = {"WAY": str(folder / "way"), "FIFO": str(folder / "fifo")}
    async with started(App("failing.cjs", env=env), node(), folder, hooked=True) as app, load(app):
        yield Bed(app, folder)


async def test_a_child_that_hangs_or_crashes_is_tried_again(tmp_path):
    """The snapshot comes at the next try, and its record says what became of the one before."""
    said = {"hangs": "it hung, and was ended", "crashes": "it crashed (signal 11)"}
    async with bed(tmp_path) as server:
        with Agent(tmp_path) as agent:
            for way, sentence in said.items():
                server.next_child(way)
                snapshot = await server.capture(agent, way)
                failed, done = snapshot.cost.tries
                assert sentence in failed.failure
                assert (done.manner, done.failure) == (common_pb2.CAPTURE_MANNER_FORKED, "")
                await server.served_on()


async def test_an_agent_that_is_killed_takes_the_child_along(tmp_path):
    """SIGKILL while a child writes: the child ends, the server serves, the next agent captures."""
    async with bed(tmp_path) as server:
        with Agent(tmp_path) as agent:
            server.next_child("hangs")
            capture = asyncio.create_task(server.capture(agent, "cut"))
            await asyncio.to_thread(wait_until, server.app.children)
            assert agent.process is not None
            os.kill(agent.process.pid, signal.SIGKILL)
            assert isinstance(await capture, grpc.RpcError)
            await server.served_on()
        with Agent(tmp_path) as agent:
            snapshot = await server.capture(agent, "whole")
            assert snapshot.cost.manner == common_pb2.CAPTURE_MANNER_FORKED


@pytest.fixture
def limited():
    """A memory cgroup of its own, or the test is skipped."""
    with memory_group() as folder:
        yield folder


@pytest.mark.root
async def test_a_memory_limit_ends_the_child_alone(tmp_path, limited):
    """Ended before the limit by the hook; by the kernel where nothing else does: never the app."""
    async with bed(tmp_path) as server:
        pid = server.app.process.pid
        (limited / "cgroup.procs").write_text(str(pid))
        allow(limited, 250 * MB)
        server.next_child("grows")
        with Agent(tmp_path) as agent:
            failed = await server.capture(agent, "bounded", force=True)
        assert isinstance(failed, grpc.RpcError), failed.cost.tries
        # By the hook, which counts the child's bytes, or by the agent, which watches the group's.
        said = ("more than it was allowed", "were left under the memory limit")
        assert any(sentence in str(failed.details()) for sentence in said)
        assert oom_kills(limited) == 0
        await server.served_on()

        server.next_child("grows")
        peer = await Peer.connected(server.app.process.hook_socket)
        outcome = await peer.forked()
        assert outcome.fields["reason"] == "CHILD_FAILED"
        assert "was ended (wait status 9)" in outcome.message
        assert oom_kills(limited) == 1
        await server.served_on()

        allow(limited, 1000 * MB)
        whole = await peer.forked()
        assert b'"Planted"' in whole.data
        peer.close()
