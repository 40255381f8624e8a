"""Buckets of samples."""

import math

from hypothesis import given
from hypothesis import strategies as st

from memwatch_agent.detection.series import LEVELS, Level, Series


def test_a_bucket_is_its_least_sample_and_its_peak():
    """A minute's floor is the least sample, with its own time."""
    series = Series()
    for at, value in ((0, 50.0), (20, 30.0), (40, 90.0), (61, 40.0)):
        series.add(at, value)
    [point] = series.since(0, 0)
    assert (point.at, point.floor, point.peak) == (20, 30.0, 90.0)


def test_load_is_work_a_second_and_not_known_over_a_gap():
    """CPU seconds become cores; a bucket that does not follow another has only its own samples."""
    series = Series([Level(60, 10)])
    for at in (0, 30, 60, 90, 600, 660):
        series.add(at, 1.0, at / 2)
    loads = [point.load for point in series.since(0, 0)]
    assert loads[:2] == [0.5, 0.5]
    assert math.isnan(loads[2])


def test_a_clock_that_stands_or_goes_back_adds_nothing():
    """Samples that are not newer, or are no numbers, are left out."""
    series = Series([Level(10, 10)])
    for at, value in ((100, 5.0), (100, 1.0), (50, 1.0), (101, math.nan), (111, 5.0)):
        series.add(at, value)
    assert [point.floor for point in series.since(0, 0)] == [5.0]


@given(st.lists(st.tuples(st.floats(0.1, 4000), st.floats(1, 1e12)), max_size=400))
def test_memory_is_bounded_and_floors_are_floors(steps):
    """However long it runs, each row holds its count; no floor is above its bucket's samples."""
    series, at, kept = Series(), 0.0, []
    for step, value in steps:
        at += step
        series.add(at, value)
        kept.append((at, value))
    for number, level in enumerate(LEVELS):
        points = series.since(number, 0)
        assert len(points) <= level.count
        for point in points:
            bucket = [v for t, v in kept if t // level.seconds == point.at // level.seconds]
            assert (point.floor, point.peak) == (min(bucket), max(bucket))
