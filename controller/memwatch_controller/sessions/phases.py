"""The durable steps of a session: what the engine has done for one target when it is due.

Each step may be called again after a crash at any instant, and then finds in the record
how far it was: a snapshot that is stored is not taken again, because the capture's
request id names session, target and phase, and the store knows it.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import structlog

from memwatch_controller import model
from memwatch_controller.errors import (
    ControllerError,
    StoreFullError,
    TargetEndedError,
    TargetNotFoundError,
)
from memwatch_controller.model import Millis, Session, SessionTarget, Snapshot
from memwatch_controller.sessions import plan as planning
from memwatch_controller.sessions.engine import Scheduled, Work, WorkKind
from memwatch_controller.sessions.feed import Feed
from memwatch_controller.sessions.model import (
    after_event,
    capturing_count,
    display_name,
    expected_work,
    only_spooled,
    part_of,
    snapshot_ids,
)
from memwatch_controller.sessions.patience import Patience, Retry
from memwatch_controller.sessions.ports import Analysis, Captures
from memwatch_controller.sessions.records import Records
from memwatch_controller.sessions.slots import Slots
from memwatch_controller.sessions.states import CAPTURING, Event, is_finished
from memwatch_controller.store.metadata import Metadata

#: An agent lets a capture that nobody joins run for 10 s; after this it has its result.
DISCARD_AFTER_MILLIS = 15_000

#: Tries to have an agent discard, with pauses that double from 15 s: two hours in all.
_MAX_DISCARDS = 9

#: How often a place in a fleet is asked for again where another controller may free it.
_PLACE_POLL_SECONDS = 1.0

#: What a session's error tells of a fault; all of it is in the log.
_MAX_FAULT_CHARS = 200

_log = structlog.get_logger()


class Directory(Protocol):
    """Where agents are; the registry is one."""

    def address_of(self, target: model.Target) -> str:
        """Where to dial the agent of a target whose process may still live.

        Raises:
            TargetEndedError: its agent says that the process has ended.
            TargetUnreachableError: its agent is not known.
        """

    def agent_address(self, agent_id: str) -> str:
        """Where to dial an agent; empty where it is not known."""


class Phases:
    """Performs the work of sessions."""

    def __init__(
        self,
        *,
        records: Records,
        metadata: Metadata,
        feed: Feed,
        directory: Directory,
        captures: Captures,
        analysis: Analysis,
        slots: Slots,
        patience: Patience,
        now: Callable[[], Millis],
    ) -> None:
        self._records = records
        self._metadata = metadata
        self._feed = feed
        self._directory = directory
        self._captures = captures
        self._analysis = analysis
        self._slots = slots
        self._patience = patience
        self._retry = Retry(patience, now)
        self._now = now

    async def perform(self, work: Work) -> Scheduled | None:
        """The engine's handler: does one piece of work; what comes next."""
        steps = {
            WorkKind.CAPTURE: self._capture_phase,
            WorkKind.ANALYSE: self._analyse,
            WorkKind.DISCARD: self._discard,
        }
        with structlog.contextvars.bound_contextvars(session=work.session_id, work=work.id):
            try:
                return await self._retry.while_database_answers(lambda: steps[work.kind](work))
            except ControllerError as error:
                return await self._fail(work, error)
            except Exception as error:  # noqa: BLE001  outermost of a task: a fault fails its session only
                _log.exception("work failed by a fault")
                return await self._fail(work, _FaultError(error))

    async def _load(self, work: Work) -> tuple[Session, SessionTarget] | None:
        """The session and the part that work is for; None where they are deleted."""
        session = await self._records.recall(work.session_id)
        part = part_of(session, work.target_id) if session else None
        return None if session is None or part is None else (session, part)

    async def _capture_phase(self, work: Work) -> Scheduled | None:
        """Takes one snapshot and plans what follows it."""
        found = await self._load(work)
        if found is None:
            return None
        session, part = found
        if is_finished(part.state) or part.taken > work.number:
            return self._following(session, part)
        door = self._slots.door(
            session.id, session.plan.max_parallel, holds_one=part.state in CAPTURING
        )
        async with door, self._slots.place():
            begun = await self._begin(work)
            if begun is None:
                return self._discard_later(work)
            snapshot = await self._take(*begun, work.number)
        return await self._captured(work, snapshot)

    async def _begin(self, work: Work) -> tuple[Session, SessionTarget] | None:
        """Enters the capturing state; waits while a fleet's places are held elsewhere."""

        def change(session: Session, now: Millis) -> list[SessionTarget]:
            part = part_of(session, work.target_id)
            if part is None or is_finished(part.state) or part.state in CAPTURING:
                return []
            if capturing_count(session) >= session.plan.max_parallel:
                return []
            return [after_event(part, Event.BEGIN, now)]

        with self._feed.subscribe(work.session_id) as changes:
            while True:
                session = await self._records.change(work.session_id, change)
                part = part_of(session, work.target_id)
                if part is None or is_finished(part.state):
                    return None
                if part.state in CAPTURING:
                    return session, part
                await changes.take(_PLACE_POLL_SECONDS)

    async def _take(self, session: Session, part: SessionTarget, number: int) -> Snapshot:
        """Has the snapshot taken and stored, trying again while that makes sense."""
        phase = planning.phase_name(number, session.plan.snapshots)
        order = model.CaptureOrder(
            request_id=f"{session.id}.{part.target.id}.{phase}",
            target_id=part.target.id,
            kind=session.plan.kind,
            way=session.plan.way,
            force=session.plan.force,
            session_id=session.id,
            phase=phase,
            max_pause_millis=session.plan.max_pause_millis,
            pause=session.plan.pause,
        )

        def on_progress(progress: model.CaptureProgress) -> None:
            self._records.progressed(session.id, part.target.id, progress)

        async def once() -> Snapshot:
            address = self._directory.address_of(part.target)
            return await self._captures.capture(address, order, on_progress)

        return await self._retry.patiently(once, part.phase_time, self._patience.capture_millis)

    async def _captured(self, work: Work, snapshot: Snapshot) -> Scheduled | None:
        """Marks the snapshot late where it is, and moves the part on."""
        found = await self._load(work)
        if found is None:
            return None
        marked = self._with_lateness(*found, snapshot)

        def change(session: Session, now: Millis) -> list[SessionTarget]:
            part = part_of(session, work.target_id)
            if part is None or is_finished(part.state) or part.taken > work.number:
                return []
            taken, first = work.number + 1, part.first_time or now
            last = taken == session.plan.snapshots
            event = Event.CAPTURED_LAST if last else Event.CAPTURED
            facts = {
                "taken": taken,
                "first_time": first,
                "due_time": 0 if last else planning.due_time(session.plan, first, taken),
                "snapshots": (*(s for s in part.snapshots if s.id != marked.id), marked),
            }
            return [after_event(part, event, now, **facts)]

        changed = [marked] if marked is not snapshot else []
        session = await self._records.change(work.session_id, change, changed)
        part = part_of(session, work.target_id)
        return None if part is None else self._following(session, part)

    def _with_lateness(self, session: Session, part: SessionTarget, taken: Snapshot) -> Snapshot:
        """The snapshot with its lateness, which is counted from the second one on."""
        if not part.due_time:
            return taken
        millis = planning.lateness(part.due_time, part.phase_time, taken.capture_time, self._now())
        late = planning.is_late(session.plan, millis)
        return taken if not millis else replace(taken, late=late, late_millis=millis)

    async def _analyse(self, work: Work) -> Scheduled | None:
        """Compares a target's snapshots, and ends its part."""
        found = await self._load(work)
        if found is None or found[1].state is not model.SessionState.ANALYSING:
            return None
        session, part = found
        ids = snapshot_ids(session, part)
        report_id = await self._retry.patiently(
            lambda: self._analysis.compare(work.session_id, work.target_id, ids),
            part.phase_time,
            self._patience.analysis_millis,
        )

        def change(session: Session, now: Millis) -> list[SessionTarget]:
            part = part_of(session, work.target_id)
            if part is None or is_finished(part.state):
                return []
            return [after_event(part, Event.ANALYSED, now, report_id=report_id)]

        await self._records.change(work.session_id, change)
        return None

    async def _discard(self, work: Work) -> Scheduled | None:
        """Lets the agent drop what it still holds for a part that ended before its time."""
        found = await self._load(work)
        address = self._directory.agent_address(found[1].target.agent_id) if found else ""
        if not address:
            return None
        try:
            await self._captures.discard_spooled(address, work.session_id)
        except ControllerError as error:
            if work.number + 1 >= _MAX_DISCARDS:
                _log.warning("spooled snapshots left with their agent", cause=str(error))
                return None
            pause = DISCARD_AFTER_MILLIS << work.number
            return Scheduled(replace(work, number=work.number + 1), self._now() + pause)
        return None

    async def _fail(self, work: Work, error: ControllerError) -> Scheduled | None:
        """Fails the part that the work was for."""
        found = await self._load(work)
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
        return None if error.reason == StoreFullError.reason else self._discard_later(work)

    def _following(self, session: Session, part: SessionTarget) -> Scheduled | None:
        """What comes after the state that a part is in."""
        work = expected_work(session, part)
        if work is not None:
            return Scheduled(work, part.due_time)
        if part.state is model.SessionState.SUCCEEDED or only_spooled(part):
            return None
        return self._discard_later(Work(WorkKind.DISCARD, session.id, part.target.id))

    def _discard_later(self, work: Work) -> Scheduled:
        discard = Work(WorkKind.DISCARD, work.session_id, work.target_id)
        return Scheduled(discard, self._now() + DISCARD_AFTER_MILLIS)


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
