"""Whether a process still is the one that was meant, and really is Node."""

import os
import re
from functools import lru_cache

from memwatch_agent import procfs
from memwatch_agent.drivers.base import Process

#: What only a program with Node's inspector in it holds, in every release from 8 to 26.
_MARKER = b"Starting inspector on %s:%d failed"

_NODE_NAME = re.compile(r"(?:node|nodejs)(?:[-.]?\d+(?:\.\d+)*)?")
_LIBNODE = re.compile(rb"(/\S*/libnode\.so[^\s]*)")

_PIECE_BYTES = 1024 * 1024

#: More different binaries than any one host runs.
_MAX_KNOWN = 100


def is_alive(target: Process) -> bool:
    """Whether that very process runs; one in another pid namespace is taken at its word."""
    if not target.visible:
        return True
    now = procfs.stat(f"/proc/{target.pid}")
    return now is not None and now.start_ticks == target.start_ticks and not now.ended


def catches(target: Process, signal_number: int) -> bool:
    """Whether the process has a handler for a signal; False where nobody can tell."""
    status = procfs.status(f"/proc/{target.pid}")
    return status is not None and status.catches(signal_number)


def runs_node(target: Process) -> bool:
    """Whether the program that the process runs now is Node, whatever its file is called.

    Looks for Node's inspector in the binary or in its libnode: about 0.1 s the first time. Only
    where neither can be read does the file's name decide.
    """
    folder = f"/proc/{target.pid}"
    libraries = _LIBNODE.findall(procfs.read(f"{folder}/maps") or b"")
    paths = [f"{folder}/exe"]
    paths += {f"{folder}/root{os.fsdecode(library)}" for library in libraries}
    answers = [_holds_marker(path) for path in paths]
    if any(answers):
        return True
    if answers[0] is False:
        return False
    name = os.path.basename((procfs.link(f"{folder}/exe") or target.exe).removesuffix(" (deleted)"))
    return _NODE_NAME.fullmatch(name) is not None


def _holds_marker(path: str) -> bool | None:
    """Whether a binary holds Node's inspector; None where it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = os.fstat(descriptor)
        return _search(_Binary(descriptor, (found.st_dev, found.st_ino, found.st_mtime_ns)))
    except OSError:
        return None
    finally:
        os.close(descriptor)


class _Binary:
    """An open file that is known by what it is, so that its answer can be kept."""

    def __init__(self, descriptor: int, key: tuple[int, int, int]) -> None:
        self.descriptor = descriptor
        self.key = key

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Binary) and self.key == other.key


@lru_cache(maxsize=_MAX_KNOWN)
def _search(binary: _Binary) -> bool:
    """Reads piece by piece: a mapping of 100 MB would stand in the agent's own memory."""
    tail, at = b"", 0
    while data := os.pread(binary.descriptor, _PIECE_BYTES, at):
        if _MARKER in tail + data:
            return True
        tail, at = data[-len(_MARKER) :], at + len(data)
    return False
