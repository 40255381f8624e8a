"""The trend test: does a process's memory floor grow steadily, and has for long enough? Pure.

Looked at over five windows, from an hour to three weeks, because a fast leak must be told soon
and a slow one is not to be seen in a day. A window tells a leak where its line is significant and
none of the shapes that only look like one: a sawtooth (falls back), a step (rises once), warm-up
or a cache that fills (flattens), the daily load (was as high before, or follows the load).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from memwatch_agent.detection.series import DAY, HOUR, MINUTE, Point, Series
from memwatch_agent.detection.trend import Line, line, lowest_of


@dataclass(frozen=True, slots=True)
class Window:
    """One length of time to look at.

    Attributes:
        level: the row of `series.LEVELS` it reads.
        seconds: how far back. least_seconds: with less than this behind it, nothing is told.
        growth: of the floor, as a share of where it began; less is not told.
        blocks: neighbours of which the lowest is taken, each tried in turn.
    """

    level: int
    seconds: float
    least_seconds: float
    growth: float
    blocks: tuple[int, ...]


WINDOWS = (
    Window(0, HOUR, 30 * MINUTE, 0.25, (1, 2, 5)),
    Window(1, 6 * HOUR, 3 * HOUR, 0.04, (1, 2, 4)),
    Window(1, 12 * HOUR, 6 * HOUR, 0.04, (1, 2, 4)),
    Window(2, 4 * DAY, 12 * HOUR, 0.05, (1, 2, 4, 8)),
    Window(3, 21 * DAY, 3 * DAY, 0.05, (1, 2, 6)),
)

#: A process still loads code and fills its pools for this long after its start.
WARM_UP_SECONDS = 30 * MINUTE

#: Less than this is lost in the allocator's own ways.
LEAST_GROWTH_BYTES = 4 * 1024 * 1024

#: Standard deviations from "no growth": by chance once in some thousand independent looks.
LEAST_Z = 3.3

#: What falls back by more than this share of the growth is a sawtooth or noise.
MOST_DRAWDOWN = 0.35

#: One rise that is more than this share of the growth is a step.
MOST_JUMP = 0.45

#: The floor must rise above what was known before the window by this share of the growth.
LEAST_NEW = 0.3

#: A life of this length that has not grown by this share in its second half had settled.
_SETTLED_SECONDS = 12 * HOUR
_SETTLED_GROWTH = 0.02

#: A last third that grows at less than this share of the whole's speed flattens.
LEAST_LATE = 0.5


@dataclass(frozen=True, slots=True)
class Leak:
    """A steady growth of the floor.

    Attributes:
        window: what was looked at. line: what was found.
        since: from when on, by the samples' clock; the window's start, so perhaps earlier.
        points: how many floors it rests on.
    """

    window: Window
    line: Line
    since: float
    points: int


def leak(
    series: Series, now: float, ceiling: float = -math.inf, windows: Sequence[Window] = WINDOWS
) -> Leak | None:
    """The first window that tells a leak; None: there is none that one could believe.

    `ceiling` is the height at which the service's process before this one had settled
    (`settled_height`): what fills up to there is a cache.
    """
    if series.first_at is None:
        return None
    warm = series.first_at + WARM_UP_SECONDS
    for window in windows:
        points = series.since(window.level, max(now - window.seconds, warm))
        if len(points) < 6 or points[-1].at - points[0].at < window.least_seconds:
            continue
        if not _rises(points, window):
            continue
        before = series.highest_floor_before(points[0].at, warm)
        found = _told(points, window, max(before, ceiling))
        if found is not None:
            return found
    return None


def _rises(points: Sequence[Point], window: Window) -> bool:
    """A cheap look first: most processes do not grow."""
    quarter = max(1, len(points) // 4)
    first = min(point.floor for point in points[:quarter])
    last = min(point.floor for point in points[-quarter:])
    return last - first >= 0.5 * window.growth * first


def _told(points: Sequence[Point], window: Window, before: float) -> Leak | None:
    for block in window.blocks:
        lowest = lowest_of(points, block)
        found = line(lowest)
        if found and _believable(found, window) and _is_new(found, lowest, before):
            return Leak(window, found, lowest[0].at, len(lowest))
    return None


def _is_new(found: Line, lowest: Sequence[Point], before: float) -> bool:
    return lowest[-1].floor - before >= LEAST_NEW * found.growth


def settled_height(series: Series) -> float:
    """The highest floor of a process that had stopped growing; -inf for one that had not."""
    points = series.since(2, -math.inf)
    if not points or points[-1].at - points[0].at < _SETTLED_SECONDS:
        return -math.inf
    late = [point.floor for point in points[len(points) // 2 :]]
    quarter = max(1, len(late) // 4)
    if min(late[-quarter:]) > (1 + _SETTLED_GROWTH) * min(late[:quarter]):
        return -math.inf
    return max(point.floor for point in points)


def _believable(found: Line, window: Window) -> bool:
    return (
        found.growth >= max(LEAST_GROWTH_BYTES, window.growth * found.start)
        and found.z >= LEAST_Z
        and found.slope.low > 0
        and found.drawdown <= MOST_DRAWDOWN
        and found.jump <= MOST_JUMP
        and found.late >= LEAST_LATE
    )
