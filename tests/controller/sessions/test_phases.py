"""Random orders of everything that can happen to sessions, crashes included."""

import asyncio
import contextlib
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from memwatch_controller import model
from memwatch_controller.errors import AgentError
from memwatch_controller.sessions.states import is_finished
from memwatch_controller.store.database import open_database
from tests.controller.sessions.conftest import make_bench, plan

S = model.SessionState

_template: list[Path] = []


def empty_database() -> Path:
    """A migrated, empty database file, made once for all examples."""
    if not _template:
        path = Path(tempfile.mkdtemp(prefix="memwatch-test-")) / "metadata.sqlite"

        async def make() -> None:
            await (await open_database(f"sqlite:///{path}")).close()

        asyncio.run(make())
        _template.append(path)
    return _template[0]


class Sessions(RuleBasedStateMachine):
    """Creates, performs, repeats, crashes, fails, cancels, waits, looks after: in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory(prefix="memwatch-test-")
        self.ended: dict[str, model.Session] = {}
        self.versions: dict[str, int] = {}
        self.created = 0

    def run(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    @initialize()
    def begin(self) -> None:
        path = Path(self.folder.name) / "metadata.sqlite"
        shutil.copy(empty_database(), path)
        self.bench = self.run(make_bench(path))

    def sessions(self) -> list[model.Session]:
        found: list[model.Session] = self.run(self.bench.service.list(limit=100))
        return found

    @precondition(lambda self: self.created < 4)
    @rule(
        snapshots=st.integers(2, 4),
        fleet=st.booleans(),
        max_parallel=st.integers(1, 3),
        seconds=st.integers(0, 30),
    )
    def create(self, snapshots: int, fleet: bool, max_parallel: int, seconds: int) -> None:
        wanted = plan(
            "web-a" if fleet else "t-1a",
            snapshots=snapshots,
            fleet=fleet,
            max_parallel=max_parallel,
            timeframe_millis=seconds * 1_000,
        )
        self.run(self.bench.service.create(f"r-{self.created}", wanted))
        self.created += 1

    @rule(millis=st.integers(1, 20_000))
    def wait(self, millis: int) -> None:
        self.bench.clock.now += millis

    @precondition(lambda self: self.bench.engine.due())
    @rule(data=st.data())
    def perform(self, data) -> None:
        work = data.draw(st.sampled_from(self.bench.engine.due()))
        self.run(self.until_stuck(self.bench.engine.perform(work)))

    @precondition(lambda self: self.bench.engine.due())
    @rule()
    def perform_all(self) -> None:
        self.run(self.bench.engine.perform_due())

    async def until_stuck(self, performing) -> None:
        """Performs work alone; where it waits for a place that other work holds, it crashes."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(performing, 0.5)

    @precondition(lambda self: self.bench.engine.due())
    @rule(data=st.data(), steps=st.integers(0, 60))
    def crash(self, data, steps: int) -> None:
        work = data.draw(st.sampled_from(self.bench.engine.due()))
        self.run(self.bench.engine.crash_in(work, steps))

    @precondition(lambda self: self.bench.engine.ended)
    @rule(data=st.data())
    def repeat(self, data) -> None:
        """At least once means that work which ended may come again."""
        work = data.draw(st.sampled_from(sorted(self.bench.engine.ended, key=lambda w: w.id)))
        self.run(self.until_stuck(self.bench.engine.perform(work)))

    @rule()
    def refuse_next(self) -> None:
        refused = AgentError("HEADROOM", "FAILED_PRECONDITION", "cannot capture: no room")
        self.bench.captures.failures[:] = [refused]

    @precondition(lambda self: self.created)
    @rule(data=st.data())
    def cancel(self, data) -> None:
        session = data.draw(st.sampled_from([s.id for s in self.sessions()]))
        self.run(self.bench.service.cancel(session))

    @rule()
    def lose_work(self) -> None:
        """A crash between the two databases; then the watchdog's round."""
        self.bench.engine.waiting.clear()
        self.run(self.bench.watchdog.round())

    @invariant()
    def nothing_is_taken_twice(self) -> None:
        if hasattr(self, "bench"):
            assert all(count == 1 for count in self.bench.captures.taken.values())

    @invariant()
    def an_end_is_an_end_and_versions_rise(self) -> None:
        if not hasattr(self, "bench"):
            return
        for session in self.sessions():
            assert session.version >= self.versions.get(session.id, 0)
            self.versions[session.id] = session.version
            capturing = [p for p in session.targets if p.state.value.startswith("capturing")]
            assert len(capturing) <= session.plan.max_parallel
            if is_finished(session.state):
                earlier = self.ended.setdefault(session.id, session)
                assert (session.state, session.version) == (earlier.state, earlier.version)

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            self.drain()
            self.run(self.bench.database.close())
        self.loop.close()
        self.folder.cleanup()

    def drain(self) -> None:
        """Once nothing disturbs, every session ends, with all it promises."""
        self.bench.captures.failures.clear()
        for _ in range(10):
            self.run(self.bench.watchdog.round())
            self.run(self.bench.advance(60_000))
        for session in self.sessions():
            assert is_finished(session.state)
            if session.state is S.SUCCEEDED:
                for part in session.targets:
                    assert len(part.snapshots) == session.plan.snapshots
                    assert part.report_id


# A crash in the middle of a statement leaves it to its thread, which may outlive the loop.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")

TestSessions = Sessions.TestCase
TestSessions.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
