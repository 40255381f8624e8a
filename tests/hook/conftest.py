"""Interpreters, walkers and targets for the tests of the hook."""

import contextlib
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hook import walkers
from tests.support import processes, runtimes


@pytest.fixture
def hook_dir() -> Iterator[Path]:
    """A hook directory with a short path: a socket's has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="mwh") as folder:
        yield Path(folder)


@pytest.fixture(params=runtimes.PYTHON_MINORS)
def python(request: pytest.FixtureRequest) -> Path:
    """Each CPython that the hook is for."""
    return interpreter(request.param)


@pytest.fixture(params=(runtimes.PYTHON_MINORS[0], runtimes.PYTHON_MINORS[-1]))
def some_python(request: pytest.FixtureRequest) -> Path:
    """The oldest and the newest CPython, for what does not depend on what lies between."""
    return interpreter(request.param)


def interpreter(minor: str) -> Path:
    """A CPython of a minor version, or the test is skipped."""
    found = runtimes.python(minor)
    if found is None:
        pytest.skip(f"no CPython {minor} on this machine")
    return found


def hook_environment(walker: str) -> dict[str, str]:
    """The environment that hooks a Python with one of the walkers, or the test is skipped."""
    try:
        return walkers.environment(walker)
    except LookupError as cause:
        pytest.skip(f"no C walker: {cause}")


@pytest.fixture
def walker() -> str:
    """Which walker targets use: the pure-Python one, unless a test asks for more."""
    return "py"


@pytest.fixture
def hooked(
    hook_dir: Path, walker: str
) -> Callable[..., contextlib.AbstractContextManager[subprocess.Popen[bytes]]]:
    """Starts a program with the hook's bootstrap on its path."""

    def start(
        *command: str | Path, **env: str
    ) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
        return processes.running(
            command,
            env={"MEMWATCH_HOOK_DIR": str(hook_dir), **hook_environment(walker), **env},
            log=hook_dir / "log",
        )

    return start
