"""How much memory a process's cgroup still has: files of cgroup v1 and v2, limits of every level.

The pure half finds the folders and does the arithmetic; `levels` reads the files.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from memwatch_agent import procfs

#: cgroup v1 writes "no limit" as the largest multiple of a page; anything near it means that.
_V1_NO_LIMIT = 1 << 60

#: No hierarchy is deeper; a longer path is somebody's loop.
_MAX_LEVELS = 32

_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Level:
    """One cgroup on the way from a process's own up to the root.

    Attributes:
        usage_bytes: memory charged to it.
        limit_bytes: None where this level has no limit.
        reclaimable_bytes: page cache that the kernel gives back before it kills anybody.
    """

    usage_bytes: int
    limit_bytes: int | None
    reclaimable_bytes: int

    @property
    def headroom_bytes(self) -> int | None:
        """What can still be taken under this level's limit; None where there is none."""
        if self.limit_bytes is None:
            return None
        return max(0, self.limit_bytes - self.usage_bytes + self.reclaimable_bytes)


@dataclass(frozen=True)
class Mount:
    """One mounted cgroup hierarchy: its folder, and which cgroup that folder shows."""

    version: int
    folder: str
    shows: str


def tightest(levels: Iterable[Level]) -> Level | None:
    """The limited level with the least headroom; None where nothing is limited."""
    limited = [level for level in levels if level.limit_bytes is not None]
    return min(limited, key=lambda level: level.headroom_bytes or 0, default=None)


def memory_path(cgroup: str) -> tuple[int, str] | None:
    """Version and path of the cgroup that a process's memory is charged to."""
    unified = None
    for line in cgroup.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if "memory" in controllers.split(","):
            return 1, path
        if number == "0" and not controllers:
            unified = (2, path)
    return unified


def mounts(mountinfo: str) -> list[Mount]:
    """The cgroup hierarchies among a process's mounts that account for memory."""
    found = []
    for line in mountinfo.splitlines():
        left, separator, right = line.partition(" - ")
        fields, kind = left.split(), right.split()
        if not separator or len(fields) < 5 or len(kind) < 3:
            continue
        if kind[0] == "cgroup2":
            found.append(Mount(2, _plain(fields[4]), _plain(fields[3])))
        elif kind[0] == "cgroup" and "memory" in kind[-1].split(","):
            found.append(Mount(1, _plain(fields[4]), _plain(fields[3])))
    return found


def folders(version: int, path: str, seen: Iterable[Mount]) -> list[str]:
    """The folders of a cgroup and of its visible parents, nearest first; [] where unseen."""
    for mount in seen:
        shows = mount.shows.rstrip("/")
        if mount.version != version or not (path + "/").startswith(shows + "/"):
            continue
        names = [name for name in path[len(shows) :].split("/") if name]
        if ".." in names:
            continue
        depths = range(len(names), -1, -1)
        return ["/".join([mount.folder, *names[:depth]]) for depth in depths][:_MAX_LEVELS]
    return []


def levels(proc: Path, pid: int | str) -> list[Level]:
    """The cgroups of a process that the agent can read, nearest first.

    The agent's own view is tried first; a cgroup that lies outside of it, such as that of a
    neighbour container, is read through the process's own root.
    """
    where = memory_path(_text(proc / str(pid) / "cgroup"))
    if where is None:
        return []
    for prefix, viewer in (("", "self"), (f"{proc}/{pid}/root", str(pid))):
        seen = mounts(_text(proc / viewer / "mountinfo"))
        read = [_level(where[0], prefix + folder) for folder in folders(*where, seen)]
        if found := [level for level in read if level is not None]:
            return found
    return []


def host_level(proc: Path) -> Level | None:
    """The machine itself as the outermost level; None where /proc/meminfo cannot be read."""
    fields = {}
    for line in _text(proc / "meminfo").splitlines():
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            fields[name] = int(value.split()[0]) * 1024
    if "MemTotal" not in fields or "MemAvailable" not in fields:
        return None
    total = fields["MemTotal"]
    return Level(total - fields["MemAvailable"], total, 0)


def _level(version: int, folder: str) -> Level | None:
    if version == 2:
        usage, limit = _number(f"{folder}/memory.current"), _number(f"{folder}/memory.max")
        cache = "inactive_file"
    else:
        usage = _number(f"{folder}/memory.usage_in_bytes")
        limit = _number(f"{folder}/memory.limit_in_bytes")
        limit = None if limit is None or limit >= _V1_NO_LIMIT else limit
        cache = "total_inactive_file"
    if usage is None:
        return None  # the root cgroup of v2 has no such file
    return Level(usage, limit, min(usage, _stat_field(f"{folder}/memory.stat", cache)))


def _number(path: str) -> int | None:
    text = (procfs.read(path) or b"").strip()
    return int(text) if text.isdigit() else None


def _stat_field(path: str, name: str) -> int:
    for line in (procfs.read(path) or b"").splitlines():
        key, _, value = line.partition(b" ")
        if key == name.encode() and value.isdigit():
            return int(value)
    return 0


def _text(path: Path) -> str:
    return os.fsdecode(procfs.read(path) or b"")


def _plain(field: str) -> str:
    """A field of mountinfo without its octal escapes."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), field)
