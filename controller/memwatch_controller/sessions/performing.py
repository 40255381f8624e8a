"""The engine's handler: has each kind of work done by whoever does it; what a failure means.

A controller does all kinds; a worker on another machine does analyses alone.
"""

from collections.abc import Awaitable, Callable, Mapping

import structlog

from memwatch_controller.errors import (
    ControllerError,
    StoreFullError,
    TargetEndedError,
    TargetNotFoundError,
)
from memwatch_controller.model import Millis
from memwatch_controller.sessions import plan as planning
from memwatch_controller.sessions.engine import Scheduled, Work, WorkKind
from memwatch_controller.sessions.model import display_name
from memwatch_controller.sessions.patience import Retry
from memwatch_controller.sessions.records import Records

#: An agent lets a capture that nobody joins run for 10 s; after this it has its result.
DISCARD_AFTER_MILLIS = 15_000

#: What a session's error tells of a fault; all of it is in the log.
_MAX_FAULT_CHARS = 200

#: Does one piece of work; what comes next.
Step = Callable[[Work], Awaitable[Scheduled | None]]

_log = structlog.get_logger()


class Performer:
    """Performs the kinds of work that it has steps for."""

    def __init__(
        self,
        steps: Mapping[WorkKind, Step],
        records: Records,
        retry: Retry,
        now: Callable[[], Millis],
    ) -> None:
        self._steps = steps
        self._records = records
        self._retry = retry
        self._now = now

    async def perform(self, work: Work) -> Scheduled | None:
        """The engine's handler: does one piece of work; what comes next."""
        step = self._steps[work.kind]
        with structlog.contextvars.bound_contextvars(session=work.session_id, work=work.id):
            try:
                return await self._retry.while_database_answers(lambda: step(work))
            except ControllerError as error:
                return await self._fail(work, error)
            except Exception as error:  # noqa: BLE001  outermost of a task: a fault fails its session only
                _log.exception("work failed by a fault")
                return await self._fail(work, _FaultError(error))

    async def _fail(self, work: Work, error: ControllerError) -> Scheduled | None:
        """Fails the part that the work was for."""
        found = await self._records.part(work.session_id, work.target_id)
        if found is None or work.kind is WorkKind.DISCARD:
            return None
        session, part = found
        doing = f"compare the snapshots of '{display_name(part)}'"
        if error.reason == TargetNotFoundError.reason:
            # The session knew it, the agent no longer does.
            error = TargetEndedError(work.target_id)
        if work.kind is WorkKind.CAPTURE:
            phase = planning.phase_name(work.number, session.plan.snapshots)
            doing = f"take snapshot '{phase}' of '{display_name(part)}'"
        message = f"cannot {doing}: {error}"
        _log.warning("session failed", reason=error.reason, cause=message)
        await self._records.fail(work.session_id, work.target_id, error.reason, message)
        return None if error.reason == StoreFullError.reason else discard_later(work, self._now())


def discard_later(work: Work, now: Millis) -> Scheduled:
    """Has the agent drop what it holds for the part that a piece of work was for."""
    discard = Work(WorkKind.DISCARD, work.session_id, work.target_id)
    return Scheduled(discard, now + DISCARD_AFTER_MILLIS)


class _FaultError(ControllerError):
    """Something in memwatch itself went wrong."""

    def __init__(self, fault: Exception) -> None:
        self.fault = fault

    def __str__(self) -> str:
        first_line = str(self.fault).partition("\n")[0][:_MAX_FAULT_CHARS]
        return (
            f"a fault in memwatch ({type(self.fault).__name__}: {first_line}); "
            "please report it with the controller's log"
        )
