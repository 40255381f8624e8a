"""The black box: what a process that dies of its heap's limit leaves to be found."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agent.drivers.apps import App, node, running
from tests.support.fork_addon import built
from tests.support.processes import wait_until
from tests.support.stack import NODE_HOOK

#: Leaks by the way that its argument names: as a service does, or by a single call.
LEAKS = """
class Order { constructor() { this.items = Array.from({ length: 64 }, Math.random); } }
const kept = [];
const ways = {
  turns() { for (let i = 0; i < 500; i += 1) kept.push(new Order()); setTimeout(ways.turns, 2); },
  call() { kept.push(JSON.parse('[' + '{"a":1,"b":[1,2,3]},'.repeat(2e6) + '0]')); },
};
console.log('up');
setTimeout(ways[process.argv[2]], 200);
"""


def left(folder: Path) -> list[tuple[dict[str, Any], bytes]]:
    """The boxes of a folder: their descriptions, and what is in them."""
    found = []
    for path in sorted(folder.glob("*.profile.json")):
        meta = json.loads(path.read_text())
        data = path.with_name(path.name.removesuffix(".json")).read_bytes()
        assert len(data) == meta["size_bytes"]
        found.append((meta, data))
    return found


@contextlib.contextmanager
def leaking(folder: Path, major: int, way: str, hook: Path = NODE_HOOK) -> Iterator[App]:
    """A Node with a small heap that leaks."""
    folder.mkdir()
    script = folder / "app.cjs"
    script.write_text(LEAKS)
    env = {"MEMWATCH_HOOK_DIR": str(folder), "NODE_OPTIONS": f"--require={hook}"}
    with running([node(major), "--max-old-space-size=64", script, way], env=env) as app:
        yield app


def test_a_process_that_dies_leaves_figures_and_classes(tmp_path):
    """Whatever its Node; once, and nothing else."""
    if isinstance(addon := built(), str):
        pytest.skip(addon)
    folders = {major: tmp_path / str(major) for major in (18, 26)}
    with contextlib.ExitStack() as stack:
        apps = [stack.enter_context(leaking(at, major, "turns")) for major, at in folders.items()]
        wait_until(lambda: not any(app.alive for app in apps), 120, "the processes to die")
    for app, folder in zip(apps, folders.values(), strict=True):
        there = sorted(path.name for path in folder.iterdir())
        assert len(left(folder)) == 1, (app.popen.returncode, there)
        [(meta, data)] = left(folder)
        box = json.loads(data)
        assert box["looks"][-1]["heap"]["used_heap_bytes"] > 0.8 * 64 * 1024 * 1024
        assert meta["content_type"] == "application/json"
        assert meta["pause_millis"] > 0
        rows = dict(box["classes"]["rows"])
        assert rows["Order"] > 10_000
        assert "Order" in list(rows)[:3]
        assert not list(folder.glob("*.part"))


def test_one_call_that_takes_all_leaves_figures(tmp_path):
    """No code of the app's runs in which it could be forked; the box says so."""
    if isinstance(addon := built(), str):
        pytest.skip(addon)
    with leaking(tmp_path / "a", 24, "call") as app:
        wait_until(lambda: not app.alive, seconds=120, what="the process to die")
    [(_, data)] = left(tmp_path / "a")
    box = json.loads(data)
    assert box["looks"][-1]["memory"]["rss_bytes"] > 64 * 1024 * 1024
    assert "before a child could write" in box["classes_missing"]


def test_without_the_addon_there_are_figures_of_the_collections(tmp_path):
    """And the box says why there is no more."""
    alone = tmp_path / NODE_HOOK.name
    alone.write_bytes(NODE_HOOK.read_bytes())
    with leaking(tmp_path / "a", 24, "turns", alone) as app:
        wait_until(lambda: not app.alive, seconds=120, what="the process to die")
    [(meta, data)] = left(tmp_path / "a")
    box = json.loads(data)
    assert box["looks"]
    assert box["classes"] is None
    assert "addon cannot be loaded" in box["classes_missing"]
    assert "addon cannot be loaded" in meta["notes"][-1]


RECOVERS = """
const v8 = require('v8');
const fs = require('fs');
class Order { constructor() { this.items = new Array(256).fill(0.5); } }
const limit = () => v8.getHeapStatistics().heap_size_limit;
const folder = process.env.MEMWATCH_HOOK_DIR;
const boxes = () => fs.readdirSync(folder).filter((name) => /near-limit/.test(name));
const first = limit();
let kept = [];
console.log('up');
function leak() {
  if (limit() > first && boxes().length) { kept = []; return recover(); }
  for (let i = 0; i < 300; i += 1) kept.push(new Order());
  setTimeout(leak, 2);
}
function recover() {
  globalThis.gc();
  if (limit() === first && boxes().length === 0) process.exit(7);
  setTimeout(recover, 20);
}
leak();
"""


def test_a_process_that_comes_away_from_its_limit_is_as_before(tmp_path):
    """The limit that was raised for the child holds again, and what it wrote is gone."""
    if isinstance(addon := built(), str):
        pytest.skip(addon)
    script = tmp_path / "app.cjs"
    script.write_text(RECOVERS)
    env = {"MEMWATCH_HOOK_DIR": str(tmp_path), "NODE_OPTIONS": f"--require={NODE_HOOK}"}
    flags = ("--expose-gc", "--max-old-space-size=64", "--max-semi-space-size=1")
    with running([node(24), *flags, script], env=env) as app:
        wait_until(lambda: not app.alive, 120, "the process to recover")
        assert app.popen.returncode == 7
    assert left(tmp_path) == []
