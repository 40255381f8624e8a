import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from memwatch_controller import model
from memwatch_controller.cluster.targets import ClusterTargets
from memwatch_controller.registry import Registry
from memwatch_controller.sessions.analysing import Analysing
from memwatch_controller.sessions.engine import WorkKind
from memwatch_controller.sessions.feed import Feed
from memwatch_controller.sessions.patience import Patience, Retry
from memwatch_controller.sessions.performing import Performer
from memwatch_controller.sessions.phases import Phases
from memwatch_controller.sessions.ports import NoBudgets
from memwatch_controller.sessions.records import Records
from memwatch_controller.sessions.rotations import Rotations
from memwatch_controller.sessions.service import SessionLimits, SessionService
from memwatch_controller.sessions.slots import Slots
from memwatch_controller.sessions.watchdog import Watchdog
from memwatch_controller.store.database import Database, open_database
from memwatch_controller.store.isolations import IsolationTable
from memwatch_controller.store.metadata import Metadata
from tests.controller.builders import agent, target
from tests.fakes.sessions import Clock, HandEngine, MemoryAnalysis, MemoryCaptures


@dataclass
class Bench:
    """Sessions over a real store and everything else in memory."""

    clock: Clock
    database: Database
    metadata: Metadata
    registry: Registry
    engine: HandEngine
    captures: MemoryCaptures
    analysis: MemoryAnalysis
    service: SessionService
    performer: Performer
    watchdog: Watchdog
    feed: Feed

    async def advance(self, millis: int) -> None:
        """Moves the clock and does what is due then."""
        self.clock.now += millis
        await self.engine.perform_due()


async def make_bench(
    path: Path, *, open_sessions: int = 100, total: int = 10, budgets=None
) -> Bench:
    """A bench over the database in a file; agents a-1 and a-2 with three targets each."""
    clock = Clock()
    database = await open_database(f"sqlite:///{path}")
    metadata = Metadata(database)
    registry = Registry(metadata, clock, 1_000)
    for number in (1, 2):
        targets = [target(f"t-{number}{letter}", service=f"web-{letter}") for letter in "abc"]
        registry.register(agent(f"a-{number}"), targets)
    engine, feed = HandEngine(clock), Feed()
    captures, analysis = MemoryCaptures(metadata, clock), MemoryAnalysis()
    records = Records(metadata, feed, clock)
    patience = Patience(unreachable_millis=0)
    retry = Retry(patience, clock)
    rotations = Rotations(None, IsolationTable(database, clock))
    phases = Phases(
        records=records,
        feed=feed,
        directory=registry,
        captures=captures,
        slots=Slots(total, 0, 3600),
        rotations=rotations,
        retry=retry,
        patience=patience,
        budgets=budgets or NoBudgets(),
        now=clock,
    )
    analysing = Analysing(records, analysis, retry, patience)
    performer = Performer(
        {
            WorkKind.CAPTURE: phases.capture,
            WorkKind.DISCARD: phases.discard,
            WorkKind.ANALYSE: analysing.analyse,
        },
        records,
        retry,
        clock,
    )
    await engine.start(performer.perform)
    ids = iter(range(10_000))
    service = SessionService(
        records=records,
        metadata=metadata,
        feed=feed,
        engine=engine,
        targets=registry,
        rotations=rotations,
        captures=captures,
        workloads=ClusterTargets(None, registry),
        limits=SessionLimits(open_sessions),
        now=clock,
        new_id=lambda: f"s-{next(ids)}",
    )
    watchdog = Watchdog(records, metadata, engine, clock)
    return Bench(
        clock,
        database,
        metadata,
        registry,
        engine,
        captures,
        analysis,
        service,
        performer,
        watchdog,
        feed,
    )


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty database file to copy."""
    path = tmp_path_factory.mktemp("empty") / "metadata.sqlite"

    async def make() -> None:
        await (await open_database(f"sqlite:///{path}")).close()

    asyncio.run(make())
    return path


@pytest.fixture
async def bench(tmp_path, empty_database) -> AsyncIterator[Bench]:
    """A bench of its own."""
    path = tmp_path / "metadata.sqlite"
    shutil.copy(empty_database, path)
    made = await make_bench(path)
    yield made
    await made.database.close()


def plan(name: str = "t-1a", **fields: object) -> model.SessionPlan:
    """A plan of a minute over one target."""
    values: dict[str, object] = {
        "selector": model.Selector(name=name),
        "timeframe_millis": 60_000,
        **fields,
    }
    return model.SessionPlan(**values)  # type: ignore[arg-type]
