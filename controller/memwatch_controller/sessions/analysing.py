"""The last step of a session: its report. It needs the store alone, so any machine can do it."""

from memwatch_controller.model import (
    AnalysisProgress,
    Millis,
    Session,
    SessionState,
    SessionTarget,
)
from memwatch_controller.sessions.engine import Scheduled, Work
from memwatch_controller.sessions.model import after_event, part_of, snapshot_ids
from memwatch_controller.sessions.patience import Patience, Retry
from memwatch_controller.sessions.ports import Analysis
from memwatch_controller.sessions.records import Records
from memwatch_controller.sessions.states import Event, is_finished


class Analysing:
    """Compares a target's snapshots and ends its part."""

    def __init__(
        self, records: Records, analysis: Analysis, retry: Retry, patience: Patience
    ) -> None:
        self._records = records
        self._analysis = analysis
        self._retry = retry
        self._patience = patience

    async def analyse(self, work: Work) -> Scheduled | None:
        """Compares and ends the part; nothing where that is done, or no longer wanted.

        May run in two programs at once, where one was given up too early: the report has
        one id, and the part one way into its end.
        """
        found = await self._records.part(work.session_id, work.target_id)
        if found is None or found[1].state is not SessionState.ANALYSING:
            return None
        session, part = found

        def on_progress(progress: AnalysisProgress) -> None:
            self._records.progressed(work.session_id, work.target_id, progress)

        report_id = await self._retry.patiently(
            lambda: self._analysis.compare(
                work.session_id, work.target_id, snapshot_ids(session, part), on_progress
            ),
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
