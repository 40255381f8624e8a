"""One figure of one process over time, in bounded memory: floors of ever longer buckets.

The floor (the least of a bucket) is what a garbage collector leaves: peaks between collections
are not in it. Times are of a clock that is never set (monotonic), so that a step of the wall
clock moves nothing.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR


@dataclass(frozen=True, slots=True)
class Point:
    """One bucket of samples.

    Attributes:
        at: when its least sample was taken, in seconds.
        floor: that sample. peak: the greatest one.
        load: work done per second in the bucket (cores used, or requests); NaN: not known.
    """

    at: float
    floor: float
    peak: float
    load: float


@dataclass(frozen=True, slots=True)
class Level:
    """How one row of buckets is kept: each so many seconds long, so many of them."""

    seconds: float
    count: int


#: An hour by minutes, half a day by five minutes, four days by half hours, three weeks by four
#: hours: 560 points, some 80 KiB, for each figure of a process.
LEVELS = (
    Level(MINUTE, 60),
    Level(5 * MINUTE, 144),
    Level(30 * MINUTE, 192),
    Level(4 * HOUR, 126),
)


@dataclass(slots=True)
class _Bucket:
    """The bucket that is being filled."""

    number: int
    at: float
    floor: float
    peak: float
    first_at: float
    first_work: float
    last_at: float
    last_work: float

    @property
    def point(self) -> Point:
        span = self.last_at - self.first_at
        load = (self.last_work - self.first_work) / span if span > 0 else math.nan
        return Point(self.at, self.floor, self.peak, load)


@dataclass(slots=True)
class _Row:
    """The buckets of one level, oldest first, and the one being filled."""

    level: Level
    points: deque[Point] = field(init=False)
    filling: _Bucket | None = None

    def __post_init__(self) -> None:
        self.points = deque(maxlen=self.level.count)

    def add(self, at: float, value: float, work: float) -> None:
        number = int(at // self.level.seconds)
        bucket = self.filling
        if bucket is None or number > bucket.number:
            if bucket is not None:
                self.points.append(bucket.point)
            # The work of a bucket is counted from the end of the one before, but not over a gap.
            follows = bucket is not None and number == bucket.number + 1
            first = (bucket.last_at, bucket.last_work) if bucket and follows else (at, work)
            self.filling = _Bucket(number, at, value, value, *first, at, work)
            return
        bucket.last_at, bucket.last_work = at, work
        bucket.peak = max(bucket.peak, value)
        if value < bucket.floor:
            bucket.at, bucket.floor = at, value


class Series:
    """The samples of one figure of one process, since it was first seen."""

    def __init__(self, levels: Sequence[Level] = LEVELS) -> None:
        self._rows = [_Row(level) for level in levels]
        self.first_at: float | None = None
        self.last_at = -math.inf
        self.latest = math.nan

    def add(self, at: float, value: float, work: float = math.nan) -> None:
        """Takes a sample, `work` counted from the process's start; one not newer is left out."""
        if not (at > self.last_at and math.isfinite(value)):
            return
        if self.first_at is None:
            self.first_at = at
        self.last_at, self.latest = at, value
        for row in self._rows:
            row.add(at, value, work)

    def since(self, level: int, at: float) -> list[Point]:
        """The finished buckets of a level from a time on, oldest first."""
        return [point for point in self._rows[level].points if point.at >= at]

    def highest_floor_before(self, at: float, after: float) -> float:
        """The highest floor of finished buckets of the two longest levels in a span; -inf: none."""
        return max(
            (point.floor for point in self._coarse() if after <= point.at < at), default=-math.inf
        )

    def _coarse(self) -> Iterator[Point]:
        for row in self._rows[-2:]:
            yield from row.points
