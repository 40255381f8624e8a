"""Snapshots open in the programs that people have: memlab and Chrome DevTools' engine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

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
    """Both readers see all nodes and the planted instances; modules are roots at distance 1."""
    node = runtimes.node(24)
    modules = runtimes.npm_modules()
    if node is None or not (modules / "@memlab" / "heap-analysis").exists():
        pytest.skip("memlab is not installed: run python -m tests.support.runtimes")
    with hooked(sys.executable, "-c", PLANTED) as target:
        [path] = wait_for_sockets(hook_dir, pid=target.pid)
        with connected(path) as client:
            data = client.ask("heap").data
    file = tmp_path / "python.heapsnapshot"
    file.write_bytes(data)
    heap = Heap.parse(data)
    done = subprocess.run(
        [node, SCRIPT, modules, file, "__main__.Customer"],
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
