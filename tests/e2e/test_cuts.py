"""A bad network between agent and controller: every snapshot still arrives whole."""

import asyncio
from pathlib import Path

import pytest

from tests.e2e.conftest import get
from tests.e2e.test_capture import answers
from tests.support import runtimes
from tests.support.cutting_proxy import CuttingProxy
from tests.support.processes import free_port, running, wait_until
from tests.support.stack import APPS, Stack, unique

pytestmark = [pytest.mark.e2e, pytest.mark.chaos]

CUTS = 50

#: Room for one chunk and a little: each connection brings the download on by a chunk or none.
CUT_AFTER_BYTES = 400 * 1024

#: Strings of 900 random characters: some 25 MB that do not compress.
STRINGS = 36_000


def capture_through(stack: Stack, node: Path) -> str:
    """A session on the bulky service, through whatever the agent advertises; its id."""
    port, name = free_port(), unique("bulky")
    env = {"MEMWATCH_SERVICE_NAME": name}
    with running([node, APPS / "bulky_node.js", str(port), str(STRINGS)], env=env):
        wait_until(lambda: answers(port))
        assert get(port, "/") == {"kept": STRINGS}
        stack.wait_for_target(name)
        session_id = stack.ctl("capture", name, "--timeframe", "1s", "--detach").stdout.strip()
        session = stack.wait_for_state(session_id, "SUCCEEDED", "FAILED", seconds=120)
        assert session["state"] == "SESSION_STATE_SUCCEEDED", session.get("error")
        return session_id


async def test_fifty_cuts(folder: Path) -> None:
    """A proxy that cuts the stream 50 times: both snapshots are taken once and arrive whole."""
    node = runtimes.any_node()
    if node is None:
        pytest.skip("no Node.js ≥ 18 is on this machine")
    agent_port = free_port()
    proxy = CuttingProxy(agent_port, CUT_AFTER_BYTES, CUTS)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    stack = Stack(folder, agent_address=f"127.0.0.1:{agent_port}", advertise=proxy.address)
    try:
        await asyncio.to_thread(stack.start)
        session_id = await asyncio.to_thread(capture_through, stack, node)

        assert proxy.cuts == CUTS
        snapshots = stack.session(session_id)["targets"][0]["snapshots"]
        assert [s["phase"] for s in snapshots] == ["before", "after"]
        for snapshot in snapshots:
            file = folder / snapshot["id"]
            await asyncio.to_thread(
                stack.ctl, "snapshots", "download", snapshot["id"], "--output", str(file)
            )
            assert file.stat().st_size == int(snapshot["raw_size_bytes"])
    finally:
        await proxy.stop()
        server.close()
        await asyncio.to_thread(stack.stop)
