"""Looks after sessions whose work is not there: lost by a crash, or stopped by a fault.

A session and its work are written into two databases, so a crash between the two leaves a
session without work; and the engine stops work that takes absurdly long. Neither may
leave a session open for ever.
"""

from collections.abc import Callable

import structlog

from memwatch_controller.model import Millis, Session, SessionTarget
from memwatch_controller.rounds import rounds
from memwatch_controller.sessions.engine import Engine, Scheduled, Work, WorkState
from memwatch_controller.sessions.model import expected_work, open_parts, part_of
from memwatch_controller.sessions.records import Records
from memwatch_controller.store.metadata import Metadata

#: Between two rounds.
_INTERVAL_SECONDS = 60.0

#: Records of work are kept this long after its end, for whoever looks into a fault.
_KEEP_DONE_MILLIS = 24 * 3600_000

_log = structlog.get_logger()


class Watchdog:
    """Keeps open sessions and the engine's work in step."""

    def __init__(
        self, records: Records, metadata: Metadata, engine: Engine, now: Callable[[], Millis]
    ) -> None:
        self._records = records
        self._metadata = metadata
        self._engine = engine
        self._now = now

    async def run(self) -> None:
        """A round now and then, for ever."""
        await rounds("look after open sessions", self.round, _INTERVAL_SECONDS)

    async def round(self) -> None:
        """Schedules what is missing, fails what was stopped, forgets what is long done."""
        open_ids = await self._metadata.list_open_session_ids()
        self._records.forget_ended(open_ids)
        for id in open_ids:
            session = await self._records.find(id)
            if session is not None:
                await self._look_after(session)
        await self._engine.forget_done(self._now() - _KEEP_DONE_MILLIS)

    async def _look_after(self, session: Session) -> None:
        expected = {
            work: part
            for part in open_parts(session)
            if (work := expected_work(session, part)) is not None
        }
        states = await self._engine.states(list(expected))
        for work, part in expected.items():
            state = states[work]
            if state is WorkState.UNKNOWN:
                _log.info("lost work scheduled again", work=work.id)
                await self._engine.schedule([Scheduled(work, part.due_time)])
            elif state in (WorkState.STOPPED, WorkState.DONE):
                await self._end(session.id, work, part)

    async def _end(self, id: str, work: Work, seen: SessionTarget) -> None:
        """Fails a part whose work has ended without moving it on, if that is still so."""
        session = await self._records.find(id)
        part = session and part_of(session, work.target_id)
        if part and (part.state, part.taken) == (seen.state, seen.taken):
            message = (
                f"cannot go on with '{part.target.service or part.target.id}': "
                f"its work '{work.id}' was stopped; start another session"
            )
            await self._records.fail(id, work.target_id, "INTERNAL", message)
