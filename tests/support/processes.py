"""Starts programs for a test and stops them again, by pid, whatever happens."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path


def with_parent(command: Sequence[str | Path]) -> list[str]:
    """The command so that the kernel ends it with this process: a killed run leaves nothing.

    By setpriv and not by a function between fork and exec, which would run gRPC's fork handlers.
    """
    prefix = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
    return [*prefix, *(str(part) for part in command)]


@contextlib.contextmanager
def running(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs for the length of the block, in a session of its own.

    `env` is added to this process's environment. Output goes to `log` (else nowhere).
    """
    out = log.open("ab") if log else subprocess.DEVNULL
    process = subprocess.Popen(
        with_parent(command),
        env={**os.environ, **(env or {})},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        stop(process)
        if log:
            out.close()  # type: ignore[union-attr]


def stop(process: subprocess.Popen[bytes], grace_seconds: float = 5) -> None:
    """Ends a process and the session it leads: SIGTERM, then SIGKILL."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sent)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_seconds)
            if sent is signal.SIGTERM:
                grace_seconds = 1
                continue
            return


def wait_until(condition: Callable[[], object], seconds: float = 20, what: str = "") -> None:
    """Returns when `condition()` is true; fails the test after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what or condition}")
        time.sleep(0.05)


def free_port() -> int:
    """A TCP port of loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
