"""Python services captured thousands of times under load: crashes, leaks, zombies, latency.

`--snapshots N` in all (10,000), over `--versions` and `--servers`; a short run is a test.
"""

import argparse
import contextlib
import http.client
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.hook import walkers
from tests.hook.client import RESULT, connected, wait_for_sockets
from tests.support import processes, runtimes

APPS = walkers.HOOK.parent / "tests" / "apps" / "hook"
SERVERS = ("threads", "gunicorn", "asyncio")
CLIENTS = 4
REQUEST_SECONDS = 0.01  # between two requests of a client
WARM = 20  # snapshots before the service's memory and descriptors are first counted
CONVERT_EVERY = 50  # a dump in so many is converted whole
QUIET_SECONDS = 5.0  # of requests without a snapshot, before and after


@dataclass
class Load:
    """Clients that send requests all the time; latencies in seconds go to `latencies`."""

    port: int
    latencies: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def running(self) -> Iterator["Load"]:
        clients = [threading.Thread(target=self._client, args=(n,)) for n in range(CLIENTS)]
        for client in clients:
            client.start()
        try:
            yield self
        finally:
            self._stop.set()
            for client in clients:
                client.join()

    def taken(self) -> list[float]:
        """The latencies since the last call."""
        taken, self.latencies = self.latencies, []
        return taken

    def _client(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while not self._stop.wait(REQUEST_SECONDS):
            number += CLIENTS
            began = time.perf_counter()
            try:
                connection.request("GET", f"/{number}")
                if connection.getresponse().read() == b"":
                    self.failed.append("an empty answer")
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                connection.close()
            self.latencies.append(time.perf_counter() - began)


@dataclass(frozen=True)
class State:
    """What a process holds."""

    rss: int
    descriptors: int
    threads: int
    children: int

    @classmethod
    def of(cls, pid: int) -> "State":
        folder = Path(f"/proc/{pid}")
        status = dict(
            line.split(":", 1)
            for line in (folder / "status").read_text().splitlines()
            if ":" in line
        )
        children = [(task / "children").read_text() for task in (folder / "task").iterdir()]
        return cls(
            int(status["VmRSS"].split()[0]) * 1024,
            len(list((folder / "fd").iterdir())),
            int(status["Threads"]),
            len(" ".join(children).split()),
        )


@dataclass
class Outcome:
    """What came of one service."""

    name: str
    snapshots: int
    objects: int
    pauses: list[float]
    quiet: list[float]
    loaded: list[float]
    before: State
    after: State
    seconds: float
    problems: list[str]


def command(server: str, minor: str, port: int) -> list[str | Path] | None:
    """How a service is started; None where what it needs is not installed."""
    if server == "gunicorn":
        python = runtimes.python_with_servers(minor)
        options = ["-k", "gthread", "--threads", "4", "--chdir", str(APPS)]
        # Its default of 2 s closes a connection just as a starved client uses it again.
        options += ["--keep-alive", "60", "-b", f"127.0.0.1:{port}"]
        return None if python is None else [python, "-m", "gunicorn", *options, "endured:app"]
    plain = runtimes.python(minor)
    return None if plain is None else [plain, APPS / "endured.py", server, str(port)]


def endure(server: str, minor: str, snapshots: int, quiet_seconds: float) -> Outcome | None:
    """Captures one service again and again; None where it cannot be started."""
    port = processes.free_port()
    argv = command(server, minor, port)
    if argv is None:
        return None
    with tempfile.TemporaryDirectory(prefix="mwe") as folder:
        hook_dir = Path(folder)
        env = {"MEMWATCH_HOOK_DIR": folder, **walkers.environment("c")}
        with processes.running(argv, env=env, log=hook_dir / "log") as service:
            path = _socket(hook_dir, server, service.pid)
            _wait_for(port)
            with Load(port).running() as load:
                return _captured(f"{server} {minor}", path, load, snapshots, quiet_seconds)


def _socket(hook_dir: Path, server: str, pid: int) -> Path:
    """The service's hook: under gunicorn its worker's."""
    found = wait_for_sockets(hook_dir, 2 if server == "gunicorn" else 1)
    own = [path for path in found if path.name.split("-")[1] == str(pid)]
    return next(path for path in found if (path in own) is not (server == "gunicorn"))


def _wait_for(port: int) -> None:
    def answers() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with contextlib.suppress(OSError):
            connection.request("GET", "/1")
            return connection.getresponse().status == 200
        return False

    processes.wait_until(answers, 30, "the service to answer")


def _captured(name: str, path: Path, load: Load, snapshots: int, quiet_seconds: float) -> Outcome:
    pid, pauses, objects = int(path.name.split("-")[1]), [], 0
    time.sleep(quiet_seconds)
    quiet = load.taken()
    before = State.of(pid)
    began = time.monotonic()
    with connected(path) as client:
        for number in range(snapshots):
            answer = client.ask_dump(gc=False)
            if answer.kind != RESULT:
                load.failed.append(str(answer.body))
                break
            pauses.append(answer.body["result"]["pause_millis"])
            objects = answer.body["result"]["objects"]
            if number % CONVERT_EVERY == 0 and (wrong := _converted(answer.data)):
                load.failed.append(wrong)
            if number == WARM:
                before = State.of(pid)
    seconds = time.monotonic() - began
    loaded = load.taken()
    time.sleep(1)
    after = State.of(pid)
    return Outcome(
        name, len(pauses), objects, pauses, quiet, loaded, before, after, seconds, load.failed
    )


def _converted(dump: bytes) -> str:
    """What is wrong with a dump, as the converter says; empty where nothing is."""
    with tempfile.TemporaryFile() as file:
        file.write(dump)
        file.seek(0)
        done = subprocess.run(
            [sys.executable, "-S", "-m", "memwatch_hook.convert"],
            stdin=file,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"PYTHONPATH": str(walkers.with_c_walker())},
            check=False,
        )
    return done.stderr.decode() if done.returncode else ""


