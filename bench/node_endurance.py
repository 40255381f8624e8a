"""Thousands of forked snapshots of loaded Node servers: no crash, no leak, no failed request.

For each Node version a server with the hook is under load from keep-alive clients while forked
snapshots are taken one after the other. Told are the tries, the pauses, the requests, and what is
different in the server afterwards: descriptors, children, mappings that a fork does not inherit,
the time that a child process of its own takes, resident memory. A short run is a test.
"""

import argparse
import asyncio
import http.client
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from memwatch_agent import procfs
from memwatch_agent.drivers.base import Bounds, Process, Runtime
from memwatch_agent.drivers.errors import ForkFailedError
from memwatch_agent.drivers.hook import HookDriver, HookLink
from tests.support import fork_addon, runtimes

ROOT = Path(__file__).resolve().parents[1]
HOOK = ROOT / "hook/node/memwatch-hook.cjs"

#: Keep-alive clients, each of which waits a little between two requests.
CLIENTS = 4
THINK_SECONDS = 0.02

MAX_TRIES = 3

SERVER = """
const { spawn } = require('child_process');
class Planted { constructor(i) { this.i = i; this.name = 'planted ' + i; } }
globalThis.kept = Array.from({ length: 5000 }, (_, i) => new Planted(i));
const recent = new Map();
let served = 0;
function work() {
  const n = served++;
  const rows = Array.from({ length: 100 }, (_, i) => ({ i, text: 'row ' + n + i }));
  recent.set(n, rows);
  if (recent.size > 200) recent.delete(recent.keys().next().value);
  const sum = new Function('a', `return a + ${n % 500}`)(n); // compiled anew, in the background
  return JSON.stringify({ n, sum, rows: rows.length });
}
require('http').createServer((request, response) => {
  if (request.url !== '/spawn') return response.end(work());
  const began = process.hrtime.bigint();
  spawn('/bin/true').on('exit', (code) =>
    response.end(JSON.stringify({ code, millis: Number(process.hrtime.bigint() - began) / 1e6 })));
}).listen(0, '127.0.0.1', function () { console.log(this.address().port); });
"""


@dataclass
class Told:
    """What one server went through."""

    version: str
    snapshots: int = 0
    first: int = 0
    failed: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    pauses: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    sizes: set[int] = field(default_factory=set)
    requests: int = 0
    bad_requests: int = 0
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)

    def row(self) -> str:
        """A row of the table."""
        pauses, waits = sorted(self.pauses), sorted(self.waits)
        return (
            f"| {self.version} | {self.snapshots} | {self.first} | {self.failed} "
            f"| {dict(self.causes) or '–'} | {pauses[len(pauses) // 2]:.1f} / {pauses[-1]:.1f} "
            f"| {self.requests} | {self.bad_requests} "
            f"| {' / '.join(f'{_at(waits, share) * 1000:.0f}' for share in (0.5, 0.99, 0.999, 1))} "
            f"| {_both(self, 'fds')} "
            f"| {_both(self, 'children')} | {_both(self, 'spawn ms')} | {_both(self, 'RSS MB')} |"
        )


HEAD = (
    "| Node | snapshots | at the first try | failed tries | causes | pause ms, median / most "
    "| requests | failed | their ms: 50 %, 99 %, 99.9 %, most | descriptors | children "
    "| its own child ms | RSS MB |\n" + "|---" * 13 + "|"
)


def _at(values: list[float], share: float) -> float:
    """The value below which a share of the sorted ones lie."""
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0


def _both(told: Told, name: str) -> str:
    return f"{told.before[name]:g} → {told.after[name]:g}"


async def endure(version: str, node: Path, folder: Path, snapshots: int) -> Told:
    """Takes the snapshots of one server under load."""
    async with _server(node, folder) as (process, port):
        target = await asyncio.to_thread(_target, process.pid, folder)
        told = Told(version)
        load = [asyncio.create_task(_client(port, told)) for _ in range(CLIENTS)]
        try:
            await asyncio.sleep(1)
            async with HookDriver().open(target) as link:
                await _taken(link, told)
                told.before = await asyncio.to_thread(_state, process.pid, port)
                for _ in range(snapshots - 1):
                    await _taken(link, told)
                told.after = await asyncio.to_thread(_state, process.pid, port)
        finally:
            for task in load:
                task.cancel()
            await asyncio.gather(*load, return_exceptions=True)
        assert process.returncode is None, "the server ended"
        return told


