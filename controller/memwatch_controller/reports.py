"""The reports of the store: made of a target's snapshots, once, and looked up."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from memwatch_controller.analysis import document, guard
from memwatch_controller.analysis.jobs import Comparison, Job, JobFailedError, JobSnapshot
from memwatch_controller.analysis.room import NoRoomError
from memwatch_controller.analysis.runner import Runner
from memwatch_controller.counters import Counters, outcome_of
from memwatch_controller.errors import (
    AnalysisError,
    AnalysisTooLargeError,
    ControllerError,
    InvalidArgumentError,
    NotFoundError,
    SessionNotFinishedError,
)
from memwatch_controller.model import Millis, OnAnalysis, Report, Session, SessionState, Snapshot
from memwatch_controller.sources import Originals, name_originals
from memwatch_controller.store.blobs import BlobStore, blob_key

#: Classes in a report: the ones that grew most; the rest is in the snapshots.
MAX_CLASSES = 500

#: Snapshots that are compared at once by hand.
MAX_BY_HAND = 20

_FINISHED = {SessionState.SUCCEEDED, SessionState.FAILED, SessionState.CANCELLED}


@dataclass(frozen=True, slots=True)
class _Subject:
    """What a report is of; session and target are empty where snapshots are compared by hand."""

    report_id: str
    session_id: str
    target_id: str

    @property
    def doing(self) -> str:
        """What an error says that could not be done; "" for the usual."""
        return "" if self.session_id else "compare the snapshots"

    def error(self, cause: str) -> AnalysisError:
        """Why there is no report."""
        return AnalysisError(self.session_id, cause, self.doing)


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
        originals: Originals | None = None,
    ) -> None:
        self._rows = rows
        self._blobs = blobs
        self._runner = runner
        self._now = now
        self._counters = counters or Counters()
        self._originals = originals
        self._by_hand: dict[str, asyncio.Task[str]] = {}

    async def compare(
        self,
        session_id: str,
        target_id: str,
        snapshot_ids: Sequence[str],
        on_progress: OnAnalysis | None = None,
    ) -> str:
        """Compares a target's snapshots, oldest first; the id of the stored report.

        Idempotent by session and target. `on_progress` is told each percent that is done.

        Raises:
            AnalysisError: the snapshots cannot be read, are too large, or too few.
            BlobLostError: a stored snapshot is gone.
            StoreFullError: there is no room to fetch them from a remote store.
        """
        subject = _Subject(report_id_of(session_id, target_id), session_id, target_id)
        return await self._report(subject, snapshot_ids, on_progress)

    async def compare_by_hand(self, snapshot_ids: Sequence[str]) -> Report:
        """Compares any snapshots of one target, oldest first; its report is of no session.

        Idempotent: the same snapshots give the same report. A caller that leaves does not
        waste the work.

        Raises:
            InvalidArgumentError: they are too few or too many, or one is there twice.
            NotFoundError: there is no such snapshot.
            AnalysisError: they cannot be compared.
        """
        if not 2 <= len(snapshot_ids) <= MAX_BY_HAND or len(set(snapshot_ids)) < len(snapshot_ids):
            cause = f"field 'snapshot_ids' must hold 2 to {MAX_BY_HAND} different ids"
            raise InvalidArgumentError("compare snapshots", cause)
        for snapshot_id in snapshot_ids:
            if await self._rows.get_snapshot(snapshot_id) is None:
                raise NotFoundError("snapshot", snapshot_id)
        subject = _Subject(report_id_of("", "\n".join(snapshot_ids)), "", "")
        task = self._by_hand.get(subject.report_id)
        if task is None:
            task = asyncio.create_task(self._report(subject, snapshot_ids))
            self._by_hand[subject.report_id] = task
            task.add_done_callback(lambda _: self._by_hand.pop(subject.report_id, None))
        return await self.get(await asyncio.shield(task))

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

    async def _report(
        self,
        subject: _Subject,
        snapshot_ids: Sequence[str],
        on_progress: OnAnalysis | None = None,
    ) -> str:
        """The id of the report of a subject, made now where there is none."""
        known = await self._rows.get_report(subject.report_id)
        if known is not None:
            return known.id
        if len(snapshot_ids) < 2:
            raise subject.error(f"there are {len(snapshot_ids)} of them, not 2")
        snapshots = [await self._snapshot(subject, found) for found in snapshot_ids]
        try:
            with self._counters.analysis_seconds.time():
                report = await self._make(subject, snapshots, on_progress)
        except ControllerError as error:
            self._counters.analyses.labels(outcome_of(error)).inc()
            raise
        self._counters.analyses.labels("reported").inc()
        return (await self._rows.insert_report(report)).id

    async def _snapshot(self, subject: _Subject, snapshot_id: str) -> Snapshot:
        snapshot = await self._rows.get_snapshot(snapshot_id)
        if snapshot is None:
            raise subject.error(f"snapshot '{snapshot_id}' was deleted")
        return snapshot

    async def _make(
        self, subject: _Subject, snapshots: Sequence[Snapshot], on_progress: OnAnalysis | None
    ) -> Report:
        async with self._room(subject, snapshots):
            found = await self._run(subject, snapshots, on_progress)
        if self._originals:
            await name_originals(found.verdict, subject.target_id, self._originals)
        time = self._now()
        made = document.document(
            subject.report_id, subject.session_id, subject.target_id, time, snapshots, found
        )
        return Report(
            id=subject.report_id,
            # A report of no session stands under its own name: session and target are unique.
            session_id=subject.session_id or subject.report_id,
            target_id=subject.target_id or subject.report_id,
            create_time=time,
            snapshot_ids=tuple(snapshot.id for snapshot in snapshots),
            summary=made["summary"],
            json=document.text(made),
        )

    @contextlib.asynccontextmanager
    async def _room(self, subject: _Subject, snapshots: Sequence[Snapshot]) -> AsyncIterator[None]:
        """Memory for the block; refuses what this machine cannot hold, before it is read."""
        needed = guard.needed_bytes([snapshot.raw_size_bytes for snapshot in snapshots])
        try:
            async with self._runner.room.held(needed, self._runner.limits.memory_bytes):
                yield
        except NoRoomError as no:
            raise AnalysisTooLargeError(
                subject.session_id, needed, no.allowed_bytes, no.free_bytes, subject.doing
            ) from no

    async def _run(
        self, subject: _Subject, snapshots: Sequence[Snapshot], on_progress: OnAnalysis | None
    ) -> Comparison:
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
                return await self._runner.run(job, on_progress)
            except JobFailedError as error:
                raise subject.error(str(error)) from error


def report_id_of(session_id: str, target_id: str) -> str:
    """The id of the report of one target in one session: always the same."""
    digest = hashlib.sha256(f"{session_id}\n{target_id}".encode()).hexdigest()
    return f"r-{digest[:20]}"
