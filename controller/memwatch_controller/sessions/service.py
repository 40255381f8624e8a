"""The use cases of sessions: create, get, list, watch, cancel, delete."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import sqlalchemy as sa
import structlog

from memwatch_controller import model
from memwatch_controller.errors import (
    ControllerError,
    InvalidArgumentError,
    NotFoundError,
    SessionNotFinishedError,
    TooManySessionsError,
)
from memwatch_controller.isolation import Isolation, Plan
from memwatch_controller.model import Millis, Session, SessionTarget
from memwatch_controller.sessions import plan as planning
from memwatch_controller.sessions.engine import Engine, Scheduled, Work, WorkKind
from memwatch_controller.sessions.feed import Feed
from memwatch_controller.sessions.model import (
    after_event,
    expected_work,
    only_spooled,
    open_parts,
)
from memwatch_controller.sessions.performing import DISCARD_AFTER_MILLIS
from memwatch_controller.sessions.ports import Captures, Workloads
from memwatch_controller.sessions.records import Records
from memwatch_controller.sessions.rotations import Rotations
from memwatch_controller.sessions.states import CAPTURING, Event, is_finished
from memwatch_controller.store.metadata import Cursor, Metadata

#: A capture's request id holds session id, target id and phase in 128 characters.
MAX_SESSION_ID = 80

#: A watcher looks into the store this often too: another controller may have changed it.
_WATCH_POLL_SECONDS = 5.0

#: When a session is refused for their number, this is a sensible time to ask again.
_RETRY_AFTER_SECONDS = 30.0

#: Snapshots of a session that are deleted at once.
_DELETE_PAGE = 100

_log = structlog.get_logger()


class TargetPicker(Protocol):
    """Finds targets; the registry is one."""

    def pick(self, selector: model.Selector, *, fleet: bool) -> list[model.Target]:
        """The targets that are meant: one, or all where a fleet is allowed.

        Raises:
            ControllerError: none, too many, or not one that can be captured.
        """

    async def flush(self) -> None:
        """Writes down what is known of targets and agents."""

    def agent_address(self, agent_id: str) -> str:
        """Where to dial an agent; empty where it is not known."""


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Limits of sessions.

    Attributes:
        open_sessions: not finished at once; each holds rows, a timer and watchers.
    """

    open_sessions: int = 2_000


