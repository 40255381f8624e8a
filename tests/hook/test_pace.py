"""`pace.py`: who is held, how long, and that nobody is held for ever."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch_hook import pace
from memwatch_hook.pace import Pace

MB = 1 << 20
residents = st.integers(10 * MB, 64 << 30)
walks = st.floats(0, 60_000)


def of(resident: int, walk: float = 500.0) -> Pace:
    return Pace(resident, pace.limit(resident, 0), walk)


@pytest.mark.parametrize(
    ("resident", "asked", "limit"),
    [
        (None, 0, 64 * MB),
        (50 * MB, 0, 64 * MB),
        (1000 * MB, 0, 500 * MB),
        (1000 * MB, 100 * MB, 100 * MB),
        (1000 * MB, 900 * MB, 500 * MB),
    ],
)
def test_half_of_the_app_is_the_limit(resident, asked, limit):
    """Half of the app's memory, 64 MiB at least, and no more than was asked for."""
    assert pace.limit(resident, asked) == limit


@given(residents, walks, st.floats(0, 120_000))
def test_moderate_traffic_is_never_held(resident, walk, walked):
    """8 MB and 1.5 % of the memory may be written at any time."""
    written = int(0.999 * min(8 * MB + 0.015 * resident, 0.75 * pace.limit(resident, 0)))

    assert of(resident, walk).hold_millis(written, walked) == 0


@given(residents, walks, st.integers(0, 64 << 30), st.floats(0, 120_000))
def test_a_piece_is_as_short_as_a_clone(resident, walk, written, walked):
    """15 ms and 40 ms a GB, whatever was written."""
    held = of(resident, walk).hold_millis(written, walked)

    assert 0 <= held <= 15 + 40 * resident / (1 << 30)


@given(residents, st.floats(1, 5000), st.floats(0, 1), st.floats(0, 1))
def test_more_may_be_written_as_the_walk_goes_on(resident, walk, share, other):
    """Who is not held early is not held later for the same; who wrote less is held no longer."""
    early, late = sorted((share, other))
    one = of(resident, walk)
    written = int(0.1 * resident)

    assert one.hold_millis(written, late * walk) <= one.hold_millis(written, early * walk)
    assert one.hold_millis(written // 2, early * walk) <= one.hold_millis(written, early * walk)


def test_an_app_is_not_held_for_ever():
    """A child that never comes on is not waited for longer than thrice its walk."""
    one = of(300 * MB)
    while held := one.hold_millis(300 * MB, 0.0):
        one.held(held)

    assert 3 * 500 <= one.held_millis <= 3 * 500 + one.longest_millis
    assert one.pieces * one.longest_millis >= one.held_millis


@pytest.mark.parametrize("resident", [100 * MB, 272 * MB, 5 << 30])
def test_an_app_that_rewrites_everything_stays_within_a_quarter(resident):
    """It writes all it has in three quarters of the walk, and runs 1 ms (at most 5) in between."""
    walk = resident / MB * 1.4
    one, written, walked, ran = of(resident, walk), 0.0, 0.0, 10.0
    while walked < walk:
        written, walked = written + resident * ran / (0.75 * walk), walked + ran
        held = one.hold_millis(int(written), walked)
        one.held(held)
        walked += held
        ran = 1.0 if held else 5.0

    assert written <= max(0.2 * resident, 20 * MB)
