import json
from collections.abc import AsyncIterator

import pytest

from memwatch_controller import model
from memwatch_controller.analysis.jobs import (
    ClassChange,
    Comparison,
    Job,
    JobFailedError,
    Totals,
)
from memwatch_controller.analysis.room import Room
from memwatch_controller.analysis.runner import Limits
from memwatch_controller.errors import (
    AnalysisError,
    AnalysisTooLargeError,
    BlobLostError,
    NotFoundError,
    SessionNotFinishedError,
)
from memwatch_controller.reports import Reports, report_id_of
from memwatch_controller.snapshots.service import Snapshots, Upload
from memwatch_controller.store.blobs import BlobStore
from memwatch_controller.store.database import open_database
from memwatch_controller.store.metadata import Metadata
from tests.controller.builders import session


class FakeRunner:
    """Answers without a process; keeps the jobs."""

    def __init__(self) -> None:
        self.limits = Limits()
        self.room = Room()
        self.jobs: list[Job] = []
        self.failure = ""

    async def run(self, job: Job, on_progress: model.OnAnalysis | None = None) -> Comparison:
        self.jobs.append(job)
        if self.failure:
            raise JobFailedError(self.failure)
        totals = tuple(Totals(number, number) for number, _ in enumerate(job.snapshots))
        change = ClassChange("Report", 1, 3, 64, 192, 2, 128, 0, 0)
        return Comparison(True, totals, (change,), 1)


@pytest.fixture
async def rows(tmp_path) -> AsyncIterator[Metadata]:
    database = await open_database(f"sqlite:///{tmp_path}/metadata.sqlite")
    yield Metadata(database)
    await database.close()


@pytest.fixture
def blobs(tmp_path) -> BlobStore:
    return BlobStore.open(str(tmp_path / "blobs"), tmp_path, reserve_bytes=0)


@pytest.fixture
def runner() -> FakeRunner:
    return FakeRunner()


@pytest.fixture
def reports(rows, blobs, runner) -> Reports:
    return Reports(rows, blobs, runner, now=lambda: 1_700_000_000_000)


@pytest.fixture
def snapshots(rows, blobs) -> Snapshots:
    return Snapshots(rows, blobs, None, now=lambda: 1_700_000_000_000)  # type: ignore[arg-type]


async def uploaded(snapshots: Snapshots, number: int) -> model.Snapshot:
    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"snapshot":%d}' % number

    return await snapshots.upload(Upload(f"up-{number}", session_id="s-1"), pieces())


async def test_a_report_is_made_once(reports, snapshots, rows, runner):
    """A second call returns the first's report, and no worker runs again."""
    ids = [(await uploaded(snapshots, number)).id for number in range(3)]
    made = await reports.compare("s-1", "t-1", ids)
    assert await reports.compare("s-1", "t-1", ids) == made == report_id_of("s-1", "t-1")
    (job,) = runner.jobs
    assert [snapshot.id for snapshot in job.snapshots] == ids
    report = await reports.get(made)
    assert report.summary == json.loads(report.json)["summary"]
    assert report.snapshot_ids == tuple(ids)
    assert [s["object_count"] for s in json.loads(report.json)["snapshots"]] == [0, 1, 2]


async def test_what_the_worker_says_is_the_sessions_error(reports, snapshots, runner):
    """A failed analysis names the session and the cause, and stores nothing."""
    runner.failure = "cannot read heap snapshot 'n-1': it is cut"
    ids = [(await uploaded(snapshots, number)).id for number in range(2)]
    with pytest.raises(AnalysisError, match="session 's-1': cannot read heap snapshot 'n-1'"):
        await reports.compare("s-1", "t-1", ids)
    with pytest.raises(NotFoundError):
        await reports.get(report_id_of("s-1", "t-1"))


async def test_too_few_or_deleted_snapshots_fail_clearly(reports, snapshots):
    """One snapshot, or one that was deleted meanwhile, is no comparison."""
    one = await uploaded(snapshots, 1)
    with pytest.raises(AnalysisError, match="there are 1 of them"):
        await reports.compare("s-1", "t-1", [one.id])
    with pytest.raises(AnalysisError, match="'gone' was deleted"):
        await reports.compare("s-1", "t-1", [one.id, "gone"])


@pytest.mark.parametrize(
    ("allowed", "free", "transient"), [(1 << 40, 1 << 20, True), (1 << 20, 1 << 40, False)]
)
async def test_what_the_machine_cannot_hold_is_refused(
    rows, blobs, snapshots, runner, allowed, free, transient
):
    """Before anything is read, with the figures; later it may go where only others use memory."""
    runner.limits = Limits(memory_bytes=allowed)
    runner.room = Room(lambda: free)
    reports = Reports(rows, blobs, runner, now=lambda: 1)
    ids = [(await uploaded(snapshots, number)).id for number in range(2)]
    with pytest.raises(AnalysisTooLargeError, match="needs about 256 MiB") as caught:
        await reports.compare("s-1", "t-1", ids)
    assert caught.value.transient is transient
    assert caught.value.facts["free_bytes"] == str(free)
    assert runner.jobs == []


async def test_a_lost_blob_is_told(reports, snapshots, tmp_path):
    """A blob that somebody removed ends the analysis with its key."""
    ids = [(await uploaded(snapshots, number)).id for number in range(2)]
    next((tmp_path / "blobs/snapshots").iterdir()).unlink()
    with pytest.raises(BlobLostError, match="snapshots/s-"):
        await reports.compare("s-1", "t-1", ids)


async def test_a_report_is_found_by_its_sessions_id(reports, snapshots, rows):
    """A session with one report names it; an unfinished one says so; an unknown one is unknown."""
    with pytest.raises(NotFoundError):
        await reports.get("s-1")
    await rows.insert_session(session("s-1"))
    with pytest.raises(SessionNotFinishedError):
        await reports.get("s-1")
    ids = [(await uploaded(snapshots, number)).id for number in range(2)]
    made = await reports.compare("s-1", "t-1", ids)
    assert (await reports.get("s-1")).id == made
    await reports.compare("s-1", "t-2", ids)
    with pytest.raises((NotFoundError, SessionNotFinishedError)):
        await reports.get("s-1")
