"""A forked, a blocking and an attached snapshot of one program tell of the same objects."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from memwatch_agent.drivers.base import Link
from memwatch_agent.drivers.door import Door
from memwatch_agent.drivers.hook import HookDriver
from memwatch_agent.drivers.markers import marker
from memwatch_heap.diff import census
from memwatch_heap.formats import read
from tests.agent.drivers.apps import Collected, node, node_app
from tests.hook_node.forking import addon, forked_by
from tests.hook_node.test_hook_node import hooked, target_of
from tests.support import runtimes

OPENER = Path(__file__).parents[1] / "hook" / "open_snapshot.cjs"

#: Objects of many kinds, and nothing that changes by itself.
PROGRAM = """
class Planted { constructor(i) { this.i = i; this.list = [i, { i }]; } }
class Holder extends Map {}
const shared = Symbol('shared');
globalThis.kept = {
  planted: Array.from({ length: COUNT }, (_, i) => new Planted(i)),
  holder: new Holder(Array.from({ length: 300 }, (_, i) => ['key ' + i, new Date(i)])),
  closures: Array.from({ length: 200 }, (_, i) => () => i),
  buffers: Array.from({ length: 20 }, () => new Uint8Array(1000)),
  weak: new WeakMap([[shared.constructor, new Set([1, 2])]]),
  regexps: Array.from({ length: 50 }, (_, i) => new RegExp('a' + i)),
};
setInterval(() => {}, 1000);
console.log('up 0');
"""

#: What taking a snapshot itself makes and drops: code, texts and V8's own bookkeeping.
_OF_THE_RUNTIME = ("(", "system /", "{", "Node /", "Module", "node:")


def counts(snapshot: bytes, folder: Path) -> Mapping[str, int]:
    """Objects by class of the program's own, as our engine counts them."""
    file = folder / "some.heapsnapshot"
    file.write_bytes(snapshot)
    found = census(read(file))
    numbers = dict.fromkeys(found.names, 0)
    for number in found.of.tolist():
        numbers[found.names[number]] += 1
    return {name: count for name, count in numbers.items() if not name.startswith(_OF_THE_RUNTIME)}


async def by(link: Link, *, forked: bool = False) -> bytes:
    """A snapshot over a link."""
    if forked:
        return (await forked_by(link))[0]
    sink = Collected()
    await link.capture(sink.take, lambda _: None)
    return sink.data


@pytest.mark.parametrize("major", [20, 24])
async def test_every_way_counts_the_same_classes(tmp_path, major):
    """Of classes of which there are many, to the object; memlab opens the forked one."""
    addon()
    with node_app(tmp_path, PROGRAM, major=major, count=2000, env=hooked(tmp_path)) as app:
        target = target_of(app, tmp_path)
        async with HookDriver().open(target) as link:
            forked, blocking = await by(link, forked=True), await by(link)
        door = Door(target, marker(tmp_path, app.pid, target.start_ticks), ours=False)
        attached = await by(await door.enter())
        await door.shut()

    one, two, three = (counts(data, tmp_path) for data in (forked, blocking, attached))
    for name in ("Planted", "Holder", "Date", "RegExp"):
        assert one[name] == two[name] == three[name] > 0, name
    many = {name for name in one if one[name] >= 100}
    assert many >= {"Planted", "Array", "Object", "Date"}
    for name in many:
        assert one[name] == pytest.approx(two[name], rel=0.02), name
        # the inspector loads modules of its own
        assert one[name] == pytest.approx(three[name], rel=0.05), name
    if major == 24:
        opened = by_others(forked, tmp_path)
        assert opened["devtools"]["count"] == one["Planted"]
        assert opened["memlab"]["count"] >= one["Planted"]  # and the class itself, by its name
        assert opened["memlab"]["nodes"] == opened["devtools"]["nodes"]


def by_others(snapshot: bytes, folder: Path) -> dict[str, Any]:
    """What memlab and DevTools' own engine find of the planted objects."""
    modules = runtimes.npm_modules()
    if not (modules / "@memlab" / "heap-analysis").exists():
        pytest.skip("memlab is not installed: run python -m tests.support.runtimes")
    file = folder / "forked.heapsnapshot"
    file.write_bytes(snapshot)
    command: list[str | Path] = [node(24), OPENER, modules, file, "Planted"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
