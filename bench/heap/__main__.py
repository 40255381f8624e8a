"""The heap engine beside its peers: CPU seconds and memory for the same files, in one run.

Snapshots are made by Node 24 (`make.cjs`), then each program runs in a process of its own, cold
start included. Peers are installed from npm beside the tests' runtimes. Goals are those of the
heap engine's issue.

    make bench ARGS='heap'                 31 MB and 250 MB
    make bench ARGS='heap --big'           and 0.9 GB; needs 12 GB of memory for the peers
    make bench ARGS='heap --linear'        four sizes, ours only
    make bench ARGS='heap --huge'          2 GB, ours only; Node takes 12 GB to make the file
    make bench ARGS='heap --first'         what a new machine's first run pays for compiling
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.support import runtimes

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MODULES = runtimes.npm_modules()
PEERS = {
    "heap-snapshot-toolkit": "1.1.3",
    "memlab": "2.0.5",
    "@vscode/v8-heap-parser": "0.1.0",
}
OURS = "memwatch_heap"
SHORT = {"toolkit": "heap-snapshot-toolkit", "memlab": "memlab", "parser": "@vscode/v8-heap-parser"}
OBJECTS = {"31 MB": 84_000, "250 MB": 720_000, "0.9 GB": 2_600_000, "2 GB": 6_000_000}
# A heap of V8 that holds 0.9 GB of snapshot as JavaScript objects, or all that makes 2 GB.
NODE_HEAP = "--max-old-space-size=16000"


@dataclass(frozen=True)
class Cost:
    """What one process cost: CPU and wall seconds, peak memory in MB, what it printed."""

    cpu: float
    wall: float
    peak: int
    said: str
    failed: bool


def measure(command: Sequence[object], package: Path = ROOT / "heap") -> Cost:
    """Runs a command to its end; its children's costs are included."""
    path = os.pathsep.join([str(package), str(ROOT)])
    begun = time.monotonic()
    process = subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert process.stdout is not None
    said = process.stdout.read().strip()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Cost(
        usage.ru_utime + usage.ru_stime,
        time.monotonic() - begun,
        usage.ru_maxrss >> 10,
        said,
        process.returncode != 0,
    )


def ours(mode: str, *files: Path) -> Cost:
    return measure([sys.executable, HERE / "ours.py", mode, *files])


