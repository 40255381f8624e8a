"""Small Node programs to attach to, and what a snapshot of them must hold."""

import contextlib
import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from memwatch_agent import procfs
from memwatch_agent.drivers.base import Process, Runtime
from tests.support import runtimes
from tests.support.processes import free_port, stop, wait_until

MAJORS = (*runtimes.NODE_MAJORS, runtimes.NEXT_NODE_MAJOR)

#: Keeps `Planted` objects, each with one property edge of a name that nothing else has.
PLANT = """
const shared = { shared: true };
class Planted { constructor() { this.planted_mark = shared; } }
globalThis.kept = Array.from({ length: COUNT }, () => new Planted());
"""

COMMONJS = PLANT + (
    "require('http').createServer((q, r) => r.end('ok')).listen(0, '127.0.0.1', ready);\n"
    "function ready() { console.log('up ' + this.address().port); }\n"
)
ES_MODULE = PLANT + (
    "import http from 'node:http';\n"
    "const server = http.createServer((q, r) => r.end('ok'));\n"
    "await new Promise((done) => server.listen(0, '127.0.0.1', done));\n"
    "console.log('up ' + server.address().port);\n"
)


def node(major: int = 24) -> Path:
    """The Node of a major version; skips the test where there is none."""
    found = runtimes.node(major)
    if found is None:
        pytest.skip(f"Node {major} is not installed")
    return found


class App:
    """A running program."""

    def __init__(self, popen: "subprocess.Popen[bytes]", env: Mapping[str, str]) -> None:
        self.popen = popen
        self.pid = popen.pid
        self.env = env
        self.first_line = ""

    @property
    def process(self) -> Process:
        """What an agent knows of it."""
        found = procfs.stat(f"/proc/{self.pid}")
        assert found is not None
        return Process(
            pid=self.pid,
            start_ticks=found.start_ticks,
            runtime=Runtime.NODE,
            argv=tuple(procfs.strings(procfs.read(f"/proc/{self.pid}/cmdline"))),
            environ=dict(self.env),
        )

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.popen.poll() is None


@contextlib.contextmanager
def running(command: list[str | Path], env: Mapping[str, str] | None = None) -> Iterator[App]:
    """A program that has printed its first line."""
    words = [str(word) for word in command]
    popen = subprocess.Popen(
        words,
        env={**dict(env or {}), "PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    app = App(popen, env or {})
    try:
        assert popen.stdout is not None
        app.first_line = popen.stdout.readline().decode().strip()
        yield app
    finally:
        stop(popen)
        if popen.stdout is not None:
            popen.stdout.close()


@contextlib.contextmanager
def node_app(
    folder: Path,
    code: str = COMMONJS,
    *,
    major: int = 24,
    flags: tuple[str, ...] | None = None,
    count: int = 1000,
    env: Mapping[str, str] | None = None,
) -> Iterator[App]:
    """A Node program on an inspector port of its own, or with other flags."""
    script = folder / ("app.mjs" if "import " in code else "app.cjs")
    script.write_text(code.replace("COUNT", str(count)))
    if flags is None:
        flags = (f"--inspect-port={free_port()}",)
    with running([node(major), *flags, script], env) as app:
        assert app.first_line.startswith("up"), app.first_line
        yield app


@contextlib.contextmanager
def other_app(command: list[str | Path], env: Mapping[str, str] | None = None) -> Iterator[App]:
    """A program that is not Node and prints nothing."""
    popen = subprocess.Popen([str(word) for word in command], env=env, start_new_session=True)
    app = App(popen, env or {})
    try:
        wait_until(lambda: procfs.read(f"/proc/{app.pid}/cmdline"), what="the program to start")
        yield app
    finally:
        stop(popen)


def planted(snapshot: bytes) -> int:
    """How many `Planted` objects a snapshot holds."""
    heap = json.loads(snapshot)
    fields = heap["snapshot"]["meta"]["edge_fields"]
    types = heap["snapshot"]["meta"]["edge_types"][fields.index("type")]
    name = heap["strings"].index("planted_mark")
    edges = heap["edges"]
    at_type, at_name, step = fields.index("type"), fields.index("name_or_index"), len(fields)
    return sum(
        1
        for at in range(0, len(edges), step)
        if edges[at + at_name] == name and types[edges[at + at_type]] == "property"
    )


class Collected:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    async def take(self, data: bytes) -> None:
        """Keeps the bytes."""
        self.parts.append(data)

    @property
    def data(self) -> bytes:
        """Everything that came."""
        return b"".join(self.parts)
