"""All states of a profile and every way from one to another; nothing else decides that."""

from collections.abc import Mapping
from enum import StrEnum

from memwatch_controller.errors import ControllerError
from memwatch_controller.profile import ProfileState


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


class ImpossibleTransitionError(ControllerError):
    """The table has no such transition: a fault in memwatch."""

    def __init__(self, state: ProfileState, event: Event) -> None:
        self.state = state
        self.event = event

    def __str__(self) -> str:
        return (
            f"cannot apply '{self.event}' to a profile that is {self.state}: "
            "there is no such transition; please report this"
        )


def next_state(state: ProfileState, event: Event) -> ProfileState:
    """The state after an event.

    Raises:
        ImpossibleTransitionError: the table has no such transition.
    """
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise ImpossibleTransitionError(state, event) from None


def is_finished(state: ProfileState) -> bool:
    """Whether nothing can happen any more."""
    return not TRANSITIONS[state]


FINISHED = tuple(state for state in ProfileState if is_finished(state))
