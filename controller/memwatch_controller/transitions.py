"""Follows a table of states: what a session's part and a profile have in common. Pure."""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from memwatch_controller.errors import ControllerError

State = TypeVar("State", bound=StrEnum)
Event = TypeVar("Event", bound=StrEnum)


class ImpossibleTransitionError(ControllerError):
    """The table has no such transition: a fault in memwatch.

    Attributes:
        whose: what is in the state, such as "a profile".
        state, event: which transition.
    """

    def __init__(self, whose: str, state: StrEnum, event: StrEnum) -> None:
        self.whose = whose
        self.state = state
        self.event = event

    def __str__(self) -> str:
        return (
            f"cannot apply '{self.event}' to {self.whose} that is {self.state}: "
            "there is no such transition; please report this"
        )


def follow(
    table: Mapping[State, Mapping[Event, State]], whose: str, state: State, event: Event
) -> State:
    """The state after an event.

    Raises:
        ImpossibleTransitionError: the table has no such transition.
    """
    try:
        return table[state][event]
    except KeyError:
        raise ImpossibleTransitionError(whose, state, event) from None
