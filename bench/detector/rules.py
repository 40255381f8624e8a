"""Three rules on the same samples: ours, the ancestor's threshold, and a least-squares line.

Each is asked every five minutes, and says whether it now sees a leak in the process that runs.
"""

import math
from collections import deque
from statistics import fmean
from typing import Protocol

from bench.detector.corpus import Sample
from memwatch_agent.detection.leaks import leak, settled_height
from memwatch_agent.detection.series import Series
from memwatch_agent.detection.standing import Standing

MIB = 1024 * 1024
LOOK_SECONDS = 300.0


class Rule(Protocol):
    """Sees samples, and says what stands."""

    def take(self, sample: Sample) -> None:
        """One sample, in order."""

    def look(self, at: float) -> bool:
        """Whether a leak is told now."""


class Ours:
    """The trend test with hysteresis, as the agent runs it."""

    def __init__(self) -> None:
        self._process = -1
        self._series = Series()
        self._ceiling = -math.inf
        self._standing = Standing()

    def take(self, sample: Sample) -> None:
        """One sample; a new process begins anew, but knows where the one before settled."""
        if sample.process != self._process:
            self._process = sample.process
            self._ceiling = max(self._ceiling, settled_height(self._series))
            self._series, self._standing = Series(), Standing()
        self._series.add(sample.at, sample.rss, sample.cpu)

    def look(self, at: float) -> bool:
        """Whether the finding stands."""
        self._standing = self._standing.looked(leak(self._series, at, self._ceiling) is not None)
        return self._standing.stands


class Ancestor:
    """Memory grew by more than 20 % since the last look, or since the first one of the process."""

    def __init__(self, since_first: bool) -> None:
        self._since_first = since_first
        self._process = -1
        self._first = self._last = self._now = math.nan

    def take(self, sample: Sample) -> None:
        """One sample."""
        if sample.process != self._process:
            self._process, self._first, self._last = sample.process, sample.rss, sample.rss
        self._now = sample.rss

    def look(self, at: float) -> bool:
        """Whether it grew by a fifth."""
        before = self._first if self._since_first else self._last
        self._last = self._now
        return self._now > 1.2 * before


class LeastSquares:
    """A line through six hours: it rises by 4 % and explains nine tenths of what memory did."""

    def __init__(self) -> None:
        self._process = -1
        self._window: deque[tuple[float, float]] = deque(maxlen=360)

    def take(self, sample: Sample) -> None:
        """One sample."""
        if sample.process != self._process:
            self._process = sample.process
            self._window.clear()
        self._window.append((sample.at, sample.rss))

    def look(self, at: float) -> bool:
        """Whether the line rises."""
        times, values = zip(*self._window, strict=True)
        if times[-1] - times[0] < 3 * 3600:
            return False
        mean_t, mean_v = fmean(times), fmean(values)
        tt = sum((t - mean_t) ** 2 for t in times)
        vv = sum((v - mean_v) ** 2 for v in values)
        tv = sum((t - mean_t) * (v - mean_v) for t, v in self._window)
        growth = tv / tt * (times[-1] - times[0])
        rises = growth > max(4 * MIB, 0.04 * values[0])
        return bool(rises and tv * tv > 0.9 * tt * vv)
