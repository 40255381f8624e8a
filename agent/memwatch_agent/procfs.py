"""/proc, read without ever failing: what is gone or forbidden is None.

Every reader takes the folder of one process, so that a test can build one.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: A file of /proc is cut here; an environment of megabytes is somebody's mistake, not ours.
MAX_FILE_BYTES = 256 * 1024

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

#: In the kernel's flags of a process (`PF_EXITING`): it will not run again. Set before it closes
#: its files, so whoever hears a socket close sees it; the state Z comes a while later.
_EXITING = 0x4


@dataclass(frozen=True)
class Stat:
    """The fields of /proc/PID/stat that matter here."""

    name: str
    state: str
    parent: int
    cpu_ticks: int
    start_ticks: int
    rss_bytes: int
    flags: int = 0

    @property
    def ended(self) -> bool:
        """Whether the process has run its last: it is being taken down, or waits to be reaped."""
        return self.state in "ZX" or bool(self.flags & _EXITING)


@dataclass(frozen=True)
class Status:
    """The fields of /proc/PID/status that matter here.

    Attributes:
        uid: the effective user id.
        inner_pid: the pid as the process sees itself.
        caught: bit n-1 is set where the process catches signal n.
        threads: how many it has.
    """

    uid: int
    inner_pid: int
    caught: int
    threads: int = 1

    def catches(self, signal_number: int) -> bool:
        """Whether the process has a handler for a signal."""
        return bool(self.caught >> (signal_number - 1) & 1)


def read(path: Path | str, limit: int = MAX_FILE_BYTES) -> bytes | None:
    """The first `limit` bytes of a file of /proc; None where it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        parts, left = [], limit
        while left and (part := os.read(descriptor, left)):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)
    except OSError:  # the process ended while it was read
        return None
    finally:
        os.close(descriptor)


def link(path: Path | str) -> str | None:
    """Where a link of /proc points; None where it cannot be read."""
    try:
        return os.readlink(path)
    except OSError:
        return None


def pids(proc: Path) -> Iterator[int]:
    """Every process that is visible, in no order."""
    try:
        names = os.listdir(proc)
    except OSError:
        return
    yield from (int(name) for name in names if name.isdigit())


def threads(folder: str) -> Iterator[str]:
    """The threads of a process, in no order."""
    try:
        yield from os.listdir(f"{folder}/task")
    except OSError:
        return


def stat(folder: Path | str) -> Stat | None:
    """The process's state, times and memory; None where it is gone."""
    data = read(f"{folder}/stat")
    return parse_stat(data) if data else None


def parse_stat(data: bytes) -> Stat | None:
    """A /proc/PID/stat; the name in it may hold spaces and parentheses."""
    name_end = data.rfind(b")")
    fields = data[name_end + 1 :].split()
    try:
        return Stat(
            name=data[data.find(b"(") + 1 : name_end].decode("utf-8", "replace"),
            state=fields[0].decode("ascii"),
            parent=int(fields[1]),
            cpu_ticks=int(fields[11]) + int(fields[12]),
            start_ticks=int(fields[19]),
            rss_bytes=int(fields[21]) * PAGE_BYTES,
            flags=int(fields[6]),
        )
    except (IndexError, ValueError):
        return None


def status(folder: Path | str) -> Status | None:
    """The process's user, pid namespace and signals; None where it is gone."""
    data = read(f"{folder}/status")
    return parse_status(data) if data else None


def parse_status(data: bytes) -> Status | None:
    """A /proc/PID/status."""
    fields = dict(line.split(b":", 1) for line in data.splitlines() if b":" in line)
    try:
        pid = fields.get(b"NSpid", fields[b"Pid"])
        return Status(
            uid=int(fields[b"Uid"].split()[1]),
            inner_pid=int(pid.split()[-1]),
            caught=int(fields[b"SigCgt"], 16),
            threads=int(fields.get(b"Threads", b"1")),
        )
    except (KeyError, IndexError, ValueError):
        return None


def strings(data: bytes | None) -> list[str]:
    """The parts of a list that ends each with NUL, as `cmdline` and `environ` are."""
    if not data:
        return []
    return [part.decode("utf-8", "replace") for part in data.rstrip(b"\0").split(b"\0")]


def environ(folder: Path | str, prefixes: tuple[str, ...]) -> dict[str, str] | None:
    """The environment variables that start with one of `prefixes`; None where it is forbidden."""
    data = read(f"{folder}/environ")
    if data is None:
        return None
    pairs = (text.partition("=") for text in strings(data))
    return {name: value for name, equals, value in pairs if equals and name.startswith(prefixes)}


def boot_seconds(proc: Path) -> float:
    """Unix time at which the machine started, which start ticks count from; 0 if unknown."""
    for line in (read(proc / "stat", 1024 * 1024) or b"").splitlines():
        if line.startswith(b"btime "):
            return float(line.split()[1])
    return 0.0
