"""Sessions as they are stored, and the one place that changes them.

A change is made by a pure function and written only if nobody else wrote in between; then
it is told to the watchers. Open sessions are also kept in memory, so that a change need not
read first: what is kept may be old (another controller may have written), so nothing is
written on it unless its version is still the stored one, and "nothing to do" is believed
only of what was just read. What a capture or a comparison reports while it runs is kept here only.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from memwatch_controller.errors import NotFoundError
from memwatch_controller.model import (
    AnalysisProgress,
    CaptureProgress,
    Millis,
    Session,
    SessionError,
    SessionTarget,
    Snapshot,
)
from memwatch_controller.sessions.feed import Feed
from memwatch_controller.sessions.model import after_event, open_parts, part_of, with_parts
from memwatch_controller.sessions.states import Event
from memwatch_controller.store.metadata import Metadata

#: Progress is told to watchers at most this often for each part of a session.
_PROGRESS_MILLIS = 250

#: Makes new parts of a session's; an empty list means that nothing changes.
Change = Callable[[Session, Millis], list[SessionTarget]]


class Records:
    """The sessions in the store."""

    def __init__(self, metadata: Metadata, feed: Feed, now: Callable[[], Millis]) -> None:
        self._metadata = metadata
        self._feed = feed
        self._now = now
        self._progress: dict[tuple[str, str], CaptureProgress | AnalysisProgress] = {}
        self._told: dict[tuple[str, str], Millis] = {}
        self._newest: dict[str, Session] = {}

    def created(self, session: Session) -> None:
        """Takes note of a session that was just written."""
        self._remember(session)

    async def recall(self, id: str) -> Session | None:
        """A session as it was lately; None where there is none.

        Only for what is checked again when it is written. A fleet is always read: whether
        a part holds a place must not be guessed, or two could wait for each other.
        """
        newest = self._newest.get(id)
        is_fresh_enough = newest is not None and len(newest.targets) == 1
        return newest if is_fresh_enough else await self.find(id)

    async def part(self, id: str, target_id: str) -> tuple[Session, SessionTarget] | None:
        """A session as it is stored, and a target's part in it; None where it is deleted."""
        session = await self.find(id)
        part = part_of(session, target_id) if session else None
        return None if session is None or part is None else (session, part)

    def forget_ended(self, open_ids: Collection[str]) -> None:
        """Drops what is kept of sessions that another program has ended."""
        known = set(open_ids)
        for id in [id for id in self._newest if id not in known]:
            del self._newest[id]

    async def find(self, id: str) -> Session | None:
        """A session with the progress of its captures; None where there is none."""
        session = await self._metadata.get_session(id)
        return None if session is None else self._remember(session)

    async def get(self, id: str) -> Session:
        """A session with the progress of its captures.

        Raises:
            NotFoundError: there is none.
        """
        session = await self.find(id)
        if session is None:
            raise NotFoundError("session", id)
        return session

    async def change(self, id: str, change: Change, snapshots: Sequence[Snapshot] = ()) -> Session:
        """Changes a session, on what is stored at that moment; returns it as it is then.

        Args:
            id: the session's.
            change: makes the new parts; called again where somebody else wrote.
            snapshots: written with the change, over their earlier rows.

        Raises:
            NotFoundError: there is none.
        """
        # Taken out until it is known how the write ended: this call may be cancelled in it.
        before = self._newest.pop(id, None)
        while True:
            if before is not None and (parts := change(before, self._now())):
                after = with_parts(before, parts, self._now())
                if await self._metadata.update_session(before, after, snapshots):
                    return self._changed(after, parts)
            before = await self._metadata.get_session(id)
            if before is None:
                raise NotFoundError("session", id)
            if not change(before, self._now()):
                return self._remember(before)

    def _changed(self, after: Session, parts: Sequence[SessionTarget]) -> Session:
        for part in parts:
            self._progress.pop((after.id, part.target.id), None)
            self._told.pop((after.id, part.target.id), None)
        self._remember(after)
        self._feed.publish(self._with_progress(after))
        return after

    async def fail(self, id: str, target_id: str, reason: str, message: str) -> Session:
        """Fails one target's part; leaves it alone where it is finished."""

        def change(session: Session, now: Millis) -> list[SessionTarget]:
            part = part_of(session, target_id)
            if part is None or part not in open_parts(session):
                return []
            error = SessionError(part.state.value, reason, message)
            return [after_event(part, Event.FAIL, now, error=error)]

        return await self.change(id, change)

    def progressed(
        self, id: str, target_id: str, progress: CaptureProgress | AnalysisProgress
    ) -> None:
        """Notes how far a capture or a comparison is, and tells the watchers now and then."""
        key = (id, target_id)
        earlier = self._progress.get(key)
        self._progress[key] = progress
        same_stage = earlier is not None and _stage(earlier) == _stage(progress)
        if same_stage and self._now() - self._told.get(key, 0) < _PROGRESS_MILLIS:
            return
        self._told[key] = self._now()
        newest = self._newest.get(id)
        if newest is not None and self._feed.is_watched(id):
            self._feed.publish(self._with_progress(newest))

    def _remember(self, session: Session) -> Session:
        """Keeps the newest value of an open session for the sake of its progress."""
        if open_parts(session):
            known = self._newest.get(session.id)
            if known is None or known.version <= session.version:
                self._newest[session.id] = session
        else:
            self._newest.pop(session.id, None)
        return self._with_progress(session)

    def _with_progress(self, session: Session) -> Session:
        if not any((session.id, part.target.id) in self._progress for part in session.targets):
            return session
        return replace(
            session,
            targets=tuple(
                _with(part, self._progress.get((session.id, part.target.id)))
                for part in session.targets
            ),
        )


def _stage(progress: CaptureProgress | AnalysisProgress) -> str:
    """What is told at once when it changes."""
    return progress.stage if isinstance(progress, CaptureProgress) else "analysis"


def _with(
    part: SessionTarget, progress: CaptureProgress | AnalysisProgress | None
) -> SessionTarget:
    if isinstance(progress, AnalysisProgress):
        return replace(part, progress=None, analysis=progress)
    return replace(part, progress=progress, analysis=None)
