"""How long until a growing process meets its limit. Pure."""

import math
from dataclasses import dataclass

from memwatch_agent.detection.trend import Slope


@dataclass(frozen=True, slots=True)
class TimeLeft:
    """Seconds until the limit at the slope found, and at the fastest and slowest it may be."""

    seconds: float
    soonest: float
    latest: float


def time_left(usage: float, limit: float, slope: Slope) -> TimeLeft | None:
    """When `usage` meets `limit`, both in bytes; None where it does not grow."""
    if slope.per_second <= 0:
        return None
    room = max(0.0, limit - usage)
    return TimeLeft(_over(room, slope.per_second), _over(room, slope.high), _over(room, slope.low))


def _over(room: float, per_second: float) -> float:
    return room / per_second if per_second > 0 else math.inf
