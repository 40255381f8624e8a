"""What the numbers of one holder's objects are taken for."""

import pytest

from memwatch_heap.growth import Series
from memwatch_heap.suspects import State, judge, weigh


def series(*counts, gone=None):
    gone = gone or [0] * (len(counts) - 1)
    arrived = [b - a + g for a, b, g in zip(counts, counts[1:], gone, strict=False)]
    kept = max(counts[0] - sum(gone), 0)
    return Series(tuple(counts), tuple(arrived), tuple(gone), counts[-1] - kept)


@pytest.mark.parametrize(
    ("counts", "gone", "state"),
    [
        ((100, 220), [0], State.LEAKING),
        ((100, 220, 340), [0, 0], State.LEAKING),
        ((0, 120, 240), [0, 0], State.LEAKING),
        ((5, 60), [0], State.UNSURE),
        ((0, 3000), [0], State.UNSURE),
        ((100, 220), [30], State.UNSURE),
        ((80, 80), [80], State.STEADY),
        ((10, 40, 70), [10, 40], State.TURNOVER),
        ((5, 60, 60), [0, 0], State.SETTLED),
        ((0, 3000, 3001), [0, 0], State.SETTLED),
        ((100, 220, 250), [0, 90], State.LEVELLED),
        ((100, 220, 200), [0, 40], State.LEVELLED),
    ],
)
def test_numbers_are_taken_for_what_they_are(counts, gone, state):
    """Each pattern of growth, turnover and rest has its name."""
    assert judge(series(*counts, gone=gone)).state is state


def test_three_snapshots_are_surer_than_two():
    """More evidence gives more confidence, and never certainty."""
    two, three = judge(series(100, 220)), judge(series(100, 220, 340))
    assert two.confidence < three.confidence < 1


def test_the_length_of_intervals_counts():
    """Growth that only looks slower because the interval was short is not a bound."""
    numbers = series(100, 220, 240, gone=[0, 30])
    assert judge(numbers).state is State.LEVELLED
    assert judge(numbers, [60, 5]).state is State.LEAKING


def test_every_judgement_says_why():
    """The reasons name the numbers they are drawn from."""
    why = judge(series(100, 220, 340, gone=[2, 0])).why
    assert why == ("objects: 100 → 220 → 340", "of the earlier ones gone: 2 of 100, 0 of 220")


def test_the_runtimes_own_growth_is_not_called_a_leak():
    """What only the runtime holds is shown, but left open."""
    leak = judge(series(100, 220, 340))
    assert weigh(leak, 240, 0.5, in_engine=True).state is State.UNSURE
    assert weigh(leak, 240, 0.5, in_engine=False) == leak


def test_a_trifle_is_not_called_a_leak():
    """Few objects that explain nothing are left open."""
    leak = judge(series(10, 20, 30))
    assert weigh(leak, 20, 0.001, in_engine=False).state is State.UNSURE
    assert weigh(leak, 20, 0.2, in_engine=False).state is State.LEAKING
