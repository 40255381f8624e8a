"""attach and hook captures into the spool, against the target's own v8.writeHeapSnapshot.

One Node process holds a heap whose snapshot is about --megabytes large. In each round it writes
that snapshot to a file itself, and an agent's drivers, in a process of their own, take it: through
the inspector, and through the hook. What is measured is the wall time from the first word to the
last byte compressed, digested and on disk. Goal: attach ≤ 1.15 × the target's own time.
"""

import argparse
import asyncio
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from memwatch_agent import procfs
from memwatch_agent.drivers.base import CaptureFacts, Driver, Process, Runtime, Way
from memwatch_agent.drivers.hook import HookDriver
from memwatch_agent.drivers.node import NodeAttachDriver
from memwatch_agent.intake import Intake
from memwatch_agent.spool import Spool, free_bytes
from tests.support import runtimes

ROOT = Path(__file__).resolve().parents[1]
GOAL = 1.15

#: About so many bytes of a snapshot for each row of the target's table, measured.
BYTES_PER_ROW = 500

APP = """
const rows = [];
for (let i = 0; i < ROWS; i++) {
  const tags = ['a' + i, { i }], next = rows[i - 1];
  rows.push({ id: i, name: 'row ' + i, tags, made: new Date(i), next });
}
globalThis.rows = rows;
require('readline').createInterface({ input: process.stdin }).on('line', (file) => {
  const began = performance.now(), cpu = process.cpuUsage();
  require('v8').writeHeapSnapshot(file);
  const { user, system } = process.cpuUsage(cpu);
  console.log(`${(performance.now() - began) / 1000} ${(user + system) / 1e6}`);
});
console.log('up');
"""


def main() -> int:
    options = _options()
    if options.worker:
        return asyncio.run(_take(options))
    node = runtimes.node(options.node) or runtimes.any_node()
    if node is None:
        print("cannot run: there is no Node; run make test once, which installs it")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        rounds = _rounds(node, Path(folder), options)
    _print_table(rounds, options)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench attach", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--node", type=int, default=24, help="major version")
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def _rounds(node: Path, folder: Path, options: argparse.Namespace) -> list[dict[str, float]]:
    """The seconds of each way, round by round."""
    script = folder / "app.cjs"
    script.write_text(APP.replace("ROWS", str(options.megabytes * 1024**2 // BYTES_PER_ROW)))
    env = {
        **os.environ,
        "MEMWATCH_HOOK_DIR": str(folder),
        "NODE_OPTIONS": f"--require {ROOT / 'hook/node/memwatch-hook.cjs'}",
    }
    command = [str(node), "--inspect-port=0", "--max-old-space-size=6000", str(script)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=env,
    ) as target:
        assert target.stdin and target.stdout
        target.stdout.readline()
        rounds = []
        try:
            for _ in range(options.rounds):
                file = folder / "own.heapsnapshot"
                target.stdin.write(f"{file}\n")
                target.stdin.flush()
                wall, cpu = map(float, target.stdout.readline().split())
                figures = {"own": wall, "own cpu": cpu, "own bytes": file.stat().st_size}
                file.unlink()
                for way in Way:
                    figures |= _by_worker(way, target.pid, folder)
                rounds.append(figures)
                print({name: round(value, 2) for name, value in figures.items()}, flush=True)
        finally:
            target.terminate()
    return rounds


def _by_worker(way: Way, pid: int, folder: Path) -> dict[str, float]:
    """What a process of its own measures when it takes the snapshot."""
    argument = json.dumps([str(way), pid, str(folder)])
    command = [sys.executable, "-m", "bench.attach", "--worker", argument]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    measured = json.loads(done.stdout)
    return {f"{way} {name}".removesuffix(" wall"): value for name, value in measured.items()}


async def _take(options: argparse.Namespace) -> int:
    way, pid, folder = json.loads(options.worker)
    found = procfs.stat(f"/proc/{pid}")
    assert found is not None
    target = Process(
        pid,
        found.start_ticks,
        Runtime.NODE,
        argv=tuple(procfs.strings(procfs.read(f"/proc/{pid}/cmdline"))),
        hook_socket=Path(folder, f"node-{pid}-{found.start_ticks}.sock"),
    )
    driver: Driver = HookDriver() if way == Way.HOOK else NodeAttachDriver(Path(folder))
    spool = Spool(Path(folder, f"spool-{way}"), 8 * 1024**3, free_bytes)
    writer = spool.create(f"s-{secrets.token_hex(4)}")
    intake, began = Intake(writer), time.perf_counter()
    async with driver.open(target) as link:
        facts = await link.capture(intake.take, lambda _: None)
    await intake.finish()
    wall = time.perf_counter() - began
    await intake.abort()
    print(json.dumps({"wall": wall, **_figures(facts)}))
    return 0


def _figures(facts: CaptureFacts) -> dict[str, float]:
    peak = (procfs.read("/proc/self/status") or b"").partition(b"VmHWM:")[2].split()[0]
    return {
        "bytes": facts.size_bytes,
        "pause": facts.pause_millis / 1000,
        "cpu": facts.cpu_millis / 1000,
        "agent cpu": time.process_time(),
        "agent MiB": int(peak) / 1024,
    }


def _print_table(rounds: Sequence[dict[str, float]], options: argparse.Namespace) -> None:
    def best(name: str) -> float:
        return min(figures[name] for figures in rounds)

    megabytes = rounds[0]["own bytes"] / 1024**2
    print(f"\nNode {options.node}, snapshot of {megabytes:.0f} MiB, best of {len(rounds)} rounds\n")
    print(
        "| way | wall s | × own | pause s | target CPU s | × own | agent CPU s | agent peak MiB |"
    )
    print("|---|---|---|---|---|---|---|---|")
    own, cpu = best("own"), best("own cpu")
    print(f"| v8.writeHeapSnapshot | {own:.2f} | 1.00 | {own:.2f} | {cpu:.2f} | 1.00 | | |")
    for way in Way:
        wall, taken = best(str(way)), best(f"{way} cpu")
        agent = f"{best(f'{way} agent cpu'):.2f} | {best(f'{way} agent MiB'):.0f}"
        print(
            f"| {way} | {wall:.2f} | {wall / own:.2f} | {best(f'{way} pause'):.2f} "
            f"| {taken:.2f} | {taken / cpu:.2f} | {agent} |"
        )
    print(f"\ngoal for attach: ≤ {GOAL} × own wall time")


if __name__ == "__main__":
    sys.exit(main())
