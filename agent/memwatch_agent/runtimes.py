"""Which language runtime a process runs, and which version of it, without running anything."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from memwatch_agent import procfs
from memwatch_agent.drivers.base import Runtime

_NODE = re.compile(r"(?:node|nodejs)(?:[-.]?\d+(?:\.\d+)*)?")
_PYTHON = re.compile(r"python(?P<version>\d(?:\.\d+)?)?[dt]?")
_LIBPYTHON = re.compile(rb"/libpython(?P<version>3\.\d+)[dt]?\.so")
#: Programs that carry a CPython inside them.
_EMBEDDERS = re.compile(r"uwsgi.*|mod_wsgi.*|pyinstaller.*")

# Every Node since v4 knows where its own headers are to be had.
_NODE_RELEASE = re.compile(rb"/node-v(?P<version>\d{1,3}\.\d{1,3}\.\d{1,3})(?:-headers)?\.tar\.")
_NODE_HEADER = re.compile(rb"#define NODE_(MAJOR|MINOR|PATCH)_VERSION (\d+)")

_SCAN_BYTES = 1024 * 1024
_OVERLAP_BYTES = 64
#: Longer than any Node binary so far (a debug build); a larger file is not searched to its end.
_MAX_BINARY_BYTES = 1024**3


def runtime_of(exe: str, argv: Sequence[str]) -> Runtime | None:
    """The runtime of a process by its resolved executable, or by its first argument without one.

    `exe` is what /proc/PID/exe points at; it may end with " (deleted)".
    """
    name = os.path.basename(exe.removesuffix(" (deleted)") or (argv[0] if argv else ""))
    if _NODE.fullmatch(name):
        return Runtime.NODE
    if _PYTHON.fullmatch(name):
        return Runtime.PYTHON
    return None


def embeds_python(exe: str, folder: Path | str) -> bool:
    """Whether a program that is known to embed CPython has loaded one."""
    name = os.path.basename(exe.removesuffix(" (deleted)"))
    if not _EMBEDDERS.fullmatch(name):
        return False
    return _LIBPYTHON.search(procfs.read(f"{folder}/maps") or b"") is not None


def python_version(exe: str, folder: Path | str) -> str:
    """Major and minor version of a CPython, such as "3.12"; empty where nothing tells."""
    match = _PYTHON.fullmatch(os.path.basename(exe.removesuffix(" (deleted)")))
    if match and "." in (match["version"] or ""):
        return match["version"]
    loaded = _LIBPYTHON.search(procfs.read(f"{folder}/maps") or b"")
    return loaded["version"].decode() if loaded else ""


class NodeVersions:
    """The versions of Node binaries, each read once; a binary is known by device and inode."""

    #: More Node binaries than any one host runs.
    MAX_KNOWN = 100

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, int], str] = {}

    def version(self, folder: Path | str, exe: str) -> str:
        """The version of the Node that runs in `folder`; empty where its file cannot be read.

        Reads the headers that lie beside an official build, else searches the binary: about 0.1 s.
        """
        try:
            found = os.stat(f"{folder}/exe")
        except OSError:
            return ""
        key = (found.st_dev, found.st_ino, found.st_mtime_ns)
        if key not in self._known:
            if len(self._known) >= self.MAX_KNOWN:
                self._known.clear()
            version = _version_by_header(folder, exe) or _version_in_binary(f"{folder}/exe")
            self._known[key] = version
        return self._known[key]


def _version_by_header(folder: Path | str, exe: str) -> str:
    prefix = os.path.dirname(os.path.dirname(exe))
    header = procfs.read(f"{folder}/root{prefix}/include/node/node_version.h") or b""
    parts = {name: number.decode() for name, number in _NODE_HEADER.findall(header)}
    if len(parts) != 3:
        return ""
    return f"{parts[b'MAJOR']}.{parts[b'MINOR']}.{parts[b'PATCH']}"


def _version_in_binary(path: str) -> str:
    """Searched with a small buffer: a mapped file would count as the agent's own memory."""
    try:
        with open(path, "rb", buffering=0) as file:
            tail = b""
            for _ in range(_MAX_BINARY_BYTES // _SCAN_BYTES):
                block = file.read(_SCAN_BYTES)
                if not block:
                    break
                if match := _NODE_RELEASE.search(tail + block):
                    return match["version"].decode()
                tail = block[-_OVERLAP_BYTES:]
    except OSError:
        pass
    return ""
