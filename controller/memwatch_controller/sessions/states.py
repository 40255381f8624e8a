"""All states of a session and every way from one to another; nothing else decides that.

Each target of a session is a state machine of its own (`TRANSITIONS`). The session's
state is not stored apart from them but derived (`derive`): it names the earliest thing
that is still going on, so that a fleet waits only when all of it waits.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from memwatch_controller.model import SessionState
from memwatch_controller.transitions import follow


class Event(StrEnum):
    """What happens to one target's part in a session."""

    BEGIN = "begin"  # a snapshot is about to be taken
    CAPTURED = "captured"  # it is stored, and another is planned
    CAPTURED_LAST = "captured_last"  # it is stored, and was the last
    ANALYSED = "analysed"  # the report is stored
    FAIL = "fail"
    CANCEL = "cancel"


_PENDING = SessionState.PENDING
_BEFORE = SessionState.CAPTURING_BEFORE
_WAITING = SessionState.WAITING
_AFTER = SessionState.CAPTURING_AFTER
_ANALYSING = SessionState.ANALYSING
_SUCCEEDED = SessionState.SUCCEEDED
_FAILED = SessionState.FAILED
_CANCELLED = SessionState.CANCELLED

_END = {Event.FAIL: _FAILED, Event.CANCEL: _CANCELLED}

#: The table: state → event → next state. What is not in it cannot happen.
TRANSITIONS: Mapping[SessionState, Mapping[Event, SessionState]] = {
    _PENDING: {Event.BEGIN: _BEFORE, **_END},
    _BEFORE: {Event.CAPTURED: _WAITING, **_END},
    _WAITING: {Event.BEGIN: _AFTER, **_END},
    _AFTER: {Event.CAPTURED: _WAITING, Event.CAPTURED_LAST: _ANALYSING, **_END},
    _ANALYSING: {Event.ANALYSED: _SUCCEEDED, **_END},
    _SUCCEEDED: {},
    _FAILED: {},
    _CANCELLED: {},
}

#: In these a target holds one of the session's places for a capture.
CAPTURING = frozenset({_BEFORE, _AFTER})


def next_state(state: SessionState, event: Event) -> SessionState:
    """The state after an event.

    Raises:
        ImpossibleTransitionError: the table has no such transition.
    """
    return follow(TRANSITIONS, "a session's target", state, event)


def is_finished(state: SessionState) -> bool:
    """Whether nothing can happen any more."""
    return not TRANSITIONS[state]


def derive(parts: Sequence[SessionState]) -> SessionState:
    """The state of a session whose targets are in these states; at least one.

    Finished: cancelled where any part was cancelled, else failed where any failed. Open:
    the earliest thing that goes on among the parts that are not finished.
    """
    going_on = {part for part in parts if not is_finished(part)}
    if not going_on:
        ends = (_CANCELLED, _FAILED)
        return next((end for end in ends if end in parts), _SUCCEEDED)
    if all(part is _PENDING for part in parts):
        return _PENDING
    if going_on & {_PENDING, _BEFORE}:
        return _BEFORE
    return next(state for state in (_AFTER, _WAITING, _ANALYSING) if state in going_on)
