"""Node programs of many kinds (`tests/apps/node`), under load, and what is different afterwards."""

import asyncio
import contextlib
import http.client
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from memwatch_agent import procfs
from memwatch_agent.drivers.base import Bounds, CaptureFacts, Driver, Manner, Process, Runtime
from memwatch_agent.drivers.errors import DriverError, ForkFailedError
from memwatch_agent.drivers.hook import HookDriver
from memwatch_agent.drivers.node import NodeAttachDriver
from memwatch_heap import formats
from memwatch_heap.classes import class_rows
from tests.support import runtimes
from tests.support.processes import free_port, stop, wait_until, with_parent

APPS = runtimes.ROOT / "tests" / "apps" / "node"
HOOK = runtimes.ROOT / "hook" / "node" / "memwatch-hook.cjs"

#: What each program plants.
PLANTED = 4000

#: As an agent does.
MAX_TRIES = 3
CHILD_SECONDS = 600.0

#: Keep-alive clients, each of which waits a little between two requests.
CLIENTS = 4
THINK_SECONDS = 0.01

#: A root that cannot be written but for the hooks' folder, and another user.
_CONFINED = (
    "mount --make-rprivate / && mount --bind {folder} {folder} && mount -o remount,bind,ro / && "
    'exec setpriv --reuid 1000 --regid 1000 --clear-groups -- "$@"'
)


@dataclass(frozen=True)
class App:
    """One program and how it is started.

    Attributes:
        script: in APPS.
        flags: of node's, before the script.
        options: what NODE_OPTIONS holds before ours.
        env: more of its environment.
        path: what the load asks for.
        confined: with a read-only root and another user; takes root.
        majors: the majors that it runs on.
        inspected: its inspector is open from the start.
        bench: it is written with the packages that only a bench installs.
    """

    script: str
    flags: tuple[str, ...] = ()
    options: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    path: str = "/"
    confined: bool = False
    majors: tuple[int, ...] = (18, 20, 22, 24, 26)
    inspected: bool = False
    bench: bool = False


APPS_BY_NAME: Mapping[str, App] = {
    "plain http": App("http.cjs"),
    "Express": App("express.cjs"),
    "Fastify": App("fastify.cjs"),
    "React, server-side": App("ssr.cjs"),
    "GraphQL": App("graphql.cjs", path="/?query=%7Bn%20rows%7Bi%20text%7D%7D"),
    "TypeScript by tsx": App("typescript.ts", flags=("--import", "tsx")),
    "ES modules": App("modules.mjs"),
    "cluster of 4": App("cluster.cjs"),
    "worker threads": App("threads.cjs"),
    "better-sqlite3": App("sqlite.cjs", env={"DRIVER": "better-sqlite3"}, majors=(24,)),
    "libsql": App("sqlite.cjs"),
    "sharp": App("sharp.cjs"),
    "bcrypt and argon2": App("passwords.cjs"),
    "lmdb": App("lmdb.cjs"),
    "grpc-js": App("grpc.cjs"),
    "--max-old-space-size": App("express.cjs", flags=("--max-old-space-size=128",)),
    "--inspect": App("express.cjs", inspected=True),
    "NODE_OPTIONS": App("express.cjs", options="--enable-source-maps --max-http-header-size=16384"),
    "read-only root, uid 1000": App("express.cjs", confined=True),
    "5,000 timers, 2,000 sockets": App("crowded.cjs"),
}

#: With packages that only the bench installs (`runtimes.install_bench_apps`).
BENCH_APPS: Mapping[str, App] = {
    "Next.js": App("next.cjs", env={"NEXT_APP": str(runtimes.next_app())}, bench=True),
    "Apollo Server": App("apollo.cjs", path="/?query=%7Bn%20rows%7Bi%20text%7D%7D", bench=True),
    "TypeScript by ts-node": App(
        "typescript.ts",
        flags=("--require", "ts-node/register"),
        env={
            "TS_NODE_TRANSPILE_ONLY": "true",
            "TS_NODE_COMPILER_OPTIONS": '{"module":"commonjs","esModuleInterop":true}',
        },
        bench=True,
    ),
    "cluster of 4 by PM2": App(
        "http.cjs",
        flags=(str(runtimes.npm_bench_apps() / "pm2/bin/pm2-runtime"), "start", "--raw", "-i", "4"),
        bench=True,
    ),
}

#: Only by name: each takes gigabytes and minutes.
BIG_APPS: Mapping[str, App] = {
    "1 GB of small objects": App(
        "big.cjs", flags=("--max-old-space-size=4096",), env={"MEGABYTES": "1000"}
    ),
    "1 GB of large objects": App(
        "big.cjs",
        flags=("--max-old-space-size=4096",),
        env={"MEGABYTES": "1000", "LARGE": "1"},
    ),
}


