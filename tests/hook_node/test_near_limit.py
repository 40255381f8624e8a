"""The black box: what a process that dies of its heap's limit leaves to be found."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.agent.drivers.apps import node, running
from tests.hook_node.test_hook_node import hooked
from tests.support.fork_addon import built
from tests.support.processes import wait_until

#: Leaks slowly from 60 % on until its objects are counted, as a service does over hours.
LEAKS = """
class Order { constructor() { this.items = [1, 2, 3]; this.note = 'x' + Math.random(); } }
const fs = require('fs');
const kept = [];
const counted = () => fs.readdirSync(process.env.MEMWATCH_HOOK_DIR).some((name) =>
  name.endsWith('.profile') && fs.readFileSync(`${process.env.MEMWATCH_HOOK_DIR}/${name}`, 'utf8')
    .includes('"classes":{'));
let fast = true;
function leak() {
  if (kept.length > 2.1e5) fast = counted();
  for (let i = 0; i < (fast ? 2000 : 100); i += 1) kept.push(new Order());
  setTimeout(leak, fast ? 3 : 30);
}
console.log('up');
leak();
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


def test_a_process_that_dies_leaves_figures_and_classes(tmp_path):
    """The last figures are near the limit; the class that leaked is the most frequent one."""
    if isinstance(addon := built(), str):
        pytest.skip(addon)
    script = tmp_path / "app.cjs"
    script.write_text(LEAKS)
    command = [node(24), "--max-old-space-size=64", script]
    with running(command, env=hooked(tmp_path)) as app:
        wait_until(lambda: not app.alive, seconds=60, what="the process to die")

    [(meta, data)] = left(tmp_path)
    box = json.loads(data)
    heap = box["looks"][-1]["heap"]
    assert heap["used_heap_bytes"] > 0.8 * 64 * 1024 * 1024
    assert meta["content_type"] == "application/json"
    names = [name for name, _ in box["classes"]["rows"]]
    assert "Order" in names[:3]
    assert dict(box["classes"]["rows"])["Order"] > 10_000
    assert not list(tmp_path.glob("*.part"))
