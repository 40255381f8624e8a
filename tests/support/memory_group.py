"""A real memory cgroup (version 1) for a test: its limit, and what the kernel killed in it."""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_HIERARCHY = Path("/sys/fs/cgroup/memory")


@contextlib.contextmanager
def memory_group() -> Iterator[Path]:
    """A new group's folder for the length of the block; the test is skipped where none can be."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="memwatch-test-", dir=_HIERARCHY))
    except OSError as cause:
        pytest.skip(f"no memory cgroup (v1) can be made here: {cause.strerror}")
    yield folder
    for _ in range(50):  # its last process may be ending
        with contextlib.suppress(OSError):
            folder.rmdir()
            return
        time.sleep(0.1)


def allow(group: Path, headroom: int) -> None:
    """Sets a group's limit so much above what it uses."""
    used = int((group / "memory.usage_in_bytes").read_text())
    (group / "memory.limit_in_bytes").write_text(str((used + headroom) // 4096 * 4096))


def oom_kills(group: Path) -> int:
    """How many processes of a group the kernel has killed for memory."""
    words = dict(line.split() for line in (group / "memory.oom_control").read_text().splitlines())
    return int(words["oom_kill"])
