"""A heap snapshot of a loaded Node server, each way: pause, latency, time and memory side by side.

For each Node version and heap size a fresh server is put under load and captured: from a forked
child, by our hook while the server stands still, by its own v8.writeHeapSnapshot, by npm's package
heapdump, and over the inspector. Goals: a pause of at most 10 ms + 60 ms for
each GB and 1/100 of the blocking way's, 1.15 x its total time, RSS as before +- 5 %.
"""

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from memwatch_agent import procfs
from memwatch_agent.drivers.base import Bounds, CaptureFacts, Process, Runtime
from memwatch_agent.drivers.cost import CostMeter
from memwatch_agent.drivers.door import Door
from memwatch_agent.drivers.errors import ForkFailedError
from memwatch_agent.drivers.hook import HookDriver
from memwatch_agent.drivers.markers import marker
from tests.support import fork_addon, runtimes

ROOT = Path(__file__).resolve().parents[1]
MAX_TRIES = 3
CLIENTS = 4

SERVER = """
const rows = [];
for (let i = 0; process.memoryUsage().heapUsed < MEGABYTES * 1e6; i++) {
  for (let j = 0; j < 1000; j++) {
    const id = i * 1000 + j;
    rows.push({ id, name: 'row ' + id, tags: ['a' + id, { id }], made: new Date(id) });
  }
}
globalThis.rows = rows;
let last = performance.now(), gap = 0;
setInterval(() => {
  gap = Math.max(gap, performance.now() - last);
  last = performance.now();
}, 1);
const blocking = {
  '/own': (file) => require('v8').writeHeapSnapshot(file),
  '/heapdump': (file) => require(process.env.HEAPDUMP).writeSnapshot(file),
};
require('http').createServer((request, response) => {
  if (request.url === '/gap') { response.end(String(gap)); gap = 0; return; }
  const write = blocking[request.url];
  if (write) { write(process.env.OUT + request.url); response.end('{}'); return; }
  const answer = Array.from({ length: 50 }, (_, i) => ({ i, text: 'item ' + i }));
  response.end(JSON.stringify(answer));
}).listen(0, '127.0.0.1', function () { console.log(this.address().port); });
"""

#: A client in a process of its own: told by a line to begin anew and to tell its latencies.
CLIENT = """
import http.client, json, sys, threading, time
port, waits, mark = int(sys.argv[1]), [], [0.0]
def run():
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=600)
    while True:
        began = time.perf_counter()
        connection.request('GET', '/')
        connection.getresponse().read()
        ended = time.perf_counter()
        waits.append((ended, ended - began))
        time.sleep(0.01)
for _ in range(%d):
    threading.Thread(target=run, daemon=True).start()
for line in sys.stdin:
    seen = sorted(wait for ended, wait in waits if ended >= mark[0])
    print(json.dumps([len(seen), seen[len(seen) * 99 // 100] if seen else 0]), flush=True)
    mark[0] = time.perf_counter()
"""


@dataclass
class Row:
    """What one way has cost."""

    way: str
    gap_millis: float
    idle_gap_millis: float
    seconds: float
    p99_millis: float
    requests: int
    before: int
    peak: int
    after: int
    cpu_seconds: float
    pause_millis: float = 0.0
    tries: int = 1

    def text(self, major: int, megabytes: int, blocking: "Row | None") -> str:
        """A row of the table; ratios are to the blocking way's."""
        total = f"{self.seconds / blocking.seconds:.2f}" if blocking else "1"
        work = f"{self.cpu_seconds / blocking.cpu_seconds:.2f}" if blocking else "1"
        pause = f"1/{blocking.gap_millis / self.gap_millis:.0f}" if blocking else "1"
        measured = f"{self.pause_millis:.0f}" if self.pause_millis else "–"
        before, peak, after = (round(value / 1e6) for value in (self.before, self.peak, self.after))
        return (
            f"| {major} | {megabytes} | {self.way} | {self.gap_millis:.0f} "
            f"({self.idle_gap_millis:.0f}) | {pause} | {measured} "
            f"| {self.seconds:.1f} | {total} | {self.cpu_seconds:.1f} | {work} "
            f"| {self.p99_millis:.0f} | {self.requests} | {before} | {peak} | {after} "
            f"| {self.tries} |"
        )


HEAD = (
    "| Node | heap MB | way | longest gap ms (idle) | x | of it the hook's pause | total s | x "
    "| CPU s | x | p99 ms | requests | RSS MB before | peak, child's own added | after | tries |\n"
    + "|---" * 16
    + "|"
)


@dataclass
class Server:
    """A running server."""

    target: Process
    port: int

    def get(self, path: str) -> str:
        """What it answers."""
        url = f"http://127.0.0.1:{self.port}{path}"
        with urllib.request.urlopen(url, timeout=900) as response:
            return str(response.read().decode())


Way = Callable[[Server, Path], Awaitable[tuple[CaptureFacts | None, int]]]


async def _nothing(_data: bytes) -> None:
    """Takes bytes and keeps none."""


async def _forked(server: Server, _folder: Path) -> tuple[CaptureFacts | None, int]:
    async with HookDriver().open(server.target) as link:
        for number in range(1, MAX_TRIES + 1):
            with contextlib.suppress(ForkFailedError):
                bounds = Bounds(900)
                return await link.capture_forked(_nothing, lambda _: None, bounds), number
    raise RuntimeError("no child has taken it")


