"""All states of a pod that is taken out of its service, and every way between them; pure.

A pod may leave and come back several times in one session, once for each snapshot. A detached
pod ends as an orphan: captured, out of its workload, and deleted after its time to live.
"""

from collections.abc import Mapping
from enum import StrEnum

from memwatch_controller.isolation import IsolationState
from memwatch_controller.transitions import follow


class IsolationEvent(StrEnum):
    """What happens to it."""

    LEAVE = "leave"
    LEFT = "left"
    RETURN = "return"
    RETURNED = "returned"
    ORPHAN = "orphan"
    RETIRE = "retire"
    GONE = "gone"  # somebody else ended the pod


_GONE = {IsolationEvent.GONE: IsolationState.RETIRED}

#: The table: state → event → next state. What is not in it cannot happen.
TRANSITIONS: Mapping[IsolationState, Mapping[IsolationEvent, IsolationState]] = {
    IsolationState.IN: {IsolationEvent.LEAVE: IsolationState.LEAVING, **_GONE},
    IsolationState.LEAVING: {
        IsolationEvent.LEAVE: IsolationState.LEAVING,  # again after a crash
        IsolationEvent.LEFT: IsolationState.OUT,
        IsolationEvent.RETURN: IsolationState.RETURNING,
        **_GONE,
    },
    IsolationState.OUT: {
        IsolationEvent.RETURN: IsolationState.RETURNING,
        IsolationEvent.ORPHAN: IsolationState.ORPHANED,
        **_GONE,
    },
    IsolationState.RETURNING: {
        IsolationEvent.RETURN: IsolationState.RETURNING,  # again after a crash
        IsolationEvent.RETURNED: IsolationState.IN,
        **_GONE,
    },
    IsolationState.ORPHANED: {IsolationEvent.RETIRE: IsolationState.RETIRED, **_GONE},
    IsolationState.RETIRED: {},
}


def next_state(state: IsolationState, event: IsolationEvent) -> IsolationState:
    """The state after an event.

    Raises:
        ImpossibleTransitionError: the table has no such transition.
    """
    return follow(TRANSITIONS, "an isolated pod", state, event)
