"""Which inspectors we have opened, on disk: so that an agent killed half-way can shut them.

One empty file for each, `inspector-{pid}-{start_ticks}`, written before the signal is
sent and removed when the port is proven shut.
"""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from memwatch_agent import procfs
from memwatch_agent.drivers.base import Process, Runtime

_NAME = re.compile(r"inspector-(\d{1,10})-(\d{1,20})")


@dataclass(frozen=True)
class Marker:
    """The file that says that we have opened a process's inspector."""

    path: Path
    pid: int
    start_ticks: int

    def write(self) -> None:
        """Puts the marker down.

        Raises:
            OSError: the state directory cannot be written.
        """
        self.path.touch(mode=0o600)

    def remove(self) -> None:
        """Takes the marker away; it may be gone already."""
        with contextlib.suppress(OSError):
            self.path.unlink()

    def process(self) -> Process:
        """The process as it is now, as far as shutting its inspector needs it."""
        folder = f"/proc/{self.pid}"
        return Process(
            self.pid,
            self.start_ticks,
            Runtime.NODE,
            argv=tuple(procfs.strings(procfs.read(f"{folder}/cmdline"))),
            environ=procfs.environ(folder, ("NODE_OPTIONS",)) or {},
        )

    @property
    def written_seconds(self) -> float:
        """Unix time at which it was written; 0 where it is gone."""
        try:
            return self.path.stat().st_mtime
        except OSError:
            return 0.0

    @property
    def exists(self) -> bool:
        """Whether it lies there."""
        return self.path.exists()


def marker(state_dir: Path, pid: int, start_ticks: int) -> Marker:
    """The marker of one process, whether it exists or not."""
    return Marker(state_dir / f"inspector-{pid}-{start_ticks}", pid, start_ticks)


def leftovers(state_dir: Path) -> Iterator[Marker]:
    """Every marker that lies there."""
    try:
        paths = sorted(state_dir.iterdir())
    except OSError:
        return
    for path in paths:
        if match := _NAME.fullmatch(path.name):
            yield Marker(path, int(match[1]), int(match[2]))
