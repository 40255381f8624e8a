"""What can be asked of a session's values and how an event changes them; pure.

The values themselves are in `memwatch_controller.model`, which the store knows too.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from memwatch_controller.errors import StoreFullError
from memwatch_controller.model import (
    Millis,
    Session,
    SessionError,
    SessionState,
    SessionTarget,
)
from memwatch_controller.sessions.engine import Work, WorkKind
from memwatch_controller.sessions.plan import phase_name
from memwatch_controller.sessions.states import (
    CAPTURING,
    Event,
    derive,
    is_finished,
    next_state,
)


def part_of(session: Session, target_id: str) -> SessionTarget | None:
    """A target's part in a session; None where it has none."""
    return next((part for part in session.targets if part.target.id == target_id), None)


def only_spooled(part: SessionTarget) -> bool:
    """Whether a part failed for want of room: its snapshot is safe with the agent only."""
    return part.error is not None and part.error.reason == StoreFullError.reason


def after_event(part: SessionTarget, event: Event, now: Millis, **facts: Any) -> SessionTarget:
    """A part after an event; `facts` are further fields that the event sets.

    Raises:
        ImpossibleTransitionError: the event cannot happen in the part's state.
    """
    state = next_state(part.state, event)
    return replace(part, state=state, phase_time=now, progress=None, analysis=None, **facts)


def with_parts(session: Session, changed: Sequence[SessionTarget], now: Millis) -> Session:
    """A session with some parts replaced, and everything that follows from them."""
    by_id = {part.target.id: part for part in changed}
    parts = tuple(by_id.get(part.target.id, part) for part in session.targets)
    state = derive([part.state for part in parts])
    return replace(
        session,
        targets=parts,
        state=state,
        version=session.version + 1,
        update_time=now,
        end_time=now if is_finished(state) else 0,
        error=_error(parts) if state is SessionState.FAILED else None,
    )


def open_parts(session: Session) -> list[SessionTarget]:
    """The parts that are not finished."""
    return [part for part in session.targets if not is_finished(part.state)]


def capturing_count(session: Session) -> int:
    """How many of the session's places for captures are held."""
    return sum(part.state in CAPTURING for part in session.targets)


def expected_work(session: Session, part: SessionTarget) -> Work | None:
    """The work that moves a part on from its state; None where it is finished."""
    if is_finished(part.state):
        return None
    if part.state is SessionState.ANALYSING:
        return Work(WorkKind.ANALYSE, session.id, part.target.id)
    return Work(WorkKind.CAPTURE, session.id, part.target.id, part.taken)


def snapshot_ids(session: Session, part: SessionTarget) -> list[str]:
    """Ids of a part's snapshots in the order of their phases."""
    by_phase = {snapshot.phase: snapshot.id for snapshot in part.snapshots}
    names = (phase_name(index, session.plan.snapshots) for index in range(session.plan.snapshots))
    return [by_phase[name] for name in names if name in by_phase]


def next_capture_time(session: Session) -> Millis:
    """When the next snapshot is due among the parts that wait; 0 where none does."""
    due = [part.due_time for part in session.targets if part.state is SessionState.WAITING]
    return min(due, default=0)


def display_name(part: SessionTarget) -> str:
    """What people call a part's target."""
    return part.target.service or part.target.pod or part.target.id


def _error(parts: Sequence[SessionTarget]) -> SessionError | None:
    """The session's error: its target's, or the first of a fleet's with their number."""
    errors = [part.error for part in parts if part.error is not None]
    if not errors or len(parts) == 1:
        return errors[0] if errors else None
    first = errors[0]
    message = f"{first.message} ({len(errors)} of {len(parts)} targets failed; this is the first)"
    return replace(first, message=message)