async def _taken(link: HookLink, told: Told) -> None:
    """One snapshot, tried again like the agent does."""
    for number in range(MAX_TRIES):
        size = 0

        async def sink(data: bytes) -> None:
            nonlocal size
            size += len(data)

        try:
            facts = await link.capture_forked(sink, lambda _: None, Bounds(60))
        except ForkFailedError as error:
            told.failed += 1
            told.causes[error.kind] += 1
            continue
        assert facts.size_bytes == size
        told.snapshots += 1
        told.first += number == 0
        told.pauses.append(facts.pause_millis)
        return


async def _client(port: int, told: Told) -> None:
    """Requests over one connection, opened again when it breaks, which counts as a failure."""
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            while True:
                began = time.perf_counter()
                writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                # Not wait_for: that of Python 3.11 forgets a cancel that comes with the answer.
                async with asyncio.timeout(30):
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = int(head.lower().partition(b"content-length:")[2].split()[0])
                    json.loads(await reader.readexactly(length))
                told.requests += 1
                told.waits.append(time.perf_counter() - began)
                await asyncio.sleep(THINK_SECONDS)
        except (OSError, ValueError, IndexError, TimeoutError, asyncio.IncompleteReadError):
            told.bad_requests += 1
        finally:
            writer.close()


def _state(pid: int, port: int) -> dict[str, float]:
    """What may leak."""
    spawns = [_spawn(port) for _ in range(5)]
    stat = procfs.stat(f"/proc/{pid}")
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {
        "fds": len(os.listdir(f"/proc/{pid}/fd")),
        "children": len(children),
        "spawn ms": round(sorted(spawns)[2], 1),
        "RSS MB": round((stat.rss_bytes if stat else 0) / 1e6),
    }


def _spawn(port: int) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/spawn")
    answer = json.loads(connection.getresponse().read())
    connection.close()
    assert answer["code"] == 0
    return float(answer["millis"])


@asynccontextmanager
async def _server(
    node: Path, folder: Path
) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    script = folder / "server.cjs"
    script.write_text(SERVER)
    env = {"MEMWATCH_HOOK_DIR": str(folder), "NODE_OPTIONS": f"--require {HOOK}"}
    process = await asyncio.create_subprocess_exec(
        node, script, env={**os.environ, **env}, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    try:
        yield process, int(await process.stdout.readline())
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


def _target(pid: int, folder: Path) -> Process:
    found = procfs.stat(f"/proc/{pid}")
    assert found is not None
    path = folder / f"node-{pid}-{found.start_ticks}.sock"
    for _ in range(200):
        if path.exists():
            break
        time.sleep(0.05)
    return Process(pid, found.start_ticks, Runtime.NODE, hook_socket=path)


def main() -> int:
    options = argparse.ArgumentParser(prog="bench node_endurance", description=__doc__)
    options.add_argument("--snapshots", type=int, default=2000, help="of all versions together")
    options.add_argument("--majors", default="18,20,22,24,26")
    chosen = options.parse_args()
    if isinstance(addon := fork_addon.built(), str):
        print(addon, file=sys.stderr)
        return 2
    majors = [int(word) for word in chosen.majors.split(",")]
    nodes = [(major, node) for major in majors if (node := runtimes.node(major))]
    print(HEAD, flush=True)
    for major, node in nodes:
        with tempfile.TemporaryDirectory() as folder:
            told = asyncio.run(
                endure(f"Node {major}", node, Path(folder), chosen.snapshots // len(nodes))
            )
        print(told.row(), flush=True)
    print(f"\nload average {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores")
    return 0


if __name__ == "__main__":
    sys.exit(main())
