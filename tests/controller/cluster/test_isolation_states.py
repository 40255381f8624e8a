"""Every state of an isolated pod can be left, and every way ends clean."""

import pytest

from memwatch_controller.cluster.isolation_states import (
    TRANSITIONS,
    IsolationEvent,
    next_state,
)
from memwatch_controller.isolation import CLEAN, IsolationState
from memwatch_controller.transitions import ImpossibleTransitionError


def test_every_state_reaches_a_clean_one():
    """Whatever was begun can be undone or ended."""
    assert set(TRANSITIONS) == set(IsolationState)
    reaching = set(CLEAN)
    for _ in IsolationState:
        reaching |= {s for s, ways in TRANSITIONS.items() if reaching & set(ways.values())}
    assert reaching == set(IsolationState)


def test_orphan_is_never_put_back():
    """A pod that was captured and detached is deleted, not given back its labels."""
    with pytest.raises(ImpossibleTransitionError):
        next_state(IsolationState.ORPHANED, IsolationEvent.RETURN)
