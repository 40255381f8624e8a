"""Lines through floors."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch_agent.detection.series import Point
from memwatch_agent.detection.trend import kendall_z, line, lowest_of, theil_sen, without_load


def points(floors, loads=None):
    """Floors a minute apart."""
    loads = loads or [math.nan] * len(floors)
    return [
        Point(60.0 * n, f, f, load) for n, (f, load) in enumerate(zip(floors, loads, strict=True))
    ]


def test_a_line_is_found_as_it_is():
    """Slope, start and growth of an exact line; nothing of it looks like a step or a tooth."""
    found = line(points([1000 + 6.0 * n for n in range(30)]))
    assert found is not None
    assert found.slope.per_second == pytest.approx(0.1)
    assert found.start == pytest.approx(1000)
    assert found.growth == pytest.approx(6.0 * 29)
    assert found.drawdown == 0
    assert found.jump == pytest.approx(1 / 29)
    assert found.late == pytest.approx(1)


def test_wild_points_do_not_move_the_slope():
    """A fifth of the points may be anything."""
    floors = [1000 + 6.0 * n for n in range(40)]
    for wild in (3, 9, 14, 22, 27, 31, 36, 38):
        floors[wild] += 5000
    times = [60.0 * n for n in range(40)]
    assert theil_sen(times, floors, 1.0).per_second == pytest.approx(0.1, rel=0.05)


def test_what_follows_the_load_is_no_growth():
    """Memory that rises and falls with the load is flat once the load is taken out."""
    loads = [1 + math.sin(n / 7) for n in range(60)]
    times = [60.0 * n for n in range(60)]
    floors, apart = without_load(times, [1000 + 200 * load for load in loads], loads)
    assert max(floors) - min(floors) < 1e-6
    assert 0 < apart <= 1


def test_time_and_load_that_rise_together_cannot_be_told_apart():
    """In a morning nobody knows whether memory follows the load or the time: not significant."""
    chance = random.Random(1)
    loads = [1 + n / 30 + chance.gauss(0, 0.01) for n in range(30)]
    floors = [1000 + 300 * load + chance.gauss(0, 5) for load in loads]
    found = line(points(floors, loads))
    assert found is None or found.z < 3.3


@given(st.integers(0, 10_000))
def test_noise_that_wanders_is_seldom_a_trend(seed):
    """The variance is widened for neighbours that are alike: a random walk stays below six."""
    chance, value, walk = random.Random(seed), 0.0, []
    for _ in range(60):
        value += chance.gauss(0, 1)
        walk.append(value)
    assert abs(kendall_z(walk, [float(n) for n in range(60)])) < 6


@given(st.lists(st.floats(1, 1e9), min_size=1, max_size=50), st.integers(1, 9))
def test_blocks_keep_the_lowest(floors, block):
    """Every block is whole and newest-aligned, and its point is its least."""
    lowest = lowest_of(points(floors), block)
    assert len(lowest) == len(floors) // block
    if lowest:
        assert lowest[-1].floor == min(floors[-block:])
