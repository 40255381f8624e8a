"""The parent of the programs that the command line starts: they never outlive it.

Run as `python -m memwatchctl.guardian`. It reads one JSON line (see `Orders`) from standard
input, starts the programs, and tells each start and end as one JSON line on standard output.
A program that is `held` waits for a line with its name.
When its input ends (the command line closed it, or died in whatever way, SIGKILL too) it
stops them, gently first, and removes the folder it was given. Should it be killed itself,
the kernel sends its children SIGTERM (PR_SET_PDEATHSIG). Standard library only, no threads.
"""

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

#: Time to end after SIGTERM: the agent closes an inspector, the controller its database.
GRACE_SECONDS = 10.0

#: For the command at the end, which waits until the last request to something has ended.
LAST_SECONDS = 300.0

#: A program that ran this long has recovered: its next end counts as the first.
HEALTHY_SECONDS = 60.0

#: Longest pause before a program is started again.
MAX_PAUSE_SECONDS = 30.0

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Program:
    """One program to run.

    Attributes:
        name: what it is called in events.
        command: its argument vector.
        log: file for its output; empty: the guardian's own standard error.
        held: started only when its name is read from the input.
    """

    name: str
    command: Sequence[str]
    log: str = ""
    held: bool = False


@dataclass(frozen=True)
class Orders:
    """What a guardian is to do.

    Attributes:
        programs: what to run, in this order; they are stopped in the other.
        restart: whether a program that ends is started again.
        remove: folder to remove at the end; empty for none.
        at_end: a command to run last, once all programs are stopped; empty for none.
    """

    programs: Sequence[Program]
    restart: bool = False
    remove: str = ""
    at_end: Sequence[str] = ()

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "Orders":
        """The orders of a line."""
        value: dict[str, Any] = json.loads(line)
        programs = [Program(**program) for program in value["programs"]]
        return cls(programs, value["restart"], value["remove"], value["at_end"])


def pause_before_restart(ends_in_a_row: int) -> float:
    """Seconds before a program is started again: 0.5, 1, 2 … up to the maximum. Pure."""
    return min(MAX_PAUSE_SECONDS, 0.5 * 2.0 ** min(ends_in_a_row, 16))


@dataclass
class _Child:
    """A program and its process."""

    program: Program
    process: subprocess.Popen[bytes] | None = None
    handle: int = -1
    started: float = 0.0
    ends_in_a_row: int = 0
    start_at: float = 0.0


class Guardian:
    """Keeps programs running until its input ends."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._children = [_Child(p, start_at=-1.0 if p.held else 0.0) for p in orders.programs]
        self._heard = b""

    def run(self, stop: int) -> None:
        """Runs the programs until `stop` can be read (it has ended), then stops them."""
        try:
            while not self._wait(stop):
                self._start_due()
        finally:
            self._stop_all()
            if self._orders.at_end:
                self._last()
            if self._orders.remove:
                shutil.rmtree(self._orders.remove, ignore_errors=True)

    def _last(self) -> None:
        """Runs the last command; without a terminal that may be gone."""
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                list(self._orders.at_end),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                check=False,
                timeout=LAST_SECONDS,
            )

    def _wait(self, stop: int) -> bool:
        """Waits for an end or for the next start that is due; whether to stop."""
        due = [
            child.start_at
            for child in self._children
            if child.process is None and child.start_at >= 0
        ]
        timeout = max(0.0, min(due) - time.monotonic()) if due else None
        handles = {child.handle: child for child in self._children if child.handle >= 0}
        ready, _, _ = select.select([stop, *handles], [], [], timeout)
        for handle in ready:
            if handle in handles:
                self._ended(handles[handle])
        return stop in ready and not self._hear(os.read(stop, 4096))

    def _hear(self, data: bytes) -> bool:
        """Lets the programs go whose names were read; whether the input goes on."""
        *lines, self._heard = (self._heard + data).split(b"\n")
        for child in self._children:
            if child.process is None and child.program.name.encode() in lines:
                child.start_at = 0.0
        return bool(data)

    def _start_due(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.process is None and 0 <= child.start_at <= now:
                self._start(child)

    def _start(self, child: _Child) -> None:
        program = child.program
        with contextlib.ExitStack() as stack:
            out: Any = sys.stderr
            if program.log:
                out = stack.enter_context(Path(program.log).open("ab"))
            child.process = subprocess.Popen(
                list(program.command),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - this process has one thread
            )
        child.handle, child.started = os.pidfd_open(child.process.pid), time.monotonic()
        _tell(event="started", name=program.name, pid=child.process.pid)

    def _ended(self, child: _Child) -> None:
        """Notes an end, and when to start again."""
        assert child.process is not None
        code = child.process.wait()
        os.close(child.handle)
        child.process, child.handle = None, -1
        now = time.monotonic()
        if now - child.started >= HEALTHY_SECONDS:
            child.ends_in_a_row = 0
        pause = pause_before_restart(child.ends_in_a_row) if self._orders.restart else None
        child.ends_in_a_row += 1
        child.start_at = -1.0 if pause is None else now + pause
        _tell(event="ended", name=child.program.name, code=code, again_in=pause)

    def _stop_all(self) -> None:
        for child in reversed(self._children):
            if child.process is not None:
                child.process.terminate()
        deadline = time.monotonic() + GRACE_SECONDS
        for child in reversed(self._children):
            if child.process is None:
                continue
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()


_libc = ctypes.CDLL(None, use_errno=True)
_own_pid = os.getpid()


def _end_with_parent() -> None:
    """In the child, before it becomes the program: SIGTERM when the guardian dies."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != _own_pid:
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _tell(**event: object) -> None:
    """Tells the command line; it may be gone."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()


def main() -> None:
    """Reads the orders and follows them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(0, 1)
        if not part:
            return
        line += part
    Guardian(Orders.from_json(line.decode())).run(0)


if __name__ == "__main__":
    main()