@dataclass
class Running:
    """A program under load, and what its clients saw."""

    process: Process
    port: int
    told_at: int
    path: str
    requests: int = 0
    failed: int = 0
    slowest: float = 0.0

    def told(self, path: str) -> Mapping[str, float]:
        """What the program says of itself."""
        connection = http.client.HTTPConnection("127.0.0.1", self.told_at, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", path)
            answer: dict[str, float] = json.loads(connection.getresponse().read())
        return answer

    def children(self) -> list[str]:
        """The states of its children."""
        threads = Path(f"/proc/{self.process.pid}/task").iterdir()
        pids = [pid for thread in threads for pid in (thread / "children").read_text().split()]
        return sorted(found.state for pid in pids if (found := procfs.stat(f"/proc/{pid}")))

    def descriptors(self) -> int:
        """How many it has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


@dataclass
class Shown:
    """What one forked snapshot of a program under load was like."""

    tries: int = 0
    failures: list[str] = field(default_factory=list)
    facts: CaptureFacts | None = None
    gap_before: float = 0.0
    gap: float = 0.0
    requests: int = 0
    bad_requests: int = 0
    planted: int = 0
    own_child: int = -1
    notes: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> list[str]:
        """What is not as promised."""
        said = list(self.notes)
        if self.facts is None:
            return [*said, f"no snapshot: {'; '.join(self.failures)}"]
        if self.facts.manner is not Manner.FORKED:
            said.append("not forked")
        if self.planted != PLANTED:
            said.append(f"{self.planted} of {PLANTED} planted objects")
        if self.bad_requests or not self.requests:
            said.append(f"{self.bad_requests} of {self.requests} requests failed")
        if self.own_child != 7:
            said.append(f"its own child ended with {self.own_child}")
        return said


@asynccontextmanager
async def started(app: App, node: Path, folder: Path, *, hooked: bool) -> AsyncIterator[Running]:
    """The program, once it answers; `folder` holds its hook's socket."""
    with _home(app) as home:
        command = _command(app, node, home, folder)
        env = {**_environment(app, folder, hooked=hooked), "HOME": str(home)}
        popen = _started(command, env, home)
        try:
            port, told_at, pid = await asyncio.to_thread(_first_words, popen)
            target = await asyncio.to_thread(_target, pid, folder, hooked=hooked)
            yield Running(target, port, told_at, app.path)
        finally:
            await asyncio.to_thread(stop, popen)
            if popen.stdout:
                popen.stdout.close()


def _started(command: list[str], env: Mapping[str, str], home: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        command,
        env=env,
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _first_words(popen: "subprocess.Popen[bytes]") -> tuple[int, ...]:
    """(port, port that tells, pid), once the program answers."""
    assert popen.stdout
    for line in popen.stdout:
        if line.startswith(b"up "):
            return tuple(int(word) for word in line.split()[1:])
    raise AssertionError(f"it ended with {popen.wait()}: {popen.args!r}")


@contextlib.contextmanager
def _home(app: App) -> Iterator[Path]:
    """A folder with the program and the packages, which modules are looked for beside."""
    with tempfile.TemporaryDirectory(prefix="memwatch-app-") as name:
        home = Path(name)
        home.chmod(0o755)
        for file in (APPS / "common.cjs", APPS / app.script):
            shutil.copy(file, home)
        packages = runtimes.npm_bench_apps() if app.bench else runtimes.npm_apps()
        (home / "node_modules").symlink_to(packages)
        yield home


def _command(app: App, node: Path, home: Path, folder: Path) -> list[str]:
    # Everybody's inspector is on one port by default; tests of other programs run beside this.
    port = f"127.0.0.1:{free_port()}"
    flags = f"--inspect={port}" if app.inspected else f"--inspect-port={port}"
    command = with_parent([node, flags, *app.flags, home / app.script])
    if app.confined:
        script = _CONFINED.format(folder=folder)
        command = ["unshare", "--mount", "sh", "-c", script, "sh", *command]
    return command


def _environment(app: App, folder: Path, *, hooked: bool) -> dict[str, str]:
    options = " ".join(filter(None, (app.options, f"--require {HOOK}" if hooked else "")))
    ours = {"MEMWATCH_HOOK_DIR": str(folder)} if hooked else {}
    planted = {"PLANTED": str(PLANTED)}
    return {"PATH": os.environ["PATH"], "NODE_OPTIONS": options, **planted, **ours, **app.env}


def _target(pid: int, folder: Path, *, hooked: bool) -> Process:
    found = procfs.stat(f"/proc/{pid}")
    assert found is not None
    argv = tuple(procfs.strings(procfs.read(f"/proc/{pid}/cmdline")))
    environ = dict(
        word.split("=", 1) for word in procfs.strings(procfs.read(f"/proc/{pid}/environ"))
    )
    path = folder / f"node-{pid}-{found.start_ticks}.sock"
    if hooked:
        wait_until(path.exists, what="the hook to listen")
    return Process(
        pid,
        found.start_ticks,
        Runtime.NODE,
        argv=argv,
        environ=environ,
        root=Path(f"/proc/{pid}/root"),
        hook_socket=path if hooked else None,
    )


@asynccontextmanager
async def load(app: Running, clients: int = CLIENTS) -> AsyncIterator[None]:
    """Keep-alive clients for the length of the block."""
    tasks = [asyncio.create_task(_client(app)) for _ in range(clients)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _client(app: Running) -> None:
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", app.port)
        except OSError:
            app.failed += 1
            await asyncio.sleep(THINK_SECONDS)
            continue
        try:
            while True:
                await _request(app, reader, writer)
                await asyncio.sleep(THINK_SECONDS)
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError):
            app.failed += 1
        finally:
            writer.close()


async def _request(
    app: Running, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """One request, whose answer must be a good one; its time is kept if it is the longest."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    writer.write(f"GET {app.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    async with asyncio.timeout(60):
        head = await reader.readuntil(b"\r\n\r\n")
        await _body(head.lower(), reader)
    if b" 200 " not in head.partition(b"\r\n")[0]:
        raise ValueError(head)
    app.requests += 1
    app.slowest = max(app.slowest, loop.time() - began)


async def _body(head: bytes, reader: asyncio.StreamReader) -> None:
    if b"content-length:" in head:
        await reader.readexactly(int(head.partition(b"content-length:")[2].split()[0]))
        return
    while size := int(await reader.readline(), 16):  # chunked
        await reader.readexactly(size + 2)
    await reader.readline()


async def shown(running: Running, driver: HookDriver | NodeAttachDriver, folder: Path) -> Shown:
    """Takes a forked snapshot under load; what it was like, and what is different afterwards.

    The driver is closed: one that attaches would keep its connection for the next snapshot.
    """
    told = Shown()
    async with load(running):
        await asyncio.sleep(1)
        await asyncio.to_thread(running.told, "/gap")
        await asyncio.sleep(1)
        told.gap_before = (await asyncio.to_thread(running.told, "/gap"))["gap"]
        children, descriptors = running.children(), running.descriptors()
        file = folder / "snapshot.heapsnapshot"
        await _captured(running, driver, file, told)
        told.gap = (await asyncio.to_thread(running.told, "/gap"))["gap"]
        if isinstance(driver, NodeAttachDriver):
            await driver.aclose()
        told.own_child = int((await asyncio.to_thread(running.told, "/spawn"))["code"])
        await _settled(running, children, descriptors, told)
    told.requests, told.bad_requests = running.requests, running.failed
    if told.facts:
        told.planted = await asyncio.to_thread(count, file, "Planted")
    file.unlink(missing_ok=True)
    return told


async def _captured(running: Running, driver: Driver, file: Path, told: Shown) -> None:
    try:
        await _tried(running, driver, file, told)
    except DriverError as error:
        told.failures.append(str(error))


async def _tried(running: Running, driver: Driver, file: Path, told: Shown) -> None:
    async with driver.open(running.process) as link:
        if Manner.FORKED not in link.manners:
            why = "; ".join([link.cannot_fork, *getattr(link, "notes", ())])
            told.failures.append(f"cannot fork: {why}")
            return
        while told.facts is None and told.tries < MAX_TRIES:
            told.tries += 1
            with file.open("wb") as out:

                async def sink(data: bytes) -> None:
                    out.write(data)

                try:
                    told.facts = await link.capture_forked(
                        sink, lambda _: None, Bounds(CHILD_SECONDS)
                    )
                except ForkFailedError as error:
                    told.failures.append(error.cause)


async def _settled(running: Running, children: list[str], descriptors: int, told: Shown) -> None:
    """Waits until children and descriptors are what they were; notes what stays different."""
    for _ in range(40):
        now = running.children(), running.descriptors()
        if now[0] == children and now[1] <= descriptors:
            return
        await asyncio.sleep(0.1)
    if now[0] != children:
        told.notes.append(f"children {children} → {now[0]}")
    if now[1] > descriptors:
        told.notes.append(f"descriptors {descriptors} → {now[1]}")


def count(snapshot: Path, name: str) -> int:
    """How many objects of a class a snapshot holds, by our engine."""
    rows = class_rows(formats.read(snapshot))
    return sum(row.count for row in rows if row.name == name)
