"""Whether the bytes that came are a whole `.heapsnapshot`, told without keeping them."""

import time

from memwatch_agent.drivers.base import Progress, Report, Sink

#: Enough for a person to see it move.
_REPORT_SECONDS = 0.25

#: Enough of the end to see the last brace behind any white space that V8 writes.
_TAIL_BYTES = 16


class Artifact:
    """Passes a snapshot's bytes on to its sink, and knows whether the first and last are right."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._head = b""
        self._tail = b""
        self.size_bytes = 0

    async def take(self, data: bytes) -> None:
        """Passes the next bytes on."""
        if not data:
            return
        if not self.size_bytes:
            self._head = data[:1]
        self._tail = (self._tail + data[-_TAIL_BYTES:])[-_TAIL_BYTES:]
        self.size_bytes += len(data)
        await self._sink(data)

    @property
    def complete(self) -> bool:
        """Whether it begins and ends like one JSON object."""
        return self._head == b"{" and self._tail.rstrip().endswith(b"}")


class Throttled:
    """Passes progress on a few times a second, however often the target tells it."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._next = 0.0

    def report(self, progress: Progress) -> None:
        """Passes it on, or leaves it out."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _REPORT_SECONDS
            self._report(progress)
