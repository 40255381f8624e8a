"""Snapshots open in the programs that people have: memlab and Chrome DevTools' engine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from memwatch_heap import formats
from memwatch_heap.measures import measure
from memwatch_hook import convert
from tests.hook.client import Heap, connected, wait_for_sockets
from tests.hook.walkers import WALKERS
from tests.support import runtimes

SCRIPT = Path(__file__).parent / "open_snapshot.cjs"
PLANTED = """
import time
class Customer:
    pass
CUSTOMERS = [Customer() for number in range(1234)]
time.sleep(60)
"""


@pytest.mark.parametrize("walker", WALKERS)
def test_memlab_and_devtools_open_a_snapshot(hooked, hook_dir, tmp_path):
    """Both readers see all nodes and the planted instances; modules are roots at distance 1.

    The retained size of every node is the same in DevTools' engine and in ours; memlab has rules of
    its own, and agrees on 99 of 100 nodes.
    """
    node = runtimes.node(24)
    modules = runtimes.npm_modules()
    if node is None or not (modules / "@memlab" / "heap-analysis").exists():
        pytest.skip("memlab is not installed: run python -m tests.support.runtimes")
    with hooked(sys.executable, "-c", PLANTED) as target:
        [path] = wait_for_sockets(hook_dir, pid=target.pid)
        with connected(path) as client:
            dump = client.ask_dump().data
    file, dumped = tmp_path / "python.heapsnapshot", tmp_path / "dump"
    dumped.write_bytes(dump)
    with dumped.open("rb") as source, file.open("wb") as made:
        convert.convert(source.fileno(), made.fileno())
    heap = Heap.parse(file.read_bytes())
    ours = measure(formats.read(file)).retained.tolist()
    ordinals = tmp_path / "ordinals"
    ordinals.write_text(json.dumps(list(range(len(heap.names)))))
    done = subprocess.run(
        [node, SCRIPT, modules, file, "__main__.Customer", ordinals],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.strip().splitlines()[-1])
    size = sum(s for s, n in zip(heap.sizes, heap.names, strict=True) if n == "__main__.Customer")
    assert found["memlab"]["nodes"] == found["devtools"]["nodes"] == len(heap.names)
    assert found["memlab"]["count"] == found["devtools"]["count"] == 1234
    assert found["devtools"]["self"] == size
    assert found["devtools"]["distance"] == 4  # module, its dict, the list, the instance
    assert "CUSTOMERS" in found["memlab"]["path"]
    assert found["devtools"]["retained"] == ours
    same = sum(a == b for a, b in zip(found["memlab"]["retained"], ours, strict=True))
    assert same >= 0.99 * len(ours)
