"""What memwatch adds to a pod: the agent's memory, CPU and start, and the hooks' start.

The hooks are those of `make hooks`, in a folder that is not written, as a pod mounts them.
An agent watches one Node service with the hook for --seconds; its memory and CPU are read from
/proc. Then each interpreter is started --rounds times with the hook and without, in turn: told is
the median of both and of the difference, in wall time and in CPU time of the process.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench._agent import MIB, agent, target
from tests.support import runtimes
from tests.support.processes import running, wait_until
from tests.support.stack import APPS, NODE_HOOK

#: Imports and the first looks at /proc are over by then; what follows is idling.
SETTLE_SECONDS = 10.0

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Start:
    """One start of a program, from fork to end."""

    wall_ms: float
    cpu_ms: float


def started(command: Sequence[str | Path], env: Mapping[str, str]) -> Start:
    """Runs a program to its end, measured by what the kernel charged it and its children."""
    began = time.monotonic()
    process = subprocess.Popen(command, env={**os.environ, **env}, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return Start(wall * 1000, (usage.ru_utime + usage.ru_stime) * 1000)


def hook_costs(rounds: int) -> None:
    """What the hook adds to the start of each interpreter that is here."""
    print(f"\nStart of an empty program, median of {rounds}, ms\n")
    print("| interpreter | wall without | with | **added** | CPU without | with | **added** |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="mw-sidecar-") as folder:
        sockets = {"MEMWATCH_HOOK_DIR": folder}
        node = sockets | {"NODE_OPTIONS": f"--require={NODE_HOOK}"}
        for major in (*runtimes.NODE_MAJORS, runtimes.NEXT_NODE_MAJOR):
            if binary := runtimes.node(major):
                row(f"Node {major}", [binary, "-e", "0"], node, rounds)
        hooks = collected(Path(folder)) / "python"
        path = f"{hooks}/bootstrap:{hooks}"
        python = sockets | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        for minor in runtimes.PYTHON_MINORS:
            if binary := runtimes.python(minor):
                row(f"CPython {minor}", [binary, "-c", "pass"], python, rounds)


def collected(folder: Path) -> Path:
    """The hooks as the init container copies them."""
    collect = [sys.executable, runtimes.ROOT / "deploy" / "docker" / "hooks.py", "collect"]
    subprocess.run([*collect, runtimes.ROOT, folder / "hooks"], check=True)
    return folder / "hooks"


def row(name: str, command: Sequence[str | Path], env: Mapping[str, str], rounds: int) -> None:
    """Measures one interpreter in turn without the hook and with it, and prints both."""
    started(command, {})
    started(command, env)  # bytecode is cached
    pairs = [(started(command, {}), started(command, env)) for _ in range(rounds)]
    cells = [name]
    for kind in ("wall_ms", "cpu_ms"):
        without = statistics.median(getattr(bare, kind) for bare, _ in pairs)
        hooked = statistics.median(getattr(own, kind) for _, own in pairs)
        added = statistics.median(getattr(own, kind) - getattr(bare, kind) for bare, own in pairs)
        cells += [f"{without:.1f}", f"{hooked:.1f}", f"**{added:.1f}**"]
    print(f"| {' | '.join(cells)} |", flush=True)


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory_mib(pid: int, name: str) -> float:
    """A figure of a process's memory, such as `Rss` or `Pss`."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024 / MIB
    raise SystemExit(f"no {name} in /proc/{pid}/smaps_rollup")


def agent_cost(seconds: float) -> None:
    """What an agent beside one service costs while nothing is captured."""
    service = [runtimes.any_node() or "node", APPS / "leaky_node.js"]
    with tempfile.TemporaryDirectory(prefix="mw-sidecar-") as folder:
        env = {"MEMWATCH_HOOK_DIR": folder, "NODE_OPTIONS": f"--require={NODE_HOOK}"}
        with (
            running(service, env=env, log=Path(folder) / "service.log") as watched,
            # The service is the only target, as in a pod.
            agent(Path(folder), "--pid", str(watched.pid)) as (process, stub),
        ):
            pid = process.pid
            start_cpu, start_wall = cpu_seconds(pid), time.time() - started_at(pid)
            target(stub, watched.pid)
            time.sleep(SETTLE_SECONDS)
            used = cpu_seconds(pid)
            time.sleep(seconds)
            share = (cpu_seconds(pid) - used) / seconds * 1000
            print("\n| the agent beside one service, idle | |\n|---|---|")
            print(f"| from its start to its first answer, wall s | {start_wall:.2f} |")
            print(f"| the same, CPU s | {start_cpu:.2f} |")
            print(f"| RSS MiB | {memory_mib(pid, 'Rss'):.1f} |")
            print(f"| PSS MiB | {memory_mib(pid, 'Pss'):.1f} |")
            print(f"| CPU over {seconds:.0f} s, millicores | {share:.1f} |")


def started_at(pid: int) -> float:
    """When a process was started, in seconds since 1970."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    boot = next(
        int(line.split()[1])
        for line in Path("/proc/stat").read_text().splitlines()
        if line.startswith("btime")
    )
    return boot + int(fields[19]) / _TICKS


def init_cost() -> None:
    """What the init container does: hooks for all interpreters copied to a volume."""
    deploy = runtimes.ROOT / "deploy" / "docker"
    with tempfile.TemporaryDirectory(prefix="mw-sidecar-") as folder:
        hooks, copied = collected(Path(folder)), Path(folder) / "copied"
        taken = started([sys.executable, "-I", deploy / "copy_hooks.py", hooks, copied], {})
        wait_until(copied.exists, 5)
        size = sum(path.stat().st_size for path in copied.rglob("*") if path.is_file())
        print("\n| the init container | |\n|---|---|")
        print(f"| copies MiB | {size / MIB:.1f} |")
        print(f"| wall ms / CPU ms | {taken.wall_ms:.0f} / {taken.cpu_ms:.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=21)
    given = parser.parse_args()
    print(f"load average: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    agent_cost(given.seconds)
    init_cost()
    hook_costs(given.rounds)


if __name__ == "__main__":
    main()
