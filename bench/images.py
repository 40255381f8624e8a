"""Sizes of our images and what their programs need idle, run as a hardened pod runs them.

Builds the images on an engine of its own from this machine's CPython (root and Debian's docker.io
are needed; some minutes), or takes those of DOCKER_HOST with --there. Each program then runs
read-only, without capability, user or network, until it is ready; the controller's kernels must
load without a compiler. Told are the layers above the base, resident memory, and start to ready.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from memwatch_proto import __version__
from tests.support import engine as engines
from tests.support.engine import Engine
from tests.support.processes import wait_until
from tests.support.runtimes import ROOT

BASE = "local/python:test"
PYTHON = "/opt/memwatch/bin/python"
HARDENED = (
    *("--read-only", "--cap-drop=ALL", "--user=65532", "--network=none", "--memory=1g"),
    *("--security-opt=no-new-privileges", "--env=MEMWATCH_TOKEN=t", "--tmpfs=/tmp"),
    "--tmpfs=/var/lib/memwatch:uid=65532,gid=65532",
)
MIB = 1024 * 1024

#: After that a program that is ready has done its first rounds.
SETTLE_SECONDS = 20.0

_READY = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9467/readyz').read())"
_STARTED = "import os, memwatch_agent.started as s; print('ok' * (s.main(os.environ) == 0))"
_KERNELS = """
import sys
from memwatch_heap import warm
print(warm.warm(lambda line: None), "numba" in sys.modules)
"""


@dataclass(frozen=True)
class Program:
    """A program of an image: what is passed to it, and what says that it is ready."""

    image: str
    arguments: Sequence[str]
    ready: str


PROGRAMS = (
    Program("agent", ("--stay",), _STARTED),
    Program("controller", (), _READY),
)


@contextlib.contextmanager
def images(there: bool) -> Iterator[Engine]:
    """An engine that has the images."""
    if there:
        yield Engine(os.environ["DOCKER_HOST"], "", Path())
        return
    if reason := engines.missing():
        sys.exit(f"cannot run bench 'images': {reason}")
    engines.prepare()
    with engines.engine() as started:
        engines.import_python(started, BASE)
        command = ["make", "images", "NETWORK=none", f"BASE={BASE}"]
        env = {**os.environ, "DOCKER_HOST": started.host, "DOCKER_BUILDKIT": "0"}
        subprocess.run(command, cwd=ROOT, env=env, check=True, stdout=subprocess.DEVNULL)
        yield started


def size_mib(engine: Engine, image: str) -> float:
    """What an image takes, its base included."""
    return int(engine.docker("image", "inspect", "--format", "{{.Size}}", image)) / MIB


def resident_mib(pid: int) -> float:
    """A process's memory, as the kernel counts it."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"process {pid} has ended")


def run(engine: Engine, program: Program) -> str:
    """Runs a program until it idles; a row of the table."""
    began = time.monotonic()
    image = f"memwatch/{program.image}:{__version__}"
    name = engine.run(*HARDENED, image, *program.arguments)
    try:
        wait_until(lambda: "ok" in asked(engine, name, program.ready), 300, image)
        ready = time.monotonic() - began
        time.sleep(SETTLE_SECONDS)
        if program.image == "controller":
            kernels = asked(engine, name, _KERNELS)
            assert kernels.endswith("False"), f"kernels are compiled at run time: {kernels}"
        size = size_mib(engine, image)
        added = size - size_mib(engine, BASE)
        memory = resident_mib(engine.pid(name))
        return f"| {program.image} | {size:.0f} | {added:.0f} | {memory:.0f} | {ready:.1f} |"
    finally:
        engine.docker("rm", "--force", name)


def asked(engine: Engine, container: str, code: str) -> str:
    """What a piece of Python prints in a container; empty where it fails."""
    return engine.docker("exec", container, PYTHON, "-c", code, check=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--there", action="store_true", help="take the images of DOCKER_HOST")
    given = parser.parse_args()
    with images(given.there) as engine:
        print(f"load average: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        print(f"base: {size_mib(engine, BASE):.0f} MiB\n")
        print("| image | MiB | above its base | RSS idle, MiB | start to ready, s |")
        print("|---|---|---|---|---|")
        for program in PROGRAMS:
            print(run(engine, program), flush=True)
        init = size_mib(engine, f"memwatch/init:{__version__}")
        print(f"| init | {init:.0f} | {init - size_mib(engine, BASE):.1f} | ends at once | |")


if __name__ == "__main__":
    main()
