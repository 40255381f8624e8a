"""Findings and their severities."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch_agent.detection.findings import (
    Kind,
    Marks,
    Severity,
    of_growth,
    of_height,
    of_leak,
    of_types,
)
from memwatch_agent.detection.leaks import WINDOWS, Leak
from memwatch_agent.detection.limits import time_left
from memwatch_agent.detection.standing import Standing
from memwatch_agent.detection.trend import Line, Slope

MIB = 1024 * 1024
HOUR = 3600.0


def a_leak(per_hour):
    """Six hours of steady growth."""
    slope = Slope(per_hour / HOUR, 0.8 * per_hour / HOUR, 1.25 * per_hour / HOUR)
    return Leak(WINDOWS[1], Line(slope, 8.0, 6 * per_hour, 200 * MIB, 0, 0.1, 1.0), 100.0, 72)


@pytest.mark.parametrize(
    ("room_hours", "severity"),
    [(1, Severity.CRITICAL), (8, Severity.HIGH), (48, Severity.MEDIUM), (400, Severity.LOW)],
)
def test_severity_is_the_time_left(room_hours, severity):
    """The nearer the limit, the worse; the interval holds the time."""
    usage, rate = 300 * MIB, 10 * MIB
    found = of_leak(a_leak(rate), "rss", usage, usage + room_hours * rate)
    assert (found.kind, found.severity, found.since) == (Kind.LEAK, severity, 100.0)
    low, mid, high = (found.evidence[f"seconds_to_limit{end}"] for end in ("_low", "", "_high"))
    assert mid == pytest.approx(room_hours * HOUR)
    assert low < mid < high


def test_without_a_limit_severity_is_the_growth_of_a_day():
    """1 % an hour doubles in days, not minutes."""
    assert of_leak(a_leak(3 * MIB), "rss", 300 * MIB, None).severity is Severity.MEDIUM
    assert of_leak(a_leak(300 * MIB), "rss", 300 * MIB, None).severity is Severity.CRITICAL


@given(st.floats(1, 1e12), st.floats(1, 1e12), st.floats(-1e6, 1e6))
def test_time_left_is_never_negative(usage, limit, per_second):
    """Past the limit no time is left; without growth there is no answer."""
    left = time_left(usage, limit, Slope(per_second, per_second / 2, per_second * 2))
    if left is None:
        assert per_second <= 0
    else:
        assert 0 <= left.soonest <= left.seconds <= left.latest <= math.inf


def severity(found):
    """The severity of what was found; None: nothing was."""
    return found and found.severity


def test_the_ancestors_thresholds():
    """A fifth more than before, above 100 MB without a limit, twice the objects: as they were."""
    marks = Marks()
    assert of_growth(100, 120, 0, marks) is None
    assert severity(of_growth(100, 121, 0, marks)) is Severity.LOW
    assert severity(of_growth(100, 151, 0, marks)) is Severity.MEDIUM
    assert of_height(95 * MIB, None, 0, marks) is None
    assert severity(of_height(101 * MIB, None, 0, marks)) is Severity.LOW
    assert of_height(101 * MIB, 1000 * MIB, 0, marks) is None
    assert severity(of_height(970 * MIB, 1000 * MIB, 0, marks)) is Severity.CRITICAL
    before = {"Order": 1000, "User": 1000, "Tiny": 10}
    now = {"Order": 2000, "User": 2001, "Tiny": 900, "New": 5000}
    assert [one.subject for one in of_types(before, now, 0, marks)] == ["User"]


def test_a_finding_stands_after_three_looks_and_falls_after_many():
    """One look tells nothing, one quiet look ends nothing."""
    standing, told = Standing(), []
    for saw in [True, True, False, True, True, True, *[False] * 23, True, *[False] * 24]:
        standing = standing.looked(saw)
        told.append(standing.stands)
    assert told == [False] * 5 + [True] * (1 + 23 + 1 + 23) + [False]
