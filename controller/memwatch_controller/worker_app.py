"""Constructs a worker out of its parts: a controller's analyses, without agents and callers."""

import time
from contextlib import AsyncExitStack

import structlog

from memwatch_controller import logs
from memwatch_controller.analysis.guard import default_memory
from memwatch_controller.analysis.runner import Limits, Runner
from memwatch_controller.api.http.application import create_probes
from memwatch_controller.api.http.calls import CallLog
from memwatch_controller.api.http.readiness import Readiness
from memwatch_controller.api.http.server import http_server
from memwatch_controller.api.metrics import WorkerMetricsPage
from memwatch_controller.counters import Counters
from memwatch_controller.errors import StartError
from memwatch_controller.lifetime import Ending, at_work, keep_names
from memwatch_controller.model import Millis
from memwatch_controller.reports import Reports
from memwatch_controller.sessions.analysing import Analysing
from memwatch_controller.sessions.dbos_engine import DbosEngine
from memwatch_controller.sessions.engine import Queue, Share, WorkKind
from memwatch_controller.sessions.feed import Feed
from memwatch_controller.sessions.patience import Patience, Retry
from memwatch_controller.sessions.performing import Performer
from memwatch_controller.sessions.records import Records
from memwatch_controller.store.blobs import BlobStore
from memwatch_controller.store.database import open_database
from memwatch_controller.store.metadata import Metadata
from memwatch_controller.store.presence import open_presence
from memwatch_controller.worker_settings import WorkerSettings

_log = structlog.get_logger()


async def run(settings: WorkerSettings) -> int:
    """Works until SIGTERM or SIGINT; the exit code.

    Raises:
        StartError: the worker cannot start with these settings.
    """
    logs.configure(settings.log_level)
    ending = Ending()
    ending.on_signals()
    async with AsyncExitStack() as stack:
        await _at_work(stack, settings, ending)
        _log.info("working", worker=settings.name, analyses=settings.analyses)
        await ending.wait()
        _log.info("stopping")
    return ending.code


async def _at_work(stack: AsyncExitStack, settings: WorkerSettings, ending: Ending) -> None:
    """Every part, at work for as long as the stack lives."""
    _make_work_dir(settings)
    url = settings.database_url
    presence = await stack.enter_async_context(open_presence(url, settings.name))
    at_work(stack, keep_names(presence, ending))
    database = await open_database(url)
    stack.push_async_callback(database.close)
    metadata, counters = Metadata(database), Counters()
    blobs = BlobStore.open(settings.blob_url, settings.work_dir)
    await blobs.check()
    runner = Runner(_limits(settings))
    records = Records(metadata, Feed(), _now)
    patience = Patience()
    retry = Retry(patience, _now)
    reports = Reports(metadata, blobs, runner, _now, counters)
    steps = {WorkKind.ANALYSE: Analysing(records, reports, retry, patience).analyse}
    share = Share(frozenset({Queue.ANALYSIS}), settings.analyses)
    engine = DbosEngine(url, settings.name, presence, share)
    await engine.start(Performer(steps, records, retry, _now).perform)
    stack.push_async_callback(engine.stop)
    if settings.http_listen:
        page = WorkerMetricsPage(counters, runner.room)
        app = CallLog(create_probes(page, Readiness(metadata, blobs)))
        await stack.enter_async_context(http_server(settings.http_listen, app, None, None))


def _make_work_dir(settings: WorkerSettings) -> None:
    """Makes the folder for copies, for this user alone.

    Raises:
        StartError: it cannot be made, or belongs to somebody else.
    """
    folder = settings.work_dir
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise StartError(f"--work-dir '{folder}'", f"{error.strerror}; pass another") from error


def _limits(settings: WorkerSettings) -> Limits:
    return Limits(
        workers=settings.analyses,
        memory_bytes=settings.analysis_memory_mib * 1024**2 or default_memory(),
        seconds=settings.analysis_seconds,
    )


def _now() -> Millis:
    return time.time_ns() // 1_000_000
