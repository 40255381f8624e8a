"""A real controller and agent for the tests of this folder."""

import contextlib
import json
import os
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.runtimes import HOME, any_node
from tests.support.stack import Stack

MEMLAB = HOME / "npm" / "node_modules" / "@memlab" / "heap-analysis"
COUNT_SCRIPT = Path(__file__).parents[1] / "support" / "memlab_count.js"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short folder: Unix socket paths end at 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="mw-") as name:
        yield Path(name)


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Stack]:
    """A controller and an agent that run for the length of the block."""
    stack = Stack(folder)
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()


@pytest.fixture
def stack(folder: Path) -> Iterator[Stack]:
    """A controller and an agent of this test's own, to be killed at will."""
    with started(folder) as stack:
        yield stack


@pytest.fixture(scope="module")
def shared_stack() -> Iterator[Stack]:
    """A controller and an agent for all tests of a file that leave them as they were."""
    with tempfile.TemporaryDirectory(prefix="mw-") as name, started(Path(name)) as stack:
        yield stack


def get(port: int, path: str) -> dict[str, int]:
    """A JSON answer of one of our leaking services."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as response:
        return dict(json.load(response))


def memlab_counts(file: Path, *classes: str) -> dict[str, int]:
    """How many objects of each class memlab finds in a heap snapshot."""
    node = any_node()
    if node is None or not MEMLAB.exists():
        pytest.skip("memlab is not installed (npm was not there when `make test` looked)")
    done = subprocess.run(
        [node, COUNT_SCRIPT, file, *classes],
        env={**os.environ, "NODE_PATH": str(HOME / "npm" / "node_modules")},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("{"))
    return dict(json.loads(line))