def least(runs: dict[str, Callable[[], Cost]], rounds: int) -> dict[str, Cost]:
    """Of each program the run that cost the least CPU: what others do here only adds.

    The programs take turns, so that all of them meet the same machine.
    """
    found: dict[str, list[Cost]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            found[name].append(run())
    return {name: min(costs, key=lambda cost: cost.cpu) for name, costs in found.items()}


def show_all(runs: dict[str, Callable[[], Cost]], rounds: int) -> None:
    """The least of each, and how it compares with the first."""
    costs = least(runs, rounds)
    mine = next(iter(costs.values()))
    for name, cost in costs.items():
        show(name, cost, None if cost is mine else mine)


def peer(name: str, *files: Path) -> Cost:
    return measure([node(), NODE_HEAP, HERE / "peers.mjs", MODULES, name, *files])


def node() -> Path:
    found = runtimes.node(24)
    if found is None:
        sys.exit("cannot bench the heap engine: Node 24 is not installed; run make test once")
    return found


def show(what: str, cost: Cost, mine: Cost | None = None) -> None:
    ratio = f"{cost.cpu / mine.cpu:.1f}" if mine and not cost.failed else ""
    state = "FAILED" if cost.failed else " ".join(cost.said.split())[:70]
    print(
        f"| {what:34} | {cost.cpu:7.2f} | {cost.wall:7.1f} | {cost.peak:6} | {ratio:6} | {state} |",
        flush=True,
    )


def head(title: str) -> None:
    print(f"\n### {title}\n")
    print("| what | CPU s | wall s | peak MB | times ours | result |")
    print("|---|---|---|---|---|---|", flush=True)


def install() -> None:
    missing = [f"{name}@{v}" for name, v in PEERS.items() if not (MODULES / name).exists()]
    if missing:
        npm = shutil.which("npm") or sys.exit("cannot install the peers: there is no npm")
        command = [npm, "install", "--silent", "--ignore-scripts", "--prefix", MODULES.parent]
        subprocess.run([*command, *missing], check=True)


def make(folder: Path, name: str, objects: int) -> Path:
    file = folder / f"{name.replace(' ', '')}.heapsnapshot"
    subprocess.run([node(), NODE_HEAP, HERE / "make.cjs", file, str(objects)], check=True)
    size = file.stat().st_size >> 20
    print(f"\n{name}: {size} MiB", flush=True)
    return file


def compare(folder: Path, name: str, rounds: int) -> None:
    """One size: load + dominators + retained beside the peers, the full analysis, the index."""
    file = make(folder, name, OBJECTS[name])
    head(f"{name}: load, dominators, retained sizes")
    index = folder / "x.index"
    peers = {SHORT[short]: partial(peer, short, file) for short in SHORT}
    show_all({OURS: partial(ours, "retained", file)} | peers, rounds)
    mine = {
        f"{OURS}, full analysis": partial(ours, "full", file),
        f"{OURS}, full and its index": partial(ours, "index", file, index),
        f"{OURS} in a warm worker": partial(ours, "retained+warm", file),
    }
    for name, cost in least(mine, rounds).items():
        show(name, cost)
    queries = ours("query", index)
    show(f"queries on {index.stat().st_size >> 20} MiB of index", queries)
    print(f"\n{queries.said}")
    index.unlink()
    file.unlink()


def compare_diff(folder: Path, rounds: int) -> None:
    files = [make(folder, f"diff {n}", n) for n in (60_000, 70_000)]
    head("comparison of two snapshots")
    toolkit = {SHORT["toolkit"]: partial(peer, "toolkit", *files)}
    show_all({OURS: partial(ours, "diff", *files)} | toolkit, rounds)
    show(f"{OURS} in a warm worker", ours("diff+warm", *files))


def linear(folder: Path, rounds: int) -> None:
    """Four sizes; the table comes when all are done, as making a file says something, too."""
    costs: dict[str, Cost] = {}
    for objects in (150_000, 300_000, 600_000, 1_200_000):
        file = make(folder, f"{objects} objects", objects)
        size = f"{file.stat().st_size / 2**20:.0f} MiB"
        costs |= least({size: partial(ours, "full", file)}, rounds)
        file.unlink()
    head("growth with size, full analysis")
    for size, cost in costs.items():
        show(size, cost)


def huge(folder: Path) -> None:
    """2 GB: it passes, and in how much memory."""
    file = make(folder, "2 GB", OBJECTS["2 GB"])
    head("2 GB")
    show("load, dominators, retained sizes", ours("retained", file))
    show("full analysis", ours("full", file))
    show("full and its index", ours("index", file, folder / "x.index"))
    show("queries on the index", queries := ours("query", folder / "x.index"))
    print(f"\n{queries.said}")


def first(folder: Path) -> None:
    """A new machine: no compiled kernels anywhere, and then with them."""
    package = folder / "heap"
    shutil.copytree(ROOT / "heap", package, ignore=shutil.ignore_patterns("__pycache__"))
    files = [make(folder, f"diff {n}", n) for n in (60_000, 70_000)]
    head("first runs")
    for mode, given in (("retained", files[:1]), ("full", files[:1]), ("diff", files)):
        command = [sys.executable, HERE / "ours.py", mode, *given]
        shutil.rmtree(package / "memwatch_heap/_kernels/__pycache__", ignore_errors=True)
        show(f"{mode}, the first run", measure(command, package))
        show(f"{mode}, the second run", measure(command, package))
    shutil.rmtree(package / "memwatch_heap/_kernels/__pycache__", ignore_errors=True)
    show("memwatch_heap.warm", measure([sys.executable, "-m", "memwatch_heap.warm"], package))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--big", action="store_true", help="also 0.9 GB")
    parser.add_argument("--linear", action="store_true", help="only four sizes of ours")
    parser.add_argument("--huge", action="store_true", help="only 2 GB, ours")
    parser.add_argument("--first", action="store_true", help="only what compiling costs at first")
    parser.add_argument("--rounds", type=int, default=1, help="the least of so many runs counts")
    options = parser.parse_args()
    install()
    subprocess.run([sys.executable, "-m", "memwatch_heap.warm"], check=True)
    with tempfile.TemporaryDirectory(prefix="memwatch-bench-") as name:
        folder = Path(name)
        if options.linear:
            linear(folder, options.rounds)
        elif options.huge:
            huge(folder)
        elif options.first:
            first(folder)
        else:
            compare(folder, "31 MB", options.rounds)
            compare_diff(folder, options.rounds)
            compare(folder, "250 MB", options.rounds)
            if options.big:
                compare(folder, "0.9 GB", 1)
        print(f"\nload average {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
