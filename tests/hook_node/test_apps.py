"""Forked snapshots of a real program under load; `bench/node_apps.py` has twenty kinds of them."""

import pytest

from memwatch_agent.drivers.base import Bounds
from memwatch_agent.drivers.hook import HookDriver
from memwatch_agent.drivers.node import NodeAttachDriver
from tests.agent.drivers.apps import Collected, node
from tests.hook_node.forking import addon
from tests.support import runtimes
from tests.support.node_apps import PLANTED, App, shown, started


@pytest.mark.parametrize("way", ["hook", "attach"])
async def test_express_with_a_native_database(tmp_path, way):
    """Express, ES modules and SQLite under load: whole at once, no request lost, nothing left."""
    addon()
    if not runtimes.npm_apps().exists():
        pytest.skip("Express is not installed (python -m tests.support.runtimes)")
    # Built here where there is a compiler; the other one brings its binary.
    built = runtimes.better_sqlite3().exists()
    app = App("express_sqlite.mjs", env={"DRIVER": "better-sqlite3" if built else "libsql"})
    (tmp_path / "state").mkdir()
    driver = HookDriver() if way == "hook" else NodeAttachDriver(tmp_path / "state")
    binary = node(runtimes.BUILT_FOR_MAJOR)
    async with started(app, binary, tmp_path, hooked=way == "hook") as running:
        told = await shown(running, driver, tmp_path)

    assert told.wrong == []
    assert told.tries <= 3
    assert told.planted == PLANTED
    assert told.facts is not None
    assert 0 < told.facts.pause_millis < told.facts.cpu_millis


async def test_worker_threads_are_told(tmp_path):
    """A snapshot is the main thread's; that there are other heaps stands beside it."""
    addon()
    app = App("threads.cjs")
    async with (
        started(app, node(18), tmp_path, hooked=True) as running,  # it names no threads
        HookDriver().open(running.process) as link,
    ):
        figures = await link.figures()
        forked = await link.capture_forked(Collected().take, lambda _: None, Bounds(60))
        blocking = await link.capture(Collected().take, lambda _: None)

    assert forked.notes == blocking.notes
    assert "worker threads are not in it; there are 3 of them" in forked.notes[0]
    assert figures.workers == 3
    assert figures.external_bytes
    assert figures.resources
