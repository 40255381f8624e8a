"""The reports of the store: made of a target's snapshots, once, and looked up."""

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from typing import Protocol

from memwatch_controller.analysis import document, guard
from memwatch_controller.analysis.jobs import Job, JobFailedError, JobSnapshot
from memwatch_controller.analysis.runner import Runner
from memwatch_controller.counters import Counters, outcome_of
from memwatch_controller.errors import (
    AnalysisError,
    AnalysisTooLargeError,
    ControllerError,
    NotFoundError,
    SessionNotFinishedError,
)
from memwatch_controller.model import Millis, Report, Session, SessionState, Snapshot
from memwatch_controller.store.blobs import BlobStore, blob_key

#: Classes in a report: the ones that grew most; the rest is in the snapshots.
MAX_CLASSES = 500

_FINISHED = {SessionState.SUCCEEDED, SessionState.FAILED, SessionState.CANCELLED}


class ReportRows(Protocol):
    """The metadata that reports need; `store.metadata.Metadata` is one."""

    async def insert_report(self, report: Report) -> Report:
        """Writes a new one; where its session and target have one, returns that instead."""

    async def get_report(self, id: str) -> Report | None:
        """One report."""

    async def list_reports(self, *, session_id: str = "", limit: int) -> list[Report]:
        """Reports, the newest first."""

    async def get_snapshot(self, id: str) -> Snapshot | None:
        """One snapshot."""

    async def get_session(self, id: str) -> Session | None:
        """One session."""


class Reports:
    """Use cases of reports."""

    def __init__(
        self,
        rows: ReportRows,
        blobs: BlobStore,
        runner: Runner,
        now: Callable[[], Millis],
        counters: Counters | None = None,
        free_bytes: Callable[[], int] = guard.free_bytes,
    ) -> None:
        self._rows = rows
        self._blobs = blobs
        self._runner = runner
        self._now = now
        self._counters = counters or Counters()
        self._free_bytes = free_bytes

    async def compare(self, session_id: str, target_id: str, snapshot_ids: Sequence[str]) -> str:
        """Compares a target's snapshots, oldest first; the id of the stored report.

        Idempotent by session and target.

        Raises:
            AnalysisError: the snapshots cannot be read, are too large, or too few.
            BlobLostError: a stored snapshot is gone.
            StoreFullError: there is no room to fetch them from a remote store.
        """
        report_id = report_id_of(session_id, target_id)
        known = await self._rows.get_report(report_id)
        if known is not None:
            return known.id
        if len(snapshot_ids) < 2:
            raise AnalysisError(session_id, f"there are {len(snapshot_ids)} of them, not 2")
        snapshots = [await self._snapshot(session_id, found) for found in snapshot_ids]
        try:
            with self._counters.analysis_seconds.time():
                report = await self._make(report_id, session_id, target_id, snapshots)
        except ControllerError as error:
            self._counters.analyses.labels(outcome_of(error)).inc()
            raise
        self._counters.analyses.labels("reported").inc()
        return (await self._rows.insert_report(report)).id

    async def get(self, wanted: str) -> Report:
        """One report, by its id or by the id of its session where that has one report.

        Raises:
            NotFoundError: there is none.
            SessionNotFinishedError: the session with this id is not finished.
        """
        report = await self._rows.get_report(wanted)
        if report is not None:
            return report
        session = await self._rows.get_session(wanted)
        of_session = await self._rows.list_reports(session_id=wanted, limit=2) if session else []
        if len(of_session) == 1:
            return of_session[0]
        if session is not None and session.state not in _FINISHED:
            raise SessionNotFinishedError("show the report of", wanted, session.state)
        raise NotFoundError("report", wanted)

    def _check_size(self, session_id: str, snapshots: Sequence[Snapshot]) -> None:
        """Refuses what this machine cannot hold, before it is read."""
        needed = guard.needed_bytes([snapshot.raw_size_bytes for snapshot in snapshots])
        allowed, free = self._runner.limits.memory_bytes, self._free_bytes()
        if needed > min(allowed, free):
            raise AnalysisTooLargeError(session_id, needed, allowed, free)

    async def _snapshot(self, session_id: str, snapshot_id: str) -> Snapshot:
        snapshot = await self._rows.get_snapshot(snapshot_id)
        if snapshot is None:
            raise AnalysisError(session_id, f"snapshot '{snapshot_id}' was deleted")
        return snapshot

    async def _make(
        self, report_id: str, session_id: str, target_id: str, snapshots: Sequence[Snapshot]
    ) -> Report:
        self._check_size(session_id, snapshots)
        async with contextlib.AsyncExitStack() as stack:
            files = []
            for snapshot in snapshots:
                key = blob_key(snapshot.id, snapshot.stored_sha256)
                path = await stack.enter_async_context(
                    self._blobs.local(key, snapshot.stored_size_bytes)
                )
                seconds = snapshot.capture_time / 1000
                files.append(JobSnapshot(snapshot.id, str(path), snapshot.id_epoch, seconds))
            job = Job(tuple(files), self._runner.limits.memory_bytes, MAX_CLASSES)
            try:
                found = await self._runner.run(job)
            except JobFailedError as error:
                raise AnalysisError(session_id, str(error)) from error
        time = self._now()
        made = document.document(report_id, session_id, target_id, time, snapshots, found)
        return Report(
            id=report_id,
            session_id=session_id,
            target_id=target_id,
            create_time=time,
            snapshot_ids=tuple(snapshot.id for snapshot in snapshots),
            summary=made["summary"],
            json=document.text(made),
        )


def report_id_of(session_id: str, target_id: str) -> str:
    """The id of the report of one target in one session: always the same."""
    digest = hashlib.sha256(f"{session_id}\n{target_id}".encode()).hexdigest()
    return f"r-{digest[:20]}"
