import asyncio
import contextlib
import sqlite3
import time

import pytest

from memwatch_controller.sessions.dbos_engine import DbosEngine
from memwatch_controller.sessions.engine import Scheduled, Share, Work, WorkKind, WorkState
from memwatch_controller.store.presence import FilePresence, open_presence
from tests.controller.sessions.running import eventually
from tests.support import databases


def work(number: int = 0, session: str = "s-1") -> Work:
    """A piece of work."""
    return Work(WorkKind.CAPTURE, session, "t-1", number)


class Handler:
    """Notes what it is asked to do, and does what a test says."""

    def __init__(self, following=None, hold=None):
        self.seen: list[Work] = []
        self.finished: list[Work] = []
        self.cancelled: list[Work] = []
        self._following = following or {}
        self._hold = hold

    async def __call__(self, wanted: Work):
        self.seen.append(wanted)
        try:
            if self._hold is not None:
                await self._hold.wait()
        except asyncio.CancelledError:
            self.cancelled.append(wanted)
            raise
        self.finished.append(wanted)
        return self._following.get(wanted)

    async def until(self, count: int, seconds: float = 30) -> None:
        """Returns when so many pieces are finished."""

        async def there() -> bool:
            return len(self.finished) >= count

        await eventually(there, seconds)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """A system database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/sessions.sqlite"
        return
    if reason := databases.postgres_missing():
        pytest.skip(reason)
    with databases.postgres() as found:
        yield found


@pytest.fixture
async def started(url):
    """Starts engines over one database, and stops what still runs."""
    running: list[tuple[DbosEngine, contextlib.AsyncExitStack]] = []

    async def start(handler, executor="pod-1", share=Share()):  # noqa: B008  frozen
        stack = contextlib.AsyncExitStack()
        presence = await stack.enter_async_context(open_presence(url, executor))
        engine = DbosEngine(url, executor, presence, share)
        await engine.start(handler)
        running.append((engine, stack))
        return engine

    async def stop():
        engine, stack = running.pop()
        await engine.stop()
        await stack.aclose()

    start.stop = stop  # type: ignore[attr-defined]
    yield start
    while running:
        await stop()


async def test_work_is_done_at_its_time_and_leads_to_the_next(started):
    """Due work runs on this loop, not before its time; what it returns is scheduled."""
    later = time.time_ns() // 1_000_000 + 4_000
    handler = Handler({work(0): Scheduled(work(1), later)})
    engine = await started(handler)
    await engine.schedule([Scheduled(work(0)), Scheduled(work(0))])
    await handler.until(1)

    async def waits():
        states = await engine.states([work(1), work(7)])
        return (states[work(1)], states[work(7)]) == (WorkState.WAITING, WorkState.UNKNOWN)

    await eventually(waits, 10)
    await handler.until(2)

    assert handler.seen == [work(0), work(1)]
    assert time.time_ns() // 1_000_000 >= later


async def test_waiting_and_running_work_outlives_a_restart_under_another_name(started):
    """A new pod takes over what the old one left: running work runs again, waiting work waits."""
    never = asyncio.Event()
    before = Handler(hold=never)
    engine = await started(before, "pod-1")
    soon = time.time_ns() // 1_000_000 + 2_000
    await engine.schedule([Scheduled(work(0)), Scheduled(work(1), soon)])

    async def running() -> bool:
        return before.seen == [work(0)]

    await eventually(running, 30)
    await started.stop()
    assert before.cancelled == [work(0)]

    after = Handler()
    engine = await started(after, "pod-2")
    await after.until(2)

    assert sorted(after.seen, key=lambda one: one.number) == [work(0), work(1)]

    async def done() -> bool:
        return set((await engine.states([work(0), work(1)])).values()) == {WorkState.DONE}

    await eventually(done, 10)


async def test_cancelled_work_ends_whether_it_waits_or_runs(started):
    """Running work is cancelled within a moment, waiting work never begins."""
    handler = Handler(hold=asyncio.Event())
    engine = await started(handler)
    soon = time.time_ns() // 1_000_000 + 1_000
    await engine.schedule([Scheduled(work(0)), Scheduled(work(1), soon)])

    async def running() -> bool:
        return bool(handler.seen)

    await eventually(running, 30)
    await engine.cancel([work(0), work(1), work(9)])

    async def cancelled() -> bool:
        return handler.cancelled == [work(0)]

    await eventually(cancelled, 10)
    await asyncio.sleep(2)
    assert handler.seen == [work(0)]
    states = await engine.states([work(0), work(1)])
    assert set(states.values()) == {WorkState.STOPPED}


async def test_records_of_ended_work_are_dropped(started):
    """What ended before a time is forgotten; what is open is not."""
    handler = Handler()
    engine = await started(handler)
    later = time.time_ns() // 1_000_000 + 3_600_000
    await engine.schedule([Scheduled(work(0)), Scheduled(work(1), later)])
    await handler.until(1)

    async def done() -> bool:
        return (await engine.states([work(0)]))[work(0)] is WorkState.DONE

    await eventually(done, 10)
    assert await engine.forget_done(1_000) == 0
    assert await engine.forget_done(time.time_ns() // 1_000_000 + 1_000) == 1
    states = await engine.states([work(0), work(1)])
    assert states == {work(0): WorkState.UNKNOWN, work(1): WorkState.WAITING}


async def test_nothing_is_pickled(tmp_path):
    """What DBOS stores is JSON: a database that somebody wrote to runs no code of theirs."""
    engine = DbosEngine(
        f"sqlite:///{tmp_path}/sessions.sqlite", "pod-1", FilePresence(tmp_path / "x"), Share()
    )
    handler = Handler({work(0): Scheduled(work(1), 2**41)})
    await engine.start(handler)
    try:
        await engine.schedule([Scheduled(work(0))])
        await handler.until(1)

        async def waits() -> bool:
            return (await engine.states([work(1)]))[work(1)] is WorkState.WAITING

        await eventually(waits, 10)
    finally:
        await engine.stop()
    connection = sqlite3.connect(tmp_path / "sessions.sqlite")
    kinds = set(connection.execute("SELECT DISTINCT serialization FROM workflow_status"))
    versions = set(connection.execute("SELECT DISTINCT application_version FROM workflow_status"))
    mode = connection.execute("PRAGMA journal_mode").fetchone()
    connection.close()
    assert kinds == {("portable_json",)}
    assert versions == {("memwatch-1",)}
    assert mode == ("wal",)