def problems(outcome: Outcome, wanted: int) -> list[str]:
    """What a service did not endure."""
    found = list(outcome.problems)
    if outcome.snapshots < wanted:
        found.append(f"{outcome.snapshots} of {wanted} snapshots")
    if outcome.after.children:
        found.append(f"{outcome.after.children} children are left")
    # Its clients keep their connections; a server may close and open one at any time.
    if outcome.after.descriptors > outcome.before.descriptors + CLIENTS:
        found.append(f"descriptors {outcome.before.descriptors} → {outcome.after.descriptors}")
    if outcome.after.threads > outcome.before.threads + CLIENTS:
        found.append(f"threads {outcome.before.threads} → {outcome.after.threads}")
    if outcome.after.rss > outcome.before.rss + (4 << 20):
        found.append(f"RSS {outcome.before.rss >> 10} → {outcome.after.rss >> 10} KiB")
    return found


def at(values: Sequence[float], share: float) -> float:
    """A percentile."""
    return sorted(values)[min(int(share * len(values)), len(values) - 1)] if values else 0.0


def row(outcome: Outcome, wrong: list[str]) -> str:
    """One row of the table."""
    latency = " | ".join(
        " / ".join(f"{at(values, share) * 1e3:.1f}" for share in (0.5, 0.99, 1))
        for values in (outcome.quiet, outcome.loaded)
    )
    grown = (outcome.after.rss - outcome.before.rss) / 1024
    return (
        f"| {outcome.name} | {outcome.snapshots} | {outcome.snapshots / outcome.seconds:.1f}/s "
        f"| {at(outcome.pauses, 0.5):.1f} / {at(outcome.pauses, 0.99):.1f} | {latency} "
        f"| {len(outcome.loaded)} | {grown:+.0f} KiB | {'; '.join(wrong) or 'none'} |"
    )


HEAD = """| service | snapshots | rate | pause ms p50 / p99 | latency ms without, p50 / p99 / max \
| latency ms with | requests | RSS | problems |
|---|---|---|---|---|---|---|---|---|"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--snapshots", type=int, default=10_000)
    parser.add_argument("--versions", nargs="*", default=runtimes.PYTHON_MINORS)
    parser.add_argument("--servers", nargs="*", default=SERVERS)
    parser.add_argument("--quiet-seconds", type=float, default=QUIET_SECONDS)
    options = parser.parse_args()
    cells = [(server, minor) for minor in options.versions for server in options.servers]
    each = -(-options.snapshots // len(cells))
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n\n{HEAD}", flush=True)
    total = failed = 0
    for server, minor in cells:
        outcome = endure(server, minor, each, options.quiet_seconds)
        if outcome is None:
            print(f"| {server} {minor} | not installed |", flush=True)
            continue
        wrong = problems(outcome, each)
        total, failed = total + outcome.snapshots, failed + bool(wrong)
        print(row(outcome, wrong), flush=True)
    print(f"\n{total} snapshots, {failed} services with problems, load {os.getloadavg()[0]:.1f}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
