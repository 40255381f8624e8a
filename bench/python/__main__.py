"""The Python snapshot beside pympler, guppy3, objgraph and memray: pause, time, memory, size.

`--versions 3.11`, `--cases 1M 5M 1M+5GB churn idle`, `--peers-dir` (a folder for each version with
the peers installed: `pip install --target DIR/peers-3.11 pympler guppy3 objgraph memray`).
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.python.room import Room, room
from tests.hook import walkers
from tests.hook.client import RESULT, Client, connected, wait_for_sockets
from tests.support import runtimes

HERE = Path(__file__).parent
PEERS = ("objgraph", "guppy3", "pympler", "memray")
MILLION = 1_000_000
REPEATS = 3  # of ours: the median is shown, of peers one run, which takes minutes
IDLE_SECONDS = 3.0
# By name: objects, MB of buffers, the peers that look at it.
CASES = {
    "1M": (MILLION, 0, PEERS),
    "5M": (5 * MILLION, 0, ("objgraph", "guppy3")),
    "1M+5GB": (MILLION, 5 * 1024, ("objgraph", "guppy3")),
}
HEAD = (
    "| case | tool | pause ms | total s | extra memory MB | of RSS | objects | M objects/s CPU "
    "| size |\n|---|---|---|---|---|---|---|---|---|"
)


class GaveUpError(Exception):
    """The walk was ended, by a limit."""


@dataclass
class Target:
    """The running process, and how it is spoken to."""

    process: "subprocess.Popen[str]"
    room: Room
    hook: Client | None
    rss: int = 0
    idle_gap: float = 0.0

    def ask(self, line: str) -> dict[str, Any]:
        """What the target answers to a line."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def gap(self) -> float:
        """The longest gap of its ticker since the last time, in seconds."""
        return float(self.ask("gap")["gap"])

    def settle(self) -> None:
        """Learns its memory, and its ticker's gap while nothing is done."""
        self.gap()
        time.sleep(IDLE_SECONDS)
        self.idle_gap = self.gap()
        self.rss = self.room.now()


