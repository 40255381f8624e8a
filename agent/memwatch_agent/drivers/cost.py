"""What a capture costs its target, read from /proc while it runs."""

import asyncio
import contextlib
import time
from types import TracebackType
from typing import Self

from memwatch_agent.drivers import procfs

#: V8 holds its peak for seconds; a look costs a few microseconds.
SAMPLE_SECONDS = 0.05


class CostMeter:
    """Samples a process's RSS and CPU time for the length of a block."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._cpu_before = self._cpu_millis = self._peak_bytes = 0
        self._started = time.monotonic()
        self.rss_before_bytes = 0

    async def __aenter__(self) -> Self:
        self.rss_before_bytes = self._peak_bytes = procfs.rss_bytes(self._pid)
        self._cpu_before = self._cpu_millis = self._cpu_now()
        self._started = time.monotonic()
        self._task = asyncio.create_task(self._sample(), name=f"cost of {self._pid}")
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
        return procfs.rss_bytes(self._pid)

    @property
    def duration_millis(self) -> float:
        """Wall time since the block began."""
        return (time.monotonic() - self._started) * 1000

    async def _sample(self) -> None:
        while True:
            self._look()
            await asyncio.sleep(SAMPLE_SECONDS)

    def _look(self) -> None:
        self._peak_bytes = max(self._peak_bytes, procfs.rss_bytes(self._pid))
        self._cpu_millis = max(self._cpu_millis, self._cpu_now())

    def _cpu_now(self) -> int:
        stat = procfs.stat(self._pid)
        return stat.cpu_millis if stat else 0
