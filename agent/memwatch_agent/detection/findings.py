"""What the detector says of a process: kind, how bad, the numbers, and what to do next. Pure.

Findings of the trend test (`leaks.py`) and of the ancestor's thresholds: growth since the last
look, memory above a mark, more objects of a type than before.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from memwatch_agent.detection.leaks import Leak
from memwatch_agent.detection.limits import TimeLeft, time_left
from memwatch_agent.detection.series import DAY, HOUR


class Kind(enum.StrEnum):
    """What was seen."""

    #: The floor grows steadily.
    LEAK = "memory_leak"
    #: Memory grew by more than the threshold between two looks.
    GROWTH = "memory_growth"
    #: Memory is above a mark.
    HIGH = "high_memory"
    #: A type has more objects than the threshold allows.
    TYPE_GROWTH = "type_growth"


class Severity(enum.IntEnum):
    """How bad: what to do this week, today, now."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


@dataclass(frozen=True, slots=True)
class Marks:
    """The settings of the ancestor's thresholds, with its defaults.

    Attributes:
        growth: of memory between two looks, as a share; 0: not looked at.
        memory_bytes: what counts as high where there is no limit; with one, see `HIGH_OF_LIMIT`.
        type_growth: of a type's objects between two looks, as a share.
        least_objects: fewer objects of a type are not looked at.
    """

    growth: float = 0.2
    memory_bytes: int = 100 * 1000 * 1000
    type_growth: float = 1.0
    least_objects: int = 1_000


#: With a limit known, high is a share of it, not a number of bytes.
HIGH_OF_LIMIT = 0.8
_CRITICAL_OF_LIMIT = 0.95

#: Time to the limit, and the severity up to it.
_BY_TIME = ((2 * HOUR, Severity.CRITICAL), (12 * HOUR, Severity.HIGH), (3 * DAY, Severity.MEDIUM))

#: Growth per day as a share, and the severity from it, where no limit is known.
_BY_GROWTH = ((5.0, Severity.CRITICAL), (1.0, Severity.HIGH), (0.2, Severity.MEDIUM))


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing seen.

    Attributes:
        kind: what. severity: how bad. subject: the type's name for TYPE_GROWTH, else the figure.
        since: from when on, by the samples' clock, in seconds.
        evidence: numbers by name, base units (bytes, seconds, shares).
    """

    kind: Kind
    severity: Severity
    subject: str
    since: float
    evidence: Mapping[str, float] = field(default_factory=dict)


def of_leak(found: Leak, figure: str, usage: float, limit: float | None) -> Finding:
    """The finding of a steady growth of `figure`, now at `usage` bytes."""
    line = found.line
    left = time_left(usage, limit, line.slope) if limit else None
    evidence = {
        "growth_bytes": line.growth,
        "growth_ratio": line.growth / line.start if line.start > 0 else 0.0,
        "bytes_per_hour": line.slope.per_second * HOUR,
        "bytes_per_hour_low": line.slope.low * HOUR,
        "bytes_per_hour_high": line.slope.high * HOUR,
        "window_seconds": found.window.seconds,
        "floors": found.points,
        "z": line.z,
        "usage_bytes": usage,
    }
    if limit and left:
        evidence |= {
            "limit_bytes": limit,
            "seconds_to_limit": left.seconds,
            "seconds_to_limit_low": left.soonest,
            "seconds_to_limit_high": left.latest,
        }
    per_day = line.slope.per_second * DAY / max(usage, 1.0)
    return Finding(Kind.LEAK, _severity(left, per_day), figure, found.since, evidence)


def _severity(left: TimeLeft | None, per_day: float) -> Severity:
    if left is not None:
        return next((s for seconds, s in _BY_TIME if left.seconds <= seconds), Severity.LOW)
    return next((s for share, s in _BY_GROWTH if per_day >= share), Severity.LOW)


def of_growth(before: float, now: float, since: float, marks: Marks) -> Finding | None:
    """Growth between two looks beyond the threshold, as the ancestor told it."""
    if before <= 0 or not marks.growth or (now - before) / before <= marks.growth:
        return None
    share = (now - before) / before
    bad = Severity.MEDIUM if share > 2.5 * marks.growth else Severity.LOW
    evidence = {"growth_bytes": now - before, "growth_ratio": share, "threshold": marks.growth}
    return Finding(Kind.GROWTH, bad, "rss", since, evidence)


def of_height(usage: float, limit: float | None, since: float, marks: Marks) -> Finding | None:
    """Memory above the mark: a share of the limit, or the ancestor's bytes where there is none."""
    mark = limit * HIGH_OF_LIMIT if limit else float(marks.memory_bytes)
    if usage <= mark:
        return None
    evidence = {"usage_bytes": usage, "threshold_bytes": mark}
    bad = Severity.LOW
    if limit:
        evidence["limit_bytes"] = limit
        bad = Severity.CRITICAL if usage >= _CRITICAL_OF_LIMIT * limit else Severity.HIGH
    return Finding(Kind.HIGH, bad, "rss", since, evidence)


def of_types(
    before: Mapping[str, int], now: Mapping[str, int], since: float, marks: Marks
) -> Sequence[Finding]:
    """Types with more objects than the threshold allows, the greatest growth first."""
    found = []
    for name, count in now.items():
        old = before.get(name, 0)
        if count < marks.least_objects or old <= 0 or (count - old) / old <= marks.type_growth:
            continue
        share = (count - old) / old
        bad = Severity.MEDIUM if share > 4 * marks.type_growth else Severity.LOW
        evidence = {"objects": float(count), "objects_before": float(old), "growth_ratio": share}
        found.append(Finding(Kind.TYPE_GROWTH, bad, name, since, evidence))
    return sorted(
        found, key=lambda one: -(one.evidence["objects"] - one.evidence["objects_before"])
    )
