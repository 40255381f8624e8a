"""The verdict on large heaps: CPU time and memory of comparing snapshots of a leaking service."""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from memwatch_heap.comparison import compare_snapshots
from tests.heap.corpus.programs import FOLDER
from tests.support import runtimes

ROOT = Path(__file__).resolve().parents[1]

NODE = """
const v8 = require('v8');
class Report {
  constructor(i) {
    this.id = 'r' + i;
    this.rows = [{ a: i, b: 'row ' + i }, { a: i + 1, b: 'col ' + i }];
    this.done = () => this.id + i;
  }
}
class Static { constructor(i) { this.k = 's' + i; this.data = { x: i, y: { z: i } }; } }
const [objects, first, second] = process.argv.slice(2);
const base = [], cache = new Map();
for (let i = 0; i < +objects; i++) base.push(new Static(i));
function work(count, file) {
  for (let i = 0; i < count; i++) cache.set('k' + cache.size, new Report(cache.size));
  v8.writeHeapSnapshot(file);
}
work(objects / 8, first);
work(objects / 5, second);
"""

PYTHON = """
import sys, harness
class Report:
    def __init__(self, i):
        self.id = f'r{i}'
        self.rows = [{'a': i, 'b': f'row {i}'}, (i, f'c{i}')]
class Static:
    def __init__(self, i):
        self.k = f's{i}'
        self.data = {'x': i, 'y': [i]}
objects, first, second = int(sys.argv[1]), *sys.argv[2:]
base = [Static(i) for i in range(objects)]
cache = {}
def work(count, file):
    for _ in range(count):
        cache[f'k{len(cache)}'] = Report(len(cache))
    harness._snapshot(file)
work(objects // 3, first)
work(objects // 2, second)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", help="two snapshots or more; none: make them")
    parser.add_argument("--runtime", choices=("node", "python"), default="node")
    parser.add_argument("--objects", type=int, default=600_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="memwatch-bench-") as folder:
        paths = options.files or made(options.runtime, options.objects, Path(folder))
        measure([Path(path) for path in paths])
    return 0


def made(runtime: str, objects: int, folder: Path) -> list[Path]:
    """Two snapshots of a service that leaks, written by the service itself."""
    paths = [folder / f"{n}.heapsnapshot" for n in (1, 2)]
    program = folder / "service"
    program.write_text(NODE if runtime == "node" else PYTHON, encoding="utf-8")
    node = [str(runtimes.any_node()), "--max-old-space-size=12000"]
    subprocess.run(
        [*(node if runtime == "node" else [sys.executable]), program, str(objects), *paths],
        check=True,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT / 'hook'}:{FOLDER / 'python'}",
            "MEMWATCH_HOOK_DIR": str(folder),
        },
    )
    return paths


def measure(paths: list[Path]) -> None:
    started = time.process_time()
    found = compare_snapshots(paths)
    spent = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sizes = " + ".join(f"{path.stat().st_size / 2**20:.0f}" for path in paths)
    assert found.verdict is not None
    print(f"{sizes} MiB: {spent:.1f} s of CPU, peak {peak:.0f} MiB, load {os.getloadavg()[0]:.0f}")
    print(f"{found.verdict.verdict}: {found.verdict.summary}")


if __name__ == "__main__":
    sys.exit(main())
