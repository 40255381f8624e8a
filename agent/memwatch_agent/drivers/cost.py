"""What a capture costs its target, read from /proc while it runs."""

import asyncio
import contextlib
import time
from types import TracebackType
from typing import Self

from memwatch_agent import procfs
from memwatch_agent.drivers.base import Process

#: V8 holds its peak for seconds; a look costs a few microseconds.
SAMPLE_SECONDS = 0.05


class CostMeter:
    """Samples a process's RSS and CPU time for the length of a block.

    All is 0 for a process that is not visible in /proc.
    """

    def __init__(self, target: Process) -> None:
        self._target = target
        self._cpu_before = self._cpu_millis = self._peak_bytes = 0
        self._started = time.monotonic()
        self.rss_before_bytes = 0

    async def __aenter__(self) -> Self:
        self._look()
        self.rss_before_bytes, self._cpu_before = self._peak_bytes, self._cpu_millis
        self._started = time.monotonic()
        self._task = asyncio.create_task(self._sample(), name=f"cost of {self._target.pid}")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    @property
    def cpu_millis(self) -> int:
        """CPU time since the block began."""
        self._look()
        return self._cpu_millis - self._cpu_before

    @property
    def extra_memory_bytes(self) -> int:
        """How far RSS has risen above its value at the beginning."""
        self._look()
        return self._peak_bytes - self.rss_before_bytes

    @property
    def rss_bytes(self) -> int:
        """RSS now."""
        now = self._stat()
        return now.rss_bytes if now else 0

    @property
    def duration_millis(self) -> float:
        """Wall time since the block began."""
        return (time.monotonic() - self._started) * 1000

    async def _sample(self) -> None:
        while True:
            self._look()
            await asyncio.sleep(SAMPLE_SECONDS)

    def _look(self) -> None:
        if now := self._stat():
            self._peak_bytes = max(self._peak_bytes, now.rss_bytes)
            self._cpu_millis = max(self._cpu_millis, now.cpu_ticks * 1000 // procfs.CLOCK_TICKS)

    def _stat(self) -> procfs.Stat | None:
        if not self._target.visible:
            return None
        now = procfs.stat(f"/proc/{self._target.pid}")
        return now if now and now.start_ticks == self._target.start_ticks else None
