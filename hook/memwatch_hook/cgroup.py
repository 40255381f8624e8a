"""How much memory this process may still take: limits of its cgroups (v1, v2), and the machine."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# A container's files are at the top of what it sees; elsewhere the process's own group is named.
_V2 = ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file")
_V1 = (
    "/sys/fs/cgroup/memory",
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    "total_inactive_file",
)
UNLIMITED = 1 << 60  # what v1 calls "no limit" is a huge number

# A walk ends itself when so little is left below a limit, or an eighth of a small limit: the app
# needs it more.
KEEP_FREE_BYTES = 48 << 20
_KEEP_FREE_PART = 8


class Level:
    """A group that has a limit: where its figures stand."""

    def __init__(self, limit: int, usage: str, stat: str, reclaimable: str) -> None:
        self.limit = limit
        self.usage = usage
        self.stat = stat
        self.reclaimable = reclaimable  # the line of `stat` with page cache that can be dropped

    def headroom(self) -> int | None:
        """Bytes left below the limit; page cache that can be dropped is free. None: not known."""
        used = _number(self.usage)
        return None if used is None else self.limit - used + self._reclaimable()

    def _reclaimable(self) -> int:
        try:
            with open(self.stat) as lines:
                for line in lines:
                    name, _, value = line.partition(" ")
                    if name == self.reclaimable:
                        return int(value)
        except (OSError, ValueError):
            pass
        return 0


class Memory:
    """The limits in force, found once, and how close they are.

    `limit` is the least of them, None where there is none. `keep` is what a walk leaves to the app.
    """

    def __init__(self, root: str = "") -> None:
        self.levels = [level for files in (_V2, _V1) for level in _levels(root, *files)]
        self.limit = min((level.limit for level in self.levels), default=None)
        self.keep = min(KEEP_FREE_BYTES, (self.limit or UNLIMITED) // _KEEP_FREE_PART)
        self._root = root

    def headroom(self) -> int | None:
        """Bytes left below the nearest limit, or of the machine. None: not known."""
        found = [level.headroom() for level in self.levels]
        found.append(_available(self._root))
        return min((left for left in found if left is not None), default=None)


def _levels(root: str, top: str, limit: str, usage: str, reclaimable: str) -> Iterator[Level]:
    for folder in _folders(root, top):
        bytes_ = _number(f"{folder}/{limit}")
        if bytes_ is not None and bytes_ < UNLIMITED:
            yield Level(bytes_, f"{folder}/{usage}", f"{folder}/memory.stat", reclaimable)


def _available(root: str) -> int | None:
    try:
        with open(f"{root}/proc/meminfo") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _folders(root: str, top: str) -> Iterator[str]:
    """The group of this process and those above it, as far as they are to be seen."""
    base = root + top
    yield base
    try:
        with open(f"{root}/proc/self/cgroup") as lines:
            groups = [line.rstrip("\n").split(":", 2) for line in lines]
    except OSError:
        return
    for group in groups:
        if len(group) == 3 and (group[1] == "" or "memory" in group[1].split(",")):
            folder = base
            for part in group[2].strip("/").split("/"):
                folder = f"{folder}/{part}"
                yield folder


def _number(path: str) -> int | None:
    try:
        with open(path) as file:
            return int(file.read())
    except (OSError, ValueError):  # "max" is no number and no limit
        return None
