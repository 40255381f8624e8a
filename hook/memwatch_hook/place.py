"""Where the hook listens: the directory, the socket's name, and leftovers of dead processes."""

from __future__ import annotations

import _socket
import os
import time

RUNTIME = "python"
RECORDING = ".memray"  # how the name of a file that memray writes ends
MAX_PATH_BYTES = 107  # what a Unix socket's address can hold
SOCKET, DUMP = ".sock", ".dump"
RECORDING_SECONDS = 60.0  # memray writes every few milliseconds: an older file is a leftover
MAX_TIDIED = 1000  # names looked at when we tidy up, so that a full directory costs no start-up


def directory() -> str:
    """The hook directory of this process."""
    return os.environ.get("MEMWATCH_HOOK_DIR") or f"/tmp/memwatch-{os.getuid()}"


def start_ticks(pid: int | str = "self") -> int | None:
    """Field 22 of `/proc/PID/stat`: start time in ticks since boot; None: no such process.

    One that has ended and that nobody has waited for yet is none.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            # The name in the second field may hold spaces and parentheses: count from the last one.
            fields = stat.read().rpartition(b")")[2].split()
            return None if fields[0] in (b"Z", b"X") else int(fields[19])
    except (OSError, ValueError, IndexError):
        return None


def start_millis() -> int | None:
    """When this process started, as Unix time in milliseconds; None where /proc does not say."""
    ticks = start_ticks()
    try:
        with open("/proc/stat", "rb") as stat:
            boot = next(int(line.split()[1]) for line in stat if line.startswith(b"btime "))
    except (OSError, ValueError, StopIteration):
        return None
    return None if ticks is None else boot * 1000 + ticks * 1000 // os.sysconf("SC_CLK_TCK")


def socket_path(pid: int, ticks: int) -> str | None:
    """The path of a process's socket; None where it would be too long for one."""
    path = os.path.join(directory(), f"{RUNTIME}-{pid}-{ticks}{SOCKET}")
    return path if len(os.fsencode(path)) <= MAX_PATH_BYTES else None


def dump_path() -> str:
    """Where this process's heap dump begins its life, for the moment that it has a name."""
    return os.path.join(directory(), f"{RUNTIME}-{os.getpid()}-{start_ticks() or 0}{DUMP}")


def is_memory(descriptor: int) -> bool:
    """Whether a file lies on a file system that is memory (as an emptyDir of medium Memory)."""
    device = os.fstat(descriptor).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo") as mounts:
            for line in mounts:
                words = line.split()
                if words[2] == wanted:
                    return words[words.index("-") + 1] in ("tmpfs", "ramfs")
    except (OSError, ValueError, IndexError):
        pass
    return False


def make_directory() -> bool:
    """Makes the hook directory (0700) if it is missing; whether one is there that we may use.

    A directory below /tmp that someone else made is not ours to use: they could swap our socket.
    """
    path = directory()
    try:
        os.makedirs(path, 0o700, exist_ok=True)
        found = os.stat(path)
    except OSError:
        return False
    trusted = found.st_uid in (os.getuid(), 0) or "MEMWATCH_HOOK_DIR" in os.environ
    return trusted and os.access(path, os.W_OK | os.X_OK)


def tidy() -> None:
    """Removes what processes that are no more left of ours. Only our own, only by our names."""
    try:
        names = os.listdir(directory())[:MAX_TIDIED]
    except OSError:
        return
    for name in names:
        owner = _owner(name)
        if owner is not None and start_ticks(owner[0]) != owner[1]:
            _remove_own(os.path.join(directory(), name))


def remove(path: str) -> None:
    """Removes a socket, if it is still there."""
    try:
        os.unlink(path)
    except OSError:
        pass


def _owner(name: str) -> tuple[int, int] | None:
    stem, extension = os.path.splitext(name)
    parts = stem.split("-")
    if extension not in (SOCKET, DUMP) or len(parts) != 3 or parts[0] != RUNTIME:
        return None
    return (int(parts[1]), int(parts[2])) if parts[1].isdigit() and parts[2].isdigit() else None


def _remove_own(path: str) -> None:
    # In a directory shared by containers with pid namespaces of their own, a pid that we do not see
    # may be alive: a socket is a leftover only if it is of our uid and nobody accepts on it. A dump
    # needs its name for a moment only.
    try:
        left = path.endswith(DUMP) or not answers(path)
        if os.lstat(path).st_uid == os.getuid() and left:
            os.unlink(path)
    except OSError:
        pass


def _is_alive(path: str) -> bool:
    """Whether a socket answers, or a file is written to."""
    if path.endswith(RECORDING):
        return time.time() - os.stat(path).st_mtime < RECORDING_SECONDS
    return answers(path)


def answers(path: str) -> bool:
    """Whether somebody accepts on a socket."""
    probe = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0)
    try:
        probe.setblocking(False)
        probe.connect(path)
    except (ConnectionRefusedError, FileNotFoundError):
        return False
    except OSError:
        return True
    finally:
        probe.close()
    return True
