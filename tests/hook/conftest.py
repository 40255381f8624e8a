"""Interpreters and targets for the tests of the hook."""

import contextlib
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import processes, runtimes

HOOK = runtimes.ROOT / "hook"


@pytest.fixture
def hook_dir() -> Iterator[Path]:
    """A hook directory with a short path: a socket's has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="mwh") as folder:
        yield Path(folder)


@pytest.fixture(params=runtimes.PYTHON_MINORS)
def python(request: pytest.FixtureRequest) -> Path:
    """Each CPython that the hook is for."""
    found = runtimes.python(request.param)
    if found is None:
        pytest.skip(f"no CPython {request.param} on this machine")
    return found


@pytest.fixture(params=(runtimes.PYTHON_MINORS[0], runtimes.PYTHON_MINORS[-1]))
def some_python(request: pytest.FixtureRequest) -> Path:
    """The oldest and the newest CPython, for what does not depend on what lies between."""
    found = runtimes.python(request.param)
    if found is None:
        pytest.skip(f"no CPython {request.param} on this machine")
    return found


@pytest.fixture
def hooked(
    hook_dir: Path,
) -> Callable[..., contextlib.AbstractContextManager[subprocess.Popen[bytes]]]:
    """Starts a program with the hook's bootstrap on its path."""

    def start(
        *command: str | Path, **env: str
    ) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
        path = f"{HOOK / 'bootstrap'}:{HOOK}"
        return processes.running(
            command,
            env={"MEMWATCH_HOOK_DIR": str(hook_dir), "PYTHONPATH": path, **env},
            log=hook_dir / "log",
        )

    return start