async def _hook(server: Server, _folder: Path) -> tuple[CaptureFacts | None, int]:
    async with HookDriver().open(server.target) as link:
        return await link.capture(_nothing, lambda _: None), 1


async def _inspector(server: Server, folder: Path) -> tuple[CaptureFacts | None, int]:
    target = server.target
    door = Door(target, marker(folder, target.pid, target.start_ticks), ours=False)
    try:
        link = await door.enter()
        return await link.capture(_nothing, lambda _: None), 1
    finally:
        await door.shut()


async def _own(server: Server, _folder: Path) -> tuple[CaptureFacts | None, int]:
    await asyncio.to_thread(server.get, "/own")
    return None, 1


async def _heapdump(server: Server, _folder: Path) -> tuple[CaptureFacts | None, int]:
    await asyncio.to_thread(server.get, "/heapdump")
    return None, 1


WAYS: dict[str, Way] = {
    "hook, blocking": _hook,
    "forked": _forked,
    "v8.writeHeapSnapshot": _own,
    "heapdump": _heapdump,
    "inspector": _inspector,
}


async def measure(name: str, node: Path, megabytes: int, heapdump: Path) -> Row:
    """One way, on a server of its own."""
    with tempfile.TemporaryDirectory() as name_of_folder:
        folder = Path(name_of_folder)
        async with _serving(node, megabytes, folder, heapdump) as server, _load(server) as told:
            await asyncio.sleep(2)
            await asyncio.to_thread(server.get, "/gap")
            await asyncio.sleep(2)
            idle = float(await asyncio.to_thread(server.get, "/gap"))
            await told()
            began = time.perf_counter()
            async with CostMeter(server.target) as meter:
                facts, tries = await WAYS[name](server, folder)
                seconds = time.perf_counter() - began
                requests, p99 = await told()
                gap = float(await asyncio.to_thread(server.get, "/gap"))
                own = facts.extra_memory_bytes if facts and name == "forked" else 0
                cpu = facts.cpu_millis if facts and name == "forked" else meter.cpu_millis
                peak = meter.rss_before_bytes + meter.extra_memory_bytes + own
                return Row(
                    name, gap, idle, seconds, p99 * 1000, int(requests),
                    meter.rss_before_bytes, peak, meter.rss_bytes, cpu / 1000,
                    facts.pause_millis if facts and name == "forked" else 0.0, tries,
                )  # fmt: skip


@asynccontextmanager
async def _serving(
    node: Path, megabytes: int, folder: Path, heapdump: Path
) -> AsyncIterator[Server]:
    script = folder / "server.cjs"
    script.write_text(SERVER.replace("MEGABYTES", str(megabytes)))
    env = {
        **os.environ,
        "MEMWATCH_HOOK_DIR": str(folder),
        "NODE_OPTIONS": f"--require {ROOT / 'hook/node/memwatch-hook.cjs'}",
        "OUT": str(folder),
        "HEAPDUMP": str(heapdump),
    }
    command = [node, "--inspect-port=0", "--max-old-space-size=8000", script]
    process = await asyncio.create_subprocess_exec(
        *command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout
    try:
        port = int(await process.stdout.readline())
        found = procfs.stat(f"/proc/{process.pid}")
        assert found
        socket = folder / f"node-{process.pid}-{found.start_ticks}.sock"
        argv = tuple(procfs.strings(procfs.read(f"/proc/{process.pid}/cmdline")))
        yield Server(
            Process(process.pid, found.start_ticks, Runtime.NODE, argv=argv, hook_socket=socket),
            port,
        )
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@asynccontextmanager
async def _load(server: Server) -> AsyncIterator[Callable[[], Awaitable[tuple[int, float]]]]:
    """Keep-alive clients in a process of their own; tells requests and p99 since it was asked."""
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLIENT % CLIENTS, str(server.port),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip

    async def told() -> tuple[int, float]:
        assert client.stdin and client.stdout
        client.stdin.write(b"\n")
        requests, p99 = json.loads(await client.stdout.readline())
        return int(requests), float(p99)

    try:
        yield told
    finally:
        client.kill()
        await client.wait()


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench node", description=__doc__)
    parser.add_argument("--megabytes", default="50,250")
    parser.add_argument("--majors", default="20,22,24")
    parser.add_argument("--ways", default="", help=f"of {', '.join(WAYS)}; else all")
    chosen = parser.parse_args()
    if isinstance(addon := fork_addon.built(), str):
        print(addon, file=sys.stderr)
        return 2
    runtimes.install_bench_apps()
    ways = [way.strip() for way in chosen.ways.split(";")] if chosen.ways else list(WAYS)
    print(HEAD, flush=True)
    for major in map(int, chosen.majors.split(",")):
        node = runtimes.node(major)
        for megabytes in map(int, chosen.megabytes.split(",")):
            blocking: Row | None = None
            for way in ways:
                heapdump = runtimes.heapdump(major)
                if node is None or (way == "heapdump" and not (heapdump / "build").exists()):
                    continue
                row = asyncio.run(measure(way, node, megabytes, heapdump))
                print(row.text(major, megabytes, blocking), flush=True)
                blocking = blocking or row
    print(f"\nload average {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores")
    return 0


if __name__ == "__main__":
    sys.exit(main())
