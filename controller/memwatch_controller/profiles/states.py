"""All states of a profile and every way from one to another; nothing else decides that."""

from collections.abc import Mapping
from enum import StrEnum

from memwatch_controller.profile import ProfileState
from memwatch_controller.transitions import follow


class Event(StrEnum):
    """What happens to a profile."""

    BEGIN = "begin"  # the target records
    RECORDED = "recorded"  # the agent has the artifact
    STORED = "stored"  # the store has it
    FAIL = "fail"
    CANCEL = "cancel"  # before it had begun


_S = ProfileState

#: The table: state → event → next state. What is not in it cannot happen. A short recording, and
#: one that went on while the controller was down, is recorded before anybody saw it begin.
TRANSITIONS: Mapping[ProfileState, Mapping[Event, ProfileState]] = {
    _S.PENDING: {
        Event.BEGIN: _S.RECORDING,
        Event.RECORDED: _S.STORING,
        Event.FAIL: _S.FAILED,
        Event.CANCEL: _S.CANCELLED,
    },
    _S.RECORDING: {Event.RECORDED: _S.STORING, Event.FAIL: _S.FAILED},
    _S.STORING: {Event.STORED: _S.SUCCEEDED, Event.FAIL: _S.FAILED},
    _S.SUCCEEDED: {},
    _S.FAILED: {},
    _S.CANCELLED: {},
}


def next_state(state: ProfileState, event: Event) -> ProfileState:
    """The state after an event.

    Raises:
        ImpossibleTransitionError: the table has no such transition.
    """
    return follow(TRANSITIONS, "a profile", state, event)


def is_finished(state: ProfileState) -> bool:
    """Whether nothing can happen any more."""
    return not TRANSITIONS[state]


FINISHED = tuple(state for state in ProfileState if is_finished(state))
