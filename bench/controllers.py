"""(used by `sessions` and `agents`) A controller process, and what it costs."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc

TOKEN = "token-of-the-bench"
ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = ("proto", "heap", "agent", "controller", "cli")


@dataclass
class Cost:
    """CPU seconds and memory of a process, between two moments."""

    cpu_seconds: float
    wall_seconds: float
    rss_bytes: int

    @property
    def cores(self) -> float:
        return self.cpu_seconds / self.wall_seconds


class Meter:
    """Measures a process from now on."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._cpu, self._wall = self._cpu_now(), time.monotonic()

    def _cpu_now(self) -> float:
        times = self._process.cpu_times()
        return times.user + times.system

    def read(self) -> Cost:
        return Cost(
            self._cpu_now() - self._cpu,
            time.monotonic() - self._wall,
            self._process.memory_info().rss,
        )


@contextlib.contextmanager
def controller(module: str, folder: Path, *arguments: str) -> Iterator[tuple[str, int]]:
    """A controller that serves: its address and pid; ended with the block."""
    address = f"unix:{folder}/c.sock"
    path = ":".join([str(ROOT), *(str(ROOT / package) for package in _PACKAGES)])
    command = [sys.executable, "-m", module, "--listen", address, "--http-listen", "off"]
    with (folder / "controller.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--data-dir", str(folder / "data"), *arguments],
            env={**os.environ, "PYTHONPATH": path, "MEMWATCH_TOKEN": TOKEN},
            stderr=log,
            cwd=ROOT,
        )
    try:
        _wait(address, process)
        yield address, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait(address: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise SystemExit("cannot run: the controller ended; see its log")
        with contextlib.suppress(grpc.RpcError), grpc.insecure_channel(address) as channel:
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2)
            return
        time.sleep(0.1)
    raise SystemExit("cannot run: the controller does not serve after a minute")


def percentile(values: Sequence[float], share: float) -> float:
    """The value under which this share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
