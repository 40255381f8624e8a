"""Is a row of floors a steady growth? Tests for a line, and for what only looks like one. Pure.

The slope is Theil and Sen's (the median of the slopes of all pairs), which a few wild points do
not move; whether it is there at all is Kendall's test with the variance widened for
autocorrelation (Hamed and Rao 1998, by the lag-one coefficient), because memory now is much like
memory a minute ago, and noise that wanders would else pass for a trend.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from memwatch_agent.detection.series import Point


@dataclass(frozen=True, slots=True)
class Slope:
    """Growth per second, and the interval that holds it in 95 of 100 cases."""

    per_second: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Line:
    """A row of floors as a line.

    Attributes:
        slope: of the floors, in bytes per second, load taken out.
        z: how many standard deviations from no growth at all.
        growth: in bytes from the first to the last point, by the slope.
        start: the line's height at the first point, in bytes.
        drawdown: the deepest fall below what was reached before, as a share of the growth.
        jump: the greatest rise between two neighbours, as a share of the growth.
        late: the slope of the last third as a share of the whole's: 1 for a line, 0 where it ended.
    """

    slope: Slope
    z: float
    growth: float
    start: float
    drawdown: float
    jump: float
    late: float


def lowest_of(points: Sequence[Point], block: int) -> list[Point]:
    """The lowest point of each `block` neighbours; the newest block is whole."""
    rest = len(points) % block
    starts = range(rest, len(points), block)
    return [min(points[at : at + block], key=lambda point: point.floor) for at in starts]


def line(points: Sequence[Point]) -> Line | None:
    """The line through the floors; None where they are too few, or nothing like a rising line."""
    if len(points) < 6 or points[-1].at <= points[0].at:
        return None
    times = [point.at - points[0].at for point in points]
    floors, sure = without_load(times, [p.floor for p in points], [p.load for p in points])
    # Least squares costs one pass where pairs cost n²: most rows end here.
    if _rough_slope(floors, times) * times[-1] <= _drawdown(floors):
        return None
    slope = theil_sen(times, floors, spread(floors, times))
    growth = slope.per_second * times[-1]
    if growth <= 0:
        return None
    start = median(f - slope.per_second * t for f, t in zip(floors, times, strict=True))
    z = kendall_z(floors, times) * sure
    third = max(3, len(floors) // 3)
    late = theil_sen(times[-third:], floors[-third:], 1.0).per_second / slope.per_second
    rises = [b - a for a, b in itertools.pairwise(floors)]
    return Line(slope, z, growth, start, _drawdown(floors) / growth, max(rises) / growth, late)


def without_load(
    times: Sequence[float], floors: Sequence[float], loads: Sequence[float]
) -> tuple[list[float], float]:
    """The floors as they were at the mean load, and how far time and load can be told apart (0–1).

    Least squares of the floor on time and load together; a load that lowers memory is chance. Where
    the load is not known, or did not change, nothing is taken out.
    """
    if any(math.isnan(load) for load in loads):
        return list(floors), 1.0
    mean_t, mean_f, mean_l = fmean(times), fmean(floors), fmean(loads)
    tt = sum((t - mean_t) ** 2 for t in times)
    ll = sum((load - mean_l) ** 2 for load in loads)
    if ll <= (0.05 * mean_l) ** 2 * len(loads):
        return list(floors), 1.0
    rows = list(zip(times, floors, loads, strict=True))
    tl = sum((t - mean_t) * (load - mean_l) for t, _, load in rows)
    tf = sum((t - mean_t) * (f - mean_f) for t, f, _ in rows)
    lf = sum((load - mean_l) * (f - mean_f) for _, f, load in rows)
    apart = 1 - tl * tl / (tt * ll)
    if apart < 1e-6:
        return list(floors), 0.0
    per_load = max(0.0, (lf - tl * tf / tt) / (ll * apart))
    return [f - per_load * (load - mean_l) for _, f, load in rows], math.sqrt(apart)


def theil_sen(times: Sequence[float], values: Sequence[float], widen: float) -> Slope:
    """The median slope of all pairs, with Sen's interval by Kendall's variance times `widen`."""
    n = len(values)
    slopes = sorted(
        (values[j] - values[i]) / (times[j] - times[i])
        for i in range(n)
        for j in range(i + 1, n)
        if times[j] > times[i]
    )
    if not slopes:
        return Slope(0.0, 0.0, 0.0)
    half = 1.96 * math.sqrt(_kendall_variance(n) * widen)
    low = max(0, math.floor((len(slopes) - half) / 2))
    high = min(len(slopes) - 1, math.ceil((len(slopes) + half) / 2))
    return Slope(median(slopes), slopes[low], slopes[high])


def kendall_z(values: Sequence[float], times: Sequence[float]) -> float:
    """Kendall's S in standard deviations, widened for autocorrelation."""
    n = len(values)
    s = sum(
        (values[j] > values[i]) - (values[j] < values[i]) for i in range(n) for j in range(i + 1, n)
    )
    return s / math.sqrt(_kendall_variance(n) * spread(values, times))


def spread(values: Sequence[float], times: Sequence[float]) -> float:
    """By what a variance grows as neighbours are alike, the line taken out; at least 1."""
    slope = _rough_slope(values, times)
    rest = [v - slope * t for v, t in zip(values, times, strict=True)]
    mean = fmean(rest)
    rest = [r - mean for r in rest]
    total = sum(r * r for r in rest)
    if total <= 0:
        return 1.0
    alike = sum(a * b for a, b in itertools.pairwise(rest)) / total
    alike = min(max(alike, 0.0), 0.95)
    return (1 + alike) / (1 - alike)


def _rough_slope(values: Sequence[float], times: Sequence[float]) -> float:
    mean_v, mean_t = fmean(values), fmean(times)
    over = sum((t - mean_t) ** 2 for t in times)
    return sum((t - mean_t) * (v - mean_v) for t, v in zip(times, values, strict=True)) / over


def _kendall_variance(n: int) -> float:
    return n * (n - 1) * (2 * n + 5) / 18


def _drawdown(values: Sequence[float]) -> float:
    """The deepest fall below the highest value before."""
    top, deepest = -math.inf, 0.0
    for value in values:
        top = max(top, value)
        deepest = max(deepest, top - value)
    return deepest
