"""The table of a profile's states."""

import pytest

from memwatch_controller.profile import ProfileState
from memwatch_controller.profiles.states import (
    FINISHED,
    TRANSITIONS,
    Event,
    is_finished,
    next_state,
)
from memwatch_controller.transitions import ImpossibleTransitionError


def test_every_state_is_in_the_table_and_can_be_reached():
    """From PENDING every state is on some way, and every open one can fail."""
    assert set(TRANSITIONS) == set(ProfileState)
    reached, waiting = {ProfileState.PENDING}, [ProfileState.PENDING]
    while waiting:
        for state in TRANSITIONS[waiting.pop()].values():
            if state not in reached:
                reached.add(state)
                waiting.append(state)
    assert reached == set(ProfileState)
    for state, events in TRANSITIONS.items():
        assert is_finished(state) or Event.FAIL in events


def test_what_is_not_in_the_table_cannot_happen():
    """A finished profile stays as it is."""
    for state in FINISHED:
        for event in Event:
            with pytest.raises(ImpossibleTransitionError, match="please report this"):
                next_state(state, event)
