"""`Stream` against a raw socket that carries the same file.

The same --megabytes of random bytes cross loopback TCP twice in each round: by the agent's Stream
(256 KiB chunks, each checked by CRC-32C, the whole by SHA-256), and by a process that reads the
file and writes it to a socket. The raw reader is measured twice: computing the same SHA-256,
and computing nothing.
"""

import argparse
import hashlib
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench._agent import MIB, agent, target
from bench.agent_rss import capture, stream
from memwatch_agent import procfs
from tests.support.processes import free_port, running
from tests.support.stack import program_env

BLOCK_BYTES = 256 * 1024


def serve_file(path: str) -> None:
    """Writes a file to every caller."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            connection, _ = server.accept()
            with connection, open(path, "rb") as file:
                while data := file.read(BLOCK_BYTES):
                    connection.sendall(data)


def read_raw(port: int, digest: Any) -> None:
    with socket.create_connection(("127.0.0.1", port)) as client:
        while data := client.recv(BLOCK_BYTES):
            if digest is not None:
                digest.update(data)


def timed(work: Callable[[], object], server_pid: int) -> tuple[float, float]:
    """Wall seconds, and CPU seconds of both ends."""
    began, cpu = time.perf_counter(), time.process_time() + cpu_seconds(server_pid)
    work()
    cpu = time.process_time() + cpu_seconds(server_pid) - cpu
    return time.perf_counter() - began, cpu


def cpu_seconds(pid: int) -> float:
    stat = procfs.stat(f"/proc/{pid}")
    return stat.cpu_ticks / procfs.CLOCK_TICKS if stat else 0.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, size = Path(name), options.megabytes * MIB
        hook = [sys.executable, "-m", "bench._agent", name, str(size)]
        port = free_port()
        with (
            running(hook, env=program_env()) as process,
            agent(folder, "--listen", f"127.0.0.1:{port}") as (one, stub),
        ):
            snapshot = capture(stub, target(stub, process.pid).id, "big")
            blob = folder / "state" / "spool" / f"{snapshot.id}.heapsnapshot.zst"
            compare(stub, one.pid, snapshot, blob, options.rounds)
    return 0


def compare(stub: Any, agent_pid: int, snapshot: Any, blob: Path, rounds: int) -> None:
    log = blob.parents[2] / "raw.log"
    serve = [sys.executable, "-m", "bench.stream", "--serve", str(blob)]
    with running(serve, env=program_env(), log=log) as raw:
        lines: list[str] = []
        while not lines:
            time.sleep(0.05)
            lines = [line for line in log.read_text().splitlines() if line.isdigit()]
        port = int(lines[0])
        ways: dict[str, tuple[Callable[[], object], int]] = {
            "raw socket": (lambda: read_raw(port, None), raw.pid),
            "raw socket, SHA-256": (lambda: read_raw(port, hashlib.sha256()), raw.pid),
            "Stream, CRC-32C and SHA-256": (lambda: stream(stub, snapshot), agent_pid),
        }
        times: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for _ in range(rounds):  # in turn, so that the machine's load meets all alike
            for way, (work, pid) in ways.items():
                times[way].append(timed(work, pid))
    show(times, snapshot.stored_size_bytes / MIB)


def show(times: dict[str, list[tuple[float, float]]], mib: float) -> None:
    medians = {
        way: (statistics.median(wall), statistics.median(cpu))
        for way, pairs in times.items()
        for wall, cpu in [zip(*pairs, strict=True)]
    }
    base_wall, base_cpu = medians["raw socket, SHA-256"]
    print(f"{mib:.0f} MiB; wall and CPU seconds of both ends, medians, and × raw with SHA-256")
    for way, (wall, cpu) in medians.items():
        print(
            f"{way:30} {wall:6.2f} s {mib / wall:6.0f} MiB/s {wall / base_wall:5.2f} ×"
            f"   {cpu:6.2f} s CPU {cpu / base_cpu:5.2f} ×"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve_file(sys.argv[2])
    raise SystemExit(main())
