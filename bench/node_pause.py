"""How long a big Node process stands still for a fork: wall time, processor time, its own gap.

A process holds a heap and is forked several times by its hook; each child is ended as soon as it
is there, so that gigabytes of heap can be measured without the gigabytes of a snapshot. Beside it
stands the kernel's part alone: a program in C that holds as much memory, in one piece or in pieces
of 256 KiB far apart, as V8 does. Goal: 10 ms + 60 ms for each GB of heap.
"""

import argparse
import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from memwatch_agent import procfs
from tests.hook_node.forking import Peer
from tests.support import fork_addon, runtimes
from tests.support.processes import wait_until

ROOT = Path(__file__).resolve().parents[1]
GOAL_MILLIS, GOAL_PER_GB = 10, 60

SHAPES = {
    "small objects": "for (let i = 0; i < 1000; i++) kept.push({ i, a: i + 0.5, b: { i } });",
    "large objects": "kept.push(new Array(1 << 20).fill(0.5));",
}
SERVER = """
const kept = globalThis.kept = [];
while (process.memoryUsage().heapUsed < MEGABYTES * 1e6) { FILL }
let last = performance.now(), gap = 0;
setInterval(() => {
  const now = performance.now();
  gap = Math.max(gap, now - last);
  last = now;
}, 1);
require('readline').createInterface({ input: process.stdin }).on('line', () => {
  console.log(gap);
  gap = 0;
});
console.log('up');
"""

#: Holds so many MiB in pieces of so many KiB, so many KiB apart (0: in one piece), and forks.
HOLDER = r"""
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
int main(int count, char **words) {
  size_t total = strtoul(words[1], 0, 10) << 20, piece = strtoul(words[2], 0, 10) << 10;
  size_t apart = strtoul(words[3], 0, 10) << 10;
  char *at = (char *)0x100000000000;
  if (apart == 0) piece = total;
  for (size_t i = 0; i < total / piece; i++, at += apart) {
    char *got = mmap(at, piece, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (got == MAP_FAILED) return 1;
    memset(got, 1, piece);
  }
  for (int i = 0; i < 9; i++) {
    struct timespec began, ended;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &began);
    pid_t child = fork();
    if (child == 0) _exit(0);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ended);
    waitpid(child, 0, 0);
    printf("%f\n", (ended.tv_sec - began.tv_sec) * 1e3 + (ended.tv_nsec - began.tv_nsec) * 1e-6);
  }
}
"""


@contextlib.contextmanager
def serving(
    node: Path, megabytes: int, shape: str, folder: Path
) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    """The process and its hook's socket."""
    script = folder / "server.cjs"
    script.write_text(SERVER.replace("MEGABYTES", str(megabytes)).replace("FILL", SHAPES[shape]))
    hook = f"--require {ROOT / 'hook/node/memwatch-hook.cjs'}"
    process = subprocess.Popen(
        [node, "--max-old-space-size=8000", script],
        env={**os.environ, "MEMWATCH_HOOK_DIR": str(folder), "NODE_OPTIONS": hook},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout
        process.stdout.readline()
        stat = procfs.stat(f"/proc/{process.pid}")
        assert stat
        socket = folder / f"node-{process.pid}-{stat.start_ticks}.sock"
        wait_until(socket.exists, what="the hook to listen")
        yield process, socket
    finally:
        process.kill()
        process.wait()


def gap(process: "subprocess.Popen[bytes]") -> float:
    """The longest time in which its event loop stood still since it was asked."""
    assert process.stdin
    assert process.stdout
    process.stdin.write(b"\n")
    process.stdin.flush()
    return float(process.stdout.readline())


async def forks(
    process: "subprocess.Popen[bytes]", socket: Path, count: int
) -> list[tuple[float, float, float]]:
    """(wall, CPU, gap) in milliseconds of each fork."""
    peer = await Peer.connected(socket)
    told = []
    for _ in range(count):
        gap(process)
        peer.ask(pause="forked", max_bytes=1)
        cost = (await peer.outcome()).fields
        told.append((cost["pause_millis"], cost["pause_cpu_millis"], gap(process)))
    peer.close()
    return told


def row(major: int, node: Path, megabytes: int, shape: str, count: int) -> str:
    """A row of the table."""
    with (
        tempfile.TemporaryDirectory() as name,
        serving(node, megabytes, shape, Path(name)) as (process, socket),
    ):
        stat = procfs.stat(f"/proc/{process.pid}")
        mappings = Path(f"/proc/{process.pid}/maps").read_text().count("\n")
        walls, cpus, gaps = zip(*asyncio.run(forks(process, socket, count)), strict=True)
    resident = (stat.rss_bytes if stat else 0) / 1e6
    goal = GOAL_MILLIS + GOAL_PER_GB * megabytes / 1000
    middle = statistics.median
    return (
        f"| {major} | {megabytes} MB of {shape} | {resident:.0f} | {mappings} "
        f"| {middle(walls):.0f} ({min(walls):.0f} to {max(walls):.0f}) "
        f"| {middle(cpus):.0f} ({min(cpus):.0f} to {max(cpus):.0f}) "
        f"| {middle(gaps):.0f} | {goal:.0f} |"
    )


def kernel(megabytes: int) -> str:
    """What forking as much memory costs without any V8."""
    with tempfile.TemporaryDirectory() as name:
        source, program = Path(name) / "holder.c", Path(name) / "holder"
        source.write_text(HOLDER)
        subprocess.run(["cc", "-O2", "-o", program, source], check=True)
        said = []
        for words in (("0", "0"), ("256", "2097152")):
            done = subprocess.run(
                [program, str(megabytes), *words], capture_output=True, text=True, check=True
            )
            said.append(statistics.median(map(float, done.stdout.split())))
    return f"in one piece {said[0]:.0f} ms, in pieces of 256 KiB, 2 GiB apart, {said[1]:.0f} ms"


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench node_pause", description=__doc__)
    parser.add_argument("--majors", default="20,22,24")
    parser.add_argument("--megabytes", default="250,600,1000")
    parser.add_argument("--forks", type=int, default=9)
    chosen = parser.parse_args()
    if isinstance(addon := fork_addon.built(), str):
        print(addon, file=sys.stderr)
        return 2
    print(
        "| Node | heap | RSS MB | mappings | pause ms, median (from to) | of it CPU ms "
        "| its own longest gap ms, median | goal ms |\n" + "|---" * 8 + "|",
        flush=True,
    )
    sizes = [int(word) for word in chosen.megabytes.split(",")]
    for major in map(int, chosen.majors.split(",")):
        node = runtimes.node(major)
        for megabytes in sizes if node else ():
            for shape in SHAPES:
                assert node is not None
                print(row(major, node, megabytes, shape, chosen.forks), flush=True)
    print(f"\na fork of {sizes[-1]} MB of a C program's memory, CPU time: {kernel(sizes[-1])}")
    print(f"load average {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores")
    return 0


if __name__ == "__main__":
    sys.exit(main())
