"""The memory of a process and its children, by a memory cgroup of their own (v1), else by PSS."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

SAMPLE_SECONDS = 0.002
V1 = Path("/sys/fs/cgroup/memory")


class Room:
    """Samples how much anonymous memory a group of processes has; `peak` since the last reset."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._pids: list[int] = []
        self.peak = 0
        self._stop = threading.Event()

    @property
    def kind(self) -> str:
        """How it is measured."""
        return "cgroup" if self._folder else "PSS"

    def add(self, pid: int) -> None:
        """Moves a process, and what it will fork, into the group."""
        self._pids.append(pid)
        if self._folder:
            (self._folder / "cgroup.procs").write_text(str(pid))

    def now(self) -> int:
        """Bytes now."""
        if self._folder:
            for line in (self._folder / "memory.stat").read_text().splitlines():
                if line.startswith("total_rss "):
                    return int(line.split()[1])
        return sum(_pss(pid) for pid in self._with_children())

    @contextlib.contextmanager
    def peaking(self) -> Iterator["Room"]:
        """Follows the memory for the length of the block."""
        self.peak = self.now()
        self._stop.clear()
        thread = threading.Thread(target=self._follow)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()

    def _follow(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            with contextlib.suppress(OSError):
                self.peak = max(self.peak, self.now())

    def _with_children(self) -> list[int]:
        found = list(self._pids)
        for pid in self._pids:
            for task in Path(f"/proc/{pid}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
        return found


@contextlib.contextmanager
def room() -> Iterator[Room]:
    """A group for the length of the block; its processes must have ended by then."""
    folder = V1 / f"memwatch-bench-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError:
        yield Room(None)
        return
    try:
        yield Room(folder)
    finally:
        for _ in range(50):
            with contextlib.suppress(OSError):
                folder.rmdir()
                break
            time.sleep(0.1)


def _pss(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
