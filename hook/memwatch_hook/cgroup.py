"""How much memory this process may still take: its cgroup's limit less what is used (v1, v2)."""

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


class Memory:
    """The limit in force, found once, and how close it is; `limit` is None where there is none."""

    def __init__(self, root: str = "") -> None:
        self.limit: int | None = None
        self._folder = ""
        self._files = _V2
        for files in (_V2, _V1):
            for folder in _folders(root, files[0]):
                limit = _number(f"{folder}/{files[1]}")
                if limit is not None and limit < (self.limit or UNLIMITED):
                    self.limit, self._folder, self._files = limit, folder, files

    def headroom(self) -> int | None:
        """Bytes left below the limit; page cache that can be dropped is free. None: no limit."""
        if self.limit is None:
            return None
        used = _number(f"{self._folder}/{self._files[2]}")
        if used is None:
            return None
        return self.limit - used + self._reclaimable()

    def _reclaimable(self) -> int:
        try:
            with open(f"{self._folder}/memory.stat") as lines:
                for line in lines:
                    name, _, value = line.partition(" ")
                    if name == self._files[3]:
                        return int(value)
        except (OSError, ValueError):
            pass
        return 0


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
