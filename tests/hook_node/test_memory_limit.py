"""A snapshot's child under a real cgroup limit: the app serves on, whoever ends the child."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from memwatch_agent.attempts import PauseMode
from memwatch_agent.drivers.base import Runtime, Way
from memwatch_agent.drivers.errors import ForkFailedError
from memwatch_agent.drivers.hook import HookDriver
from memwatch_agent.errors import HeadroomError
from memwatch_agent.processes import ProcessTable
from memwatch_agent.taking import CaptureSpec, Course
from memwatch_agent.targets import Target
from tests.agent.drivers.apps import node_app
from tests.agent.fakes import Bench
from tests.hook_node.forking import addon
from tests.hook_node.test_forked import SERVER, children, get, peer_of
from tests.hook_node.test_hook_node import hooked, target_of
from tests.support.processes import wait_until

MIB = 1024 * 1024

#: Version 1 has a hierarchy for memory, version 2 one for all.
_PLACES = (
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes"),
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current"),
)


@contextlib.contextmanager
def limited(pid: int, more_bytes: int) -> Iterator[None]:
    """Puts a process into a cgroup of its own that may use that much more than it does."""
    root, limit, usage = _PLACES[0] if _PLACES[0][0].exists() else _PLACES[1]
    try:
        folder = Path(tempfile.mkdtemp(prefix="memwatch-test-", dir=root))
        (folder / "cgroup.procs").write_text(str(pid))
        (folder / limit).write_text(str(int((folder / usage).read_text()) + more_bytes))
    except OSError as error:
        pytest.skip(f"no memory cgroup may be made here: {error}")
    try:
        yield
    finally:
        (root / "cgroup.procs").write_text(str(pid))
        folder.rmdir()


async def test_a_child_ends_before_its_app_does(tmp_path):
    """The kernel chooses the child; the agent refuses in numbers, and forced ends it before."""
    addon()
    if os.geteuid() != 0:
        pytest.skip("only root makes cgroups")
    env = hooked(tmp_path)
    with (
        node_app(tmp_path, SERVER, count=300_000, env=env) as app,
        limited(app.pid, 60 * MIB),
    ):
        peer = await peer_of(app, tmp_path)
        killed = await peer.forked()
        assert "ended (wait status 9)" in killed.message
        assert get(app, "/") == "ok"

        (tmp_path / "bench").mkdir()
        bench = Bench(tmp_path / "bench")
        found = ProcessTable(only=[app.pid]).scan()[0]
        hook: Any = SimpleNamespace(socket=target_of(app, tmp_path).hook_socket)
        target = Target("t-1", found, hook, (Way.HOOK,), "", "web")
        bench.roster.known = {"t-1": target}
        bench.taker._drivers = {(Runtime.NODE, Way.HOOK): HookDriver()}
        with pytest.raises(HeadroomError, match="are left under its limit"):
            await bench.taker.take(CaptureSpec("r-1", "t-1"), target, Course())
        forced = CaptureSpec("r-2", "t-1", force=True, pause=PauseMode.AUTO)
        with pytest.raises(ForkFailedError) as caught:
            await bench.taker.take(forced, target, Course())

        assert caught.value.kind == "memory"
        assert bench.leftovers() == []
        wait_until(lambda: not children(app.pid), what="the child to be gone")
        assert get(app, "/") == "ok"