@contextlib.contextmanager
def target(minor: str, peers: Path, hooked: bool = True) -> Iterator[Target]:
    """A target of a version, in a memory group of its own."""
    python = runtimes.python(minor)
    assert python, f"no CPython {minor}"
    with room() as group, tempfile.TemporaryDirectory(prefix="mwb") as folder:
        env = {**os.environ, "PYTHONPATH": str(peers)}
        if hooked:
            env = {**env, **walkers.environment("c"), "MEMWATCH_HOOK_DIR": folder}
            env["PYTHONPATH"] += f":{peers}"
        process = subprocess.Popen(
            [python, HERE / "target.py"],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        group.add(process.pid)
        assert process.stdout
        process.stdout.readline()
        try:
            with contextlib.ExitStack() as stack:
                client = None
                if hooked:
                    [path] = wait_for_sockets(Path(folder), pid=process.pid)
                    client = stack.enter_context(connected(path))
                    client.socket.settimeout(600)
                yield Target(process, group, client)
        finally:
            process.kill()
            process.wait()


def measure(case: str, minor: str, peers: Path) -> Iterator[str]:
    """The rows of one case."""
    objects, megabytes, names = CASES[case]
    with target(minor, peers) as it:
        it.ask(f"heap {objects}")
        if megabytes:
            it.ask(f"buffers {megabytes}")
        it.settle()
        label = f"{case} on {minor}, {it.rss >> 20} MB"
        yield from ours(label, it)
        for name in names:
            yield peer(label, it, name)


def ours(label: str, it: Target) -> Iterator[str]:
    """Our snapshot: the dump as the target sees it, then the conversion."""
    runs = sorted((snapshot(it) for _ in range(REPEATS)), key=lambda run: run["pause"])
    run = runs[len(runs) // 2]
    result, dump = run["result"], run["dump"]
    rate = result["objects"] / max(result["cpu_millis"], 1e-3) / 1e3
    yield row(
        label,
        f"memwatch dump ({_way(result)}; says {result['pause_millis']:.1f} ms)",
        run["pause"],
        run["seconds"],
        run["extra"],
        it.rss,
        result["objects"],
        f"{rate:.1f}",
        f"{len(dump) / 1e6:.1f} MB, {len(dump) / result['objects']:.1f} B/object",
    )
    said, seconds, stored = converted(dump)
    rate = result["objects"] / said["cpu_millis"] / 1e3
    yield row(
        label,
        "memwatch: the agent converts",
        0,
        seconds,
        said["peak_bytes"],
        it.rss,
        said["objects"],
        f"{rate:.1f}",
        f"{said['size_bytes'] / 1e6:.0f} MB, zstd {stored / 1e6:.1f} MB",
    )


def _way(result: dict[str, Any]) -> str:
    return str(result.get("way") or "; ".join(result["notes"]))


def _held(run: dict[str, Any]) -> str:
    return "".join(f"; {note}" for note in run["result"]["notes"] if note.startswith("held"))


def snapshot(it: Target, **options: Any) -> dict[str, Any]:
    """One dump: the pause that the ticker saw, wall seconds, extra memory, the result."""
    assert it.hook
    it.gap()
    before = it.room.now()
    with it.room.peaking():
        began = time.perf_counter()
        answer = it.hook.ask_dump(gc=False, **options)
        seconds = time.perf_counter() - began
    if answer.kind != RESULT:
        raise GaveUpError(answer.body["message"])
    return {
        "pause": max(0.0, it.gap() - it.idle_gap),
        "seconds": seconds,
        "extra": it.room.peak - before,
        "result": answer.body["result"],
        "dump": answer.data,
    }


def converted(dump: bytes) -> tuple[dict[str, Any], float, int]:
    """What the converter says of a dump; wall seconds; stored (zstd) bytes."""
    import zstandard

    with tempfile.TemporaryFile() as file, tempfile.TemporaryFile() as out:
        file.write(dump)
        file.seek(0)
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-S", "-m", "memwatch_hook.convert"],
            stdin=file,
            stdout=out,
            stderr=subprocess.PIPE,
            env={"PYTHONPATH": str(walkers.with_c_walker())},
        )
        assert process.stderr
        said = json.loads(process.stderr.read())
        process.wait()
        seconds = time.perf_counter() - began
        out.seek(0)
        packed, stored = zstandard.ZstdCompressor(level=1).compressobj(), 0
        while piece := out.read(1 << 20):
            stored += len(packed.compress(piece))
        stored += len(packed.flush())
    return said, seconds, stored


def peer(label: str, it: Target, name: str) -> str:
    """A peer's look at the heap from inside, as its users would call it."""
    before = it.room.now()
    with it.room.peaking():
        found = it.ask(f"peer {name}")
    if "missing" in found:
        return f"| {label} | {name} | not installed: {found['missing']} |"
    pause = max(0.0, found["gap"] - it.idle_gap)
    size = "-" if name != "memray" else f"{found['size'] / 1e6:.1f} MB"
    what = name if name != "memray" else f"memray, recording: {found['times']:.1f} × the time"
    objects, seconds = found["objects"], found["seconds"]
    rate = f"{objects / found['cpu'] / 1e6:.2f}" if objects else "-"
    return row(label, what, pause, seconds, it.room.peak - before, it.rss, objects, rate, size)


def row(
    label: str,
    what: str,
    pause: float,
    seconds: float,
    extra: int,
    rss: int,
    objects: int,
    rate: str,
    size: str,
) -> str:
    return (
        f"| {label} | {what} | {pause * 1e3:.1f} | {seconds:.2f} | {extra / 1e6:.1f} "
        f"| {extra / rss:.1%} | {objects:,} | {rate} | {size} |"
    )


def churn(minor: str, peers: Path) -> Iterator[str]:
    """Snapshots while the target rewrites its whole heap."""
    with target(minor, peers) as it:
        it.ask(f"heap {5 * MILLION}")
        it.settle()
        it.ask("churn 30")
        for _ in range(REPEATS):
            try:
                run = snapshot(it)
            except GaveUpError as error:
                yield f"| 5M rewritten on {minor}, {it.rss >> 20} MB | {error} |"
                continue
            yield (
                f"| 5M rewritten on {minor}, {it.rss >> 20} MB | memwatch dump{_held(run)} "
                f"| {run['pause'] * 1e3:.1f} "
                f"| {run['seconds']:.2f} | {run['extra'] / 1e6:.1f} | {run['extra'] / it.rss:.1%} "
                f"| {run['result']['objects']:,} | - | - |"
            )


def idle(minor: str, peers: Path) -> Iterator[str]:
    """What the hook costs a process that nobody asks."""
    found = []
    for hooked in (False, True):
        with target(minor, peers, hooked) as it:
            time.sleep(1)
            cpu, began = _cpu(it.process.pid), time.monotonic()
            time.sleep(10)
            used = (_cpu(it.process.pid) - cpu) / (time.monotonic() - began)
            found.append((it.room.now(), used))
    (plain, plain_cpu), (with_hook, hook_cpu) = found
    yield (
        f"\nidle on {minor}: the hook takes {(with_hook - plain) / 1e6:.2f} MB more anonymous "
        f"memory; CPU {hook_cpu:.2%} with it, {plain_cpu:.2%} without (the ticker's own)"
    )


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--versions", nargs="*", default=["3.11", "3.12", "3.13"])
    parser.add_argument("--cases", nargs="*", default=[*CASES, "churn", "idle"])
    parser.add_argument("--peers-dir", type=Path, default=runtimes.HOME)
    options = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n\n{HEAD}", flush=True)
    for minor in options.versions:
        peers = options.peers_dir / f"peers-{minor}"
        for case in options.cases:
            rows = {"churn": churn, "idle": idle}.get(case)
            for line in rows(minor, peers) if rows else measure(case, minor, peers):
                print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
