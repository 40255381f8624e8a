"""The steps of a session that need agents: what the engine has done for one target when it is due.

Each step may be called again after a crash at any instant, and then finds in the record
how far it was: a snapshot that is stored is not taken again, because the capture's
request id names session, target and phase, and the store knows it.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import structlog

from memwatch_controller import model
from memwatch_controller.errors import AgentError, ControllerError
from memwatch_controller.model import Millis, Session, SessionTarget, Snapshot
from memwatch_controller.sessions import plan as planning
from memwatch_controller.sessions.engine import Scheduled, Work, WorkKind
from memwatch_controller.sessions.feed import Feed
from memwatch_controller.sessions.model import (
    after_event,
    capturing_count,
    expected_work,
    only_spooled,
    part_of,
)
from memwatch_controller.sessions.patience import Patience, Retry
from memwatch_controller.sessions.performing import DISCARD_AFTER_MILLIS, discard_later
from memwatch_controller.sessions.ports import Captures, PauseBudgets
from memwatch_controller.sessions.records import Records
from memwatch_controller.sessions.rotations import Rotations
from memwatch_controller.sessions.slots import Slots
from memwatch_controller.sessions.states import CAPTURING, Event, is_finished

#: Tries to have an agent discard, with pauses that double from 15 s: two hours in all.
_MAX_DISCARDS = 9

#: How often a place in a fleet is asked for again where another controller may free it.
_PLACE_POLL_SECONDS = 1.0

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

    def replica_count(self, target: model.Target) -> int:
        """How many replicas of a target's service there are now, it included."""


class Phases:
    """Takes snapshots, and has what nobody waits for discarded."""

    def __init__(
        self,
        *,
        records: Records,
        feed: Feed,
        directory: Directory,
        captures: Captures,
        slots: Slots,
        rotations: Rotations,
        retry: Retry,
        patience: Patience,
        budgets: PauseBudgets,
        now: Callable[[], Millis],
    ) -> None:
        self._budgets = budgets
        self._records = records
        self._feed = feed
        self._directory = directory
        self._captures = captures
        self._slots = slots
        self._rotations = rotations
        self._patience = patience
        self._retry = retry
        self._now = now

    async def _load(self, work: Work) -> tuple[Session, SessionTarget] | None:
        """The session and the part that work is for; None where they are deleted."""
        session = await self._records.recall(work.session_id)
        part = part_of(session, work.target_id) if session else None
        return None if session is None or part is None else (session, part)

    async def capture(self, work: Work) -> Scheduled | None:
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
        target = part.target
        place = self._slots.place(target.service, lambda: self._directory.replica_count(target))
        async with door, place:
            begun = await self._begin(work)
            if begun is None:
                return discard_later(work, self._now())
            last = work.number + 1 == session.plan.snapshots
            async with self._rotations.out(*begun, last=last):
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
        budget = await self._budgets.of(part.target)
        order = model.CaptureOrder(
            request_id=f"{session.id}.{part.target.id}.{phase}",
            target_id=part.target.id,
            kind=session.plan.kind,
            way=session.plan.way,
            force=session.plan.force,
            session_id=session.id,
            phase=phase,
            max_pause_millis=planning.longest_pause(session.plan, budget),
            pause=session.plan.pause,
            trace_frames=session.plan.allocation_frames,
            trace_millis=planning.trace_millis(session.plan, number),
        )

        def on_progress(progress: model.CaptureProgress) -> None:
            self._records.progressed(session.id, part.target.id, progress)

        async def once() -> Snapshot:
            address = self._directory.address_of(part.target)
            try:
                return await self._captures.capture(address, order, on_progress)
            except AgentError as error:
                raise planning.with_budget(error, budget, order.max_pause_millis) from error

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

    async def discard(self, work: Work) -> Scheduled | None:
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

    def _following(self, session: Session, part: SessionTarget) -> Scheduled | None:
        """What comes after the state that a part is in."""
        work = expected_work(session, part)
        if work is not None:
            return Scheduled(work, part.due_time)
        if part.state is model.SessionState.SUCCEEDED or only_spooled(part):
            return None
        return discard_later(Work(WorkKind.DISCARD, session.id, part.target.id), self._now())
