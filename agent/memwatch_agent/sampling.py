"""Reads the memory of one process and of its cgroup; a figure that cannot be read is absent."""

from collections.abc import Callable
from pathlib import Path

from memwatch_agent import cgroups, procfs
from memwatch_agent.drivers.base import HeapFigures
from memwatch_proto.v1 import common_pb2

#: Reading PSS walks the page tables, some 20 ms per GiB with the process's memory map locked:
#: above this size it is not cheap for the target, and left out.
MAX_PSS_RSS_BYTES = 256 * 1024 * 1024


class Sampler:
    """Takes memory samples out of one /proc."""

    def __init__(self, proc: Path, now: Callable[[], float]) -> None:
        """`now` tells the Unix time in seconds."""
        self._proc = proc
        self.now = now

    def sample(
        self, pid: int, start_ticks: int, heap: HeapFigures | None = None
    ) -> common_pb2.MemorySample | None:
        """The process's memory now; None where it has ended. Reads /proc."""
        folder = self._proc / str(pid)
        stat = procfs.stat(folder)
        if stat is None or stat.ended or stat.start_ticks != start_ticks:
            return None
        sample = common_pb2.MemorySample(
            rss_bytes=stat.rss_bytes,
            cpu_millis=stat.cpu_ticks * 1000 // procfs.CLOCK_TICKS,
            pss_bytes=self._pss(folder) if stat.rss_bytes <= MAX_PSS_RSS_BYTES else None,
        )
        self._add_cgroup(sample, pid)
        return self._finished(sample, heap)

    def unseen(self, heap: HeapFigures | None) -> common_pb2.MemorySample:
        """What can be said of a process that only its hook knows of."""
        return self._finished(common_pb2.MemorySample(), heap)

    def _finished(
        self, sample: common_pb2.MemorySample, heap: HeapFigures | None
    ) -> common_pb2.MemorySample:
        sample.sample_time.FromMilliseconds(int(self.now() * 1000))
        if heap is not None and heap.used_bytes is not None:
            sample.heap_used_bytes = heap.used_bytes
        if heap is not None and heap.limit_bytes is not None:
            sample.heap_limit_bytes = heap.limit_bytes
        if heap is not None and heap.external_bytes is not None:
            sample.external_bytes = heap.external_bytes
        if heap is not None and heap.resources is not None:
            sample.resources = heap.resources
        return sample

    def _add_cgroup(self, sample: common_pb2.MemorySample, pid: int) -> None:
        levels = cgroups.levels(self._proc, pid)
        if not levels:
            return
        tightest = cgroups.tightest(levels)
        sample.cgroup_usage_bytes = (tightest or levels[0]).usage_bytes
        if tightest is not None and tightest.limit_bytes is not None:
            sample.cgroup_limit_bytes = tightest.limit_bytes

    @staticmethod
    def _pss(folder: Path) -> int | None:
        for line in (procfs.read(folder / "smaps_rollup") or b"").splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
        return None
