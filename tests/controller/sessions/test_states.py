import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch_controller.model import SessionState
from memwatch_controller.sessions.states import (
    CAPTURING,
    TRANSITIONS,
    Event,
    derive,
    is_finished,
    next_state,
)
from memwatch_controller.transitions import ImpossibleTransitionError

S = SessionState
OPEN = [S.PENDING, S.CAPTURING_BEFORE, S.WAITING, S.CAPTURING_AFTER, S.ANALYSING]
FINISHED = [S.SUCCEEDED, S.FAILED, S.CANCELLED]

#: Every transition there is, written out once more, so that a change is made twice.
ALLOWED = {
    (S.PENDING, Event.BEGIN): S.CAPTURING_BEFORE,
    (S.CAPTURING_BEFORE, Event.CAPTURED): S.WAITING,
    (S.WAITING, Event.BEGIN): S.CAPTURING_AFTER,
    (S.CAPTURING_AFTER, Event.CAPTURED): S.WAITING,
    (S.CAPTURING_AFTER, Event.CAPTURED_LAST): S.ANALYSING,
    (S.ANALYSING, Event.ANALYSED): S.SUCCEEDED,
    **{(state, Event.FAIL): S.FAILED for state in OPEN},
    **{(state, Event.CANCEL): S.CANCELLED for state in OPEN},
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(S, Event)))
def test_every_pair_of_state_and_event(state, event):
    """The table has exactly the transitions written above, for every state and event."""
    if (state, event) in ALLOWED:
        assert next_state(state, event) is ALLOWED[state, event]
    else:
        with pytest.raises(ImpossibleTransitionError, match=f"'{event}'.*is {state}"):
            next_state(state, event)


def test_the_table_covers_every_state():
    """Each state has a row; exactly the finished ones have an empty row."""
    assert set(TRANSITIONS) == set(S)
    assert [state for state in S if is_finished(state)] == FINISHED


def test_any_open_state_can_be_cancelled_and_can_fail():
    """Cancelling works at any state, and nothing can get stuck without failing."""
    for state in OPEN:
        assert {Event.FAIL, Event.CANCEL} <= set(TRANSITIONS[state])


@given(st.lists(st.sampled_from(list(Event)), max_size=40))
def test_any_order_of_events_keeps_the_promises(events):
    """Whatever arrives in whatever order: refused or applied, and an end is an end."""
    state, taken = S.PENDING, 0
    for event in events:
        if event not in TRANSITIONS[state]:
            with pytest.raises(ImpossibleTransitionError):
                next_state(state, event)
            continue
        assert not is_finished(state)
        if event in (Event.CAPTURED, Event.CAPTURED_LAST):
            assert state in CAPTURING
            taken += 1
        state = next_state(state, event)
    if state in (S.ANALYSING, S.SUCCEEDED):
        assert taken >= 2


@given(st.lists(st.sampled_from(list(S)), min_size=1, max_size=8))
def test_a_session_is_finished_exactly_when_all_its_parts_are(parts):
    """The derived state is final if and only if every part's is, and names a state it can be in."""
    state = derive(parts)

    assert is_finished(state) == all(is_finished(part) for part in parts)
    if state is S.SUCCEEDED:
        assert set(parts) == {S.SUCCEEDED}
    if state is S.PENDING:
        assert set(parts) == {S.PENDING}


@pytest.mark.parametrize("state", S)
def test_a_session_of_one_target_is_in_its_state(state):
    """With one target the session simply is where the target is."""
    assert derive([state]) is state


@pytest.mark.parametrize(
    ("parts", "state"),
    [
        ([S.PENDING, S.WAITING], S.CAPTURING_BEFORE),
        ([S.CAPTURING_BEFORE, S.CAPTURING_AFTER], S.CAPTURING_BEFORE),
        ([S.WAITING, S.CAPTURING_AFTER], S.CAPTURING_AFTER),
        ([S.WAITING, S.ANALYSING, S.SUCCEEDED], S.WAITING),
        ([S.ANALYSING, S.FAILED], S.ANALYSING),
        ([S.SUCCEEDED, S.FAILED], S.FAILED),
        ([S.SUCCEEDED, S.CANCELLED, S.FAILED], S.CANCELLED),
    ],
)
def test_a_fleet_is_where_its_earliest_work_is(parts, state):
    """The state of a fleet names the earliest thing that still goes on in it."""
    assert derive(parts) is state