class SessionService:
    """Use cases of sessions."""

    def __init__(
        self,
        *,
        records: Records,
        metadata: Metadata,
        feed: Feed,
        engine: Engine,
        targets: TargetPicker,
        rotations: Rotations,
        captures: Captures,
        workloads: Workloads,
        limits: SessionLimits,
        now: Callable[[], Millis],
        new_id: Callable[[], str],
    ) -> None:
        self._records = records
        self._metadata = metadata
        self._feed = feed
        self._engine = engine
        self._targets = targets
        self._rotations = rotations
        self._captures = captures
        self._workloads = workloads
        self._limits = limits
        self._now = now
        self._new_id = new_id
        self._creating = asyncio.Lock()

    async def create(
        self, request_id: str, plan: model.SessionPlan, session_id: str = ""
    ) -> Session:
        """Starts a session; the one that this request id made before, where there is one.

        Raises:
            ControllerError: the plan is impossible, its targets cannot be had, or too many
                sessions are open.
        """
        _check_ids(request_id, session_id)
        known = await self._metadata.find_session_by_request(request_id)
        if known is None:
            plan = planning.completed(plan)
            targets = await self._pick(plan)
            await self._rotations.check(plan, targets)
            await self._targets.flush()
            known = await self._insert(request_id, plan, session_id or self._new_id(), targets)
            _log.info("session created", session=known.id, targets=len(targets))
        await self._engine.schedule(_first_work(known))
        return known

    async def _pick(self, plan: model.SessionPlan) -> list[model.Target]:
        """The targets that a plan means; only the cluster knows which pods are a workload's."""
        if plan.selector.workload is None:
            return self._targets.pick(plan.selector, fleet=plan.fleet)
        picked = await self._workloads.pick(plan)
        planning.check_fleet(picked)
        return picked

    async def _insert(
        self,
        request_id: str,
        plan: model.SessionPlan,
        session_id: str,
        targets: Sequence[model.Target],
    ) -> Session:
        now = self._now()
        session = Session(
            id=session_id,
            request_id=request_id,
            plan=replace(plan, service=plan.service or _one_line(targets[0].service)),
            targets=tuple(SessionTarget(target, phase_time=now) for target in targets),
            create_time=now,
            update_time=now,
            version=1,
        )
        async with self._creating:
            if await self._metadata.count_open_sessions() >= self._limits.open_sessions:
                raise TooManySessionsError(self._limits.open_sessions, _RETRY_AFTER_SECONDS)
            try:
                inserted = await self._metadata.insert_session(session)
            except sa.exc.IntegrityError as error:
                cause = f"the id '{session_id}' is taken by another session; choose another"
                raise InvalidArgumentError("create a session", cause) from error
        self._records.created(inserted)
        return inserted

    async def preview(self, plan: model.SessionPlan) -> Sequence[Plan]:
        """What a session with this plan would change around its targets; changes nothing.

        Raises:
            ControllerError: the plan is impossible, or a pod must not leave its service.
        """
        plan = planning.completed(plan)
        targets = await self._pick(plan)
        return await self._rotations.preview(plan, targets)

    async def isolations(self, session: Session) -> Sequence[Isolation]:
        """What was changed around a session's targets."""
        return await self._rotations.of_session(session)

    async def get(self, id: str) -> Session:
        """One session.

        Raises:
            NotFoundError: there is none.
        """
        return await self._records.get(id)

    async def list(
        self,
        *,
        states: Sequence[model.SessionState] = (),
        service: str = "",
        limit: int,
        after: Cursor | None = None,
    ) -> list[Session]:
        """Sessions, the newest first."""
        return await self._metadata.list_sessions(
            states=states, service=service, limit=limit, after=after
        )

    async def watch(self, id: str) -> AsyncIterator[Session]:
        """A session now and at each change, until it is finished.

        Raises:
            NotFoundError: there is none, or it was deleted meanwhile.
        """
        with self._feed.subscribe(id) as changes:
            session = await self._records.get(id)
            yield session
            while not is_finished(session.state):
                changed = await changes.take(_WATCH_POLL_SECONDS) or await self._records.get(id)
                if changed.version >= session.version and changed != session:
                    session = changed
                    yield session

    async def cancel(self, id: str) -> Session:
        """Ends a session before its time; a finished one is returned as it is.

        Raises:
            NotFoundError: there is none.
        """
        stopped: dict[str, SessionTarget] = {}

        def change(session: Session, now: Millis) -> list[SessionTarget]:
            stopped.clear()
            stopped.update({part.target.id: part for part in open_parts(session)})
            return [after_event(part, Event.CANCEL, now) for part in stopped.values()]

        session = await self._records.change(id, change)
        at = self._now() + DISCARD_AFTER_MILLIS
        await self._engine.schedule(
            [
                Scheduled(Work(WorkKind.DISCARD, id, target_id), at)
                for target_id, part in stopped.items()
                if part.state in CAPTURING
            ]
        )
        works = [expected_work(session, part) for part in stopped.values()]
        await self._engine.cancel([work for work in works if work is not None])
        if stopped:
            _log.info("session cancelled", session=id)
        return session

    async def delete(self, id: str) -> None:
        """Deletes a finished session with its snapshots and reports; none is no error.

        Raises:
            SessionNotFinishedError: it is not finished.
        """
        try:
            session = await self._records.get(id)
        except NotFoundError:
            return
        if not is_finished(session.state):
            raise SessionNotFinishedError("delete", id, session.state.value)
        for part in filter(only_spooled, session.targets):
            await self._discard_spooled(session.id, part)
        while found := await self._metadata.list_snapshots(session_id=id, limit=_DELETE_PAGE):
            for snapshot in found:
                await self._captures.delete(snapshot.id)
        await self._metadata.delete_session(id)
        _log.info("session deleted", session=id)

    async def _discard_spooled(self, session_id: str, part: model.SessionTarget) -> None:
        """Has the agent drop a snapshot that the store had no room for."""
        address = self._targets.agent_address(part.target.agent_id)
        try:
            if address:
                await self._captures.discard_spooled(address, session_id)
        except ControllerError as error:
            _log.warning("spooled snapshots left with their agent", cause=str(error))


def _check_ids(request_id: str, session_id: str) -> None:
    if not request_id or len(request_id) > 128:
        cause = f"request_id has {len(request_id)} characters, expected 1 to 128; pass a UUID"
        raise InvalidArgumentError("create a session", cause)
    if session_id and (len(session_id) > MAX_SESSION_ID or not model.is_id(session_id)):
        cause = (
            f"session_id {session_id[:MAX_SESSION_ID]!r} is not 1 to {MAX_SESSION_ID} characters "
            "of [A-Za-z0-9._-] that start with a letter or digit; choose another, or none"
        )
        raise InvalidArgumentError("create a session", cause)


def _one_line(name: str) -> str:
    """A name from outside without control characters, which PostgreSQL would refuse."""
    return "".join(character for character in name if character.isprintable())


def _first_work(session: Session) -> list[Scheduled]:
    """The first capture of every part that has none yet."""
    return [
        Scheduled(Work(WorkKind.CAPTURE, session.id, part.target.id))
        for part in session.targets
        if part.state is model.SessionState.PENDING
    ]
