"""A real Docker engine with our agent's image and two leaking services in hardened containers."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import engine as engines
from tests.support.engine import Engine
from tests.support.processes import wait_until
from tests.support.runtimes import ROOT
from tests.support.stack import APPS, program_env

#: As a cautious team runs a service: an unprivileged user, nothing to write, no network.
HARDENED = ("--user=1000", "--read-only", "--cap-drop=ALL", "--network=none")

_FETCH_JS = "fetch('http://127.0.0.1:8080{path}').then(r => r.text()).then(t => console.log(t))"
_FETCH_PY = (
    "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080{path}').read().decode())"
)


@dataclass(frozen=True)
class Service:
    """A leaking service in a container; `fetch` is what asks it from inside."""

    engine: Engine
    name: str
    fetch: tuple[str, ...]

    def get(self, path: str) -> dict[str, int]:
        """A JSON answer of the service."""
        *command, code = self.fetch
        said = self.engine.docker("exec", self.name, *command, code.format(path=path))
        return dict(json.loads(said))


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """An engine with the images that the tests of this folder run."""
    if reason := engines.missing():
        pytest.skip(reason)
    with engines.engine() as started:
        engines.import_node(started, "local/node:test")
        engines.import_python(started, "local/python:test")
        for name in ("agent", "init"):
            build(started, name)
        yield started


def build(engine: Engine, name: str) -> None:
    """Builds an image without a network, as `make images NETWORK=none` does."""
    subprocess.run(
        ["make", "images", f"IMAGES={name}", "NETWORK=none", "BASE=local/python:test"],
        cwd=ROOT,
        env={**os.environ, "DOCKER_HOST": engine.host, "DOCKER_BUILDKIT": "0"},
        stdout=subprocess.DEVNULL,
        check=True,
    )


@pytest.fixture(scope="session")
def node_service(engine: Engine) -> Service:
    """A Node.js service that knows nothing of memwatch."""
    engine.run(
        *("--name=shop-node", *HARDENED, "--memory=256m", "--volume", f"{APPS}:/app:ro"),
        *("local/node:test", "node", "/app/leaky_node.js", "8080"),
    )
    service = Service(engine, "shop-node", ("node", "-e", _FETCH_JS))
    wait_until(lambda: "listening" in engine.docker("logs", service.name), 20)
    return service


@pytest.fixture(scope="session")
def hooked(engine: Engine) -> tuple[str, ...]:
    """Flags that give a Python container the hook from the init image, in a volume."""
    engine.docker("volume", "create", "hooks")
    hooks = ("--volume", "hooks:/hooks")
    engine.docker("run", "--rm", "--user=0", *hooks, f"memwatch/init:{version()}", "/hooks")
    path = "--env=PYTHONPATH=/hooks/python/bootstrap:/hooks/python"
    return (*hooks, "--tmpfs=/tmp:mode=1777", path, "--env=PYTHONUNBUFFERED=1")


@pytest.fixture(scope="session")
def python_service(engine: Engine, hooked: tuple[str, ...]) -> Service:
    """A Python service with the hook."""
    engine.run(
        *("--name=shop-python", *HARDENED, "--memory=256m", *hooked),
        *("--volume", f"{APPS}:/app:ro"),
        *("local/python:test", "python3", "/app/leaky_python.py", "8080"),
    )
    service = Service(engine, "shop-python", ("python3", "-I", "-c", _FETCH_PY))
    wait_until(lambda: "listening" in engine.docker("logs", service.name), 20)
    return service


def version() -> str:
    """The images' tag."""
    from memwatch_proto import __version__

    return __version__


def memwatchctl(engine: Engine, *words: str | Path) -> list[str]:
    """A command of ours against this engine."""
    return [sys.executable, "-P", "-m", "memwatchctl", *map(str, words)]


def environment(engine: Engine) -> dict[str, str]:
    """What lets it find the engine, and no controller."""
    nowhere = {"MEMWATCH_CONTROLLER": "unix:/nonexistent/controller.sock"}
    return {**os.environ, **program_env(), **nowhere, "DOCKER_HOST": engine.host}


def helpers(engine: Engine) -> list[str]:
    """The helper containers that are there, in whatever state."""
    return engine.docker("ps", "-aq", "--filter", "label=dev.memwatch.role=helper").split()
