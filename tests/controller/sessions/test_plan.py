import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch_controller.errors import InvalidArgumentError
from memwatch_controller.model import SessionPlan
from memwatch_controller.sessions import plan as planning


@given(st.integers(0, planning.MAX_TIMEFRAME_MILLIS), st.integers(2, 100), st.integers(0, 2**41))
def test_snapshots_are_due_evenly_over_the_timeframe(timeframe, snapshots, first):
    """The first is due when it was taken, the last a timeframe later, the others between."""
    plan = SessionPlan(timeframe_millis=timeframe, snapshots=snapshots)
    due = [planning.due_time(plan, first, index) for index in range(snapshots)]

    assert due[0] == first
    assert due[-1] == first + timeframe
    gaps = [later - earlier for earlier, later in itertools.pairwise(due)]
    assert max(gaps) - min(gaps) <= 1


def test_phases_are_named_as_in_the_files():
    """Two snapshots are before and after; what lies between is during-N."""
    assert [planning.phase_name(i, 2) for i in range(2)] == ["before", "after"]
    assert [planning.phase_name(i, 4) for i in range(4)] == [
        "before",
        "during-1",
        "during-2",
        "after",
    ]


def test_a_plan_gets_its_defaults():
    """Nothing said means two snapshots, one target at once."""
    plan = planning.completed(SessionPlan(snapshots=0, max_parallel=0))

    assert (plan.snapshots, plan.max_parallel) == (2, 1)


@pytest.mark.parametrize(
    "plan",
    [
        SessionPlan(snapshots=1),
        SessionPlan(snapshots=-2),
        SessionPlan(snapshots=101),
        SessionPlan(timeframe_millis=-1),
        SessionPlan(timeframe_millis=planning.MAX_TIMEFRAME_MILLIS + 1),
        SessionPlan(max_parallel=1_001),
        SessionPlan(service="x" * 513),
        SessionPlan(labels={str(n): "" for n in range(65)}),
    ],
)
def test_an_impossible_plan_is_refused_with_numbers(plan):
    """Each limit is named in the error, with the next step."""
    with pytest.raises(InvalidArgumentError, match=r"cannot create a session: .*; "):
        planning.completed(plan)


@pytest.mark.parametrize(
    ("taken", "late"),
    [
        (99_000, 0),  # an agent whose clock is behind took it, we know, after 100,500
        (100_700, 700),
        (999_999, 1_000),  # an agent whose clock is ahead took it, we know, before 101,000
    ],
)
def test_lateness_trusts_an_agents_clock_only_within_what_we_saw(taken, late):
    """The agent's time counts between the begin of the capture and its end, as we saw them."""
    begun = 100_500 if taken != 99_000 else 100_000

    assert planning.lateness(100_000, begun, taken, 101_000) == late


def test_late_means_more_than_5_s_and_1_percent():
    """Short sessions tolerate 5 s, long ones 1 % of their timeframe."""
    minute, day = SessionPlan(timeframe_millis=60_000), SessionPlan(timeframe_millis=86_400_000)

    assert not planning.is_late(minute, 5_000)
    assert planning.is_late(minute, 5_001)
    assert not planning.is_late(day, 864_000)
    assert planning.is_late(day, 864_001)


def test_allocations_are_traced_until_the_last_snapshot():
    """Each snapshot but the last renews the lease, by some patience longer than it must last."""
    plan = SessionPlan(timeframe_millis=60_000, snapshots=3, allocation_frames=2)
    patience = planning.TRACE_PATIENCE_MILLIS
    lengths = [planning.trace_millis(plan, index) for index in range(3)]
    assert lengths == [30_000 + patience, 30_000 + patience, 0]
    assert planning.trace_millis(SessionPlan(timeframe_millis=60_000), 0) == 0


@pytest.mark.parametrize("wrong", [(65, 1000), (1, 2 * 24 * 3600 * 1000 + 1)])
def test_tracing_that_would_last_too_long_is_refused(wrong):
    """No more frames than a dump tells, and no more than a day between two snapshots."""
    frames, millis = wrong
    with pytest.raises(InvalidArgumentError, match=r"--allocation-sites|a day"):
        planning.completed(SessionPlan(timeframe_millis=millis, allocation_frames=frames))
