"""Says beforehand how much memory a comparison needs, and how much there is.

The figures were measured on V8 heaps of 30 to 440 MB (2.5 to 3.7 bytes of memory for each
byte of the largest file, beside 150 MB of the interpreter and its libraries) and on Python's of
200 and 400 MB (4.6 bytes); they are rounded up. A worker is
killed by its own limit where they are wrong.
"""

from collections.abc import Sequence
from pathlib import Path

#: Python, numpy and the compiled kernels, before the first node is read.
BASE_BYTES = 256 * 1024**2

#: Memory for each byte of the largest snapshot: its graph, dominators, and who holds what.
GRAPH_FACTOR = 5.0

#: Memory for each byte of the others, of which only ids, classes and holders are kept.
LEDGER_FACTOR = 0.7

#: The share of the machine that analysis may use where nobody says.
DEFAULT_SHARE = 0.75

_CGROUP_FILES = (
    ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.current"),
    (
        "sys/fs/cgroup/memory/memory.limit_in_bytes",
        "sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)


def needed_bytes(raw_sizes: Sequence[int]) -> int:
    """What comparing snapshots of these sizes (before compression) is expected to need."""
    largest = max(raw_sizes, default=0)
    rest = sum(raw_sizes) - largest
    return BASE_BYTES + int(GRAPH_FACTOR * largest + LEDGER_FACTOR * rest)


def default_memory(root: Path = Path("/")) -> int:
    """What one analysis may use where nobody says: a share of the machine, or of our cgroup."""
    return int(DEFAULT_SHARE * min(_meminfo(root, "MemTotal"), _cgroup(root)[0]))


def free_bytes(root: Path = Path("/")) -> int:
    """What is free now on the machine, or under our cgroup's limit."""
    limit, used = _cgroup(root)
    return max(0, min(_meminfo(root, "MemAvailable"), limit - used))


def _meminfo(root: Path, name: str) -> int:
    """A figure of /proc/meminfo; as good as endless where there is none (not Linux)."""
    try:
        for line in (root / "proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return 1 << 62


def _cgroup(root: Path) -> tuple[int, int]:
    """Limit and use of our cgroup, as a container sees it; no limit where there is none.

    Cached files that nobody uses are not counted: they give way.
    """
    for limit_file, used_file in _CGROUP_FILES:
        try:
            limit = (root / limit_file).read_text(encoding="ascii").strip()
            used = (root / used_file).read_text(encoding="ascii").strip()
            if limit != "max":
                cache = _inactive_file((root / used_file).with_name("memory.stat"))
                return int(limit), max(0, int(used) - cache)
        except (OSError, ValueError):
            continue
    return 1 << 62, 0


def _inactive_file(stat: Path) -> int:
    try:
        lines = stat.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    figures = dict(line.split()[:2] for line in lines if len(line.split()) >= 2)
    return int(figures.get("total_inactive_file", figures.get("inactive_file", "0")))
