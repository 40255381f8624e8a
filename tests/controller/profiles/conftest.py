"""Profiles over SQLite, a directory and a fake agent; a restart keeps the first two."""

import contextlib
import itertools
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from memwatch_controller import model
from memwatch_controller.analysis.runner import Limits, Runner
from memwatch_controller.api.agents import AgentChannels
from memwatch_controller.errors import TargetUnreachableError
from memwatch_controller.profiles.course import Course
from memwatch_controller.profiles.reporting import PROFILE_WORKER, Reporter
from memwatch_controller.profiles.service import Profiles
from memwatch_controller.sessions.slots import Slots
from memwatch_controller.snapshots.transfer import Patience
from memwatch_controller.store.blobs import BlobStore
from memwatch_controller.store.database import open_database
from memwatch_controller.store.profiles import ProfileTable
from tests.controller.builders import target
from tests.fakes.agent import FakeAgent, serving

MIB = 1024 * 1024


@dataclass
class Targets:
    """Plays the registry: one Python target, and where its agent is."""

    address: str = ""
    target: model.Target = field(
        default_factory=lambda: target("t-1", runtime=model.Runtime.PYTHON, service="shop")
    )

    def pick(self, selector: model.Selector, *, fleet: bool) -> list[model.Target]:
        return [self.target]

    def get(self, id: str) -> model.Target:
        return self.target

    async def flush(self) -> None:
        pass

    def address_of(self, target: model.Target) -> str:
        if not self.address:
            raise TargetUnreachableError(target.id, "a-1", "away")
        return self.address

    def agent_address(self, agent_id: str) -> str:
        return self.address

    def replica_count(self, target: model.Target) -> int:
        return 1


@dataclass
class Stage:
    """A controller's profiles that can be killed and started again."""

    folder: Path
    agent: FakeAgent
    targets: Targets
    now: int = 1_795_330_000_000

    def __post_init__(self) -> None:
        self.ids = itertools.count(1)

    @contextlib.asynccontextmanager
    async def life(self) -> AsyncIterator[Profiles]:
        """One life of the controller; leaving it kills what runs."""
        database = await open_database(f"sqlite:///{self.folder}/metadata.sqlite")
        channels = AgentChannels("")
        self.blobs = BlobStore.open(str(self.folder / "blobs"), self.folder, reserve_bytes=0)
        self.rows = ProfileTable(database)
        limits = Limits(workers=2, memory_bytes=1024 * MIB, seconds=60)
        course = Course(
            self.rows,
            self.blobs,
            channels,
            self.targets,
            Slots(4, 0, 60),
            lambda: self.now,
            Patience(tries=2, first_delay_seconds=0.01),
        )
        service = Profiles(
            rows=self.rows,
            blobs=self.blobs,
            agents=channels,
            targets=self.targets,
            course=course,
            reporter=Reporter(self.blobs, Runner(limits, PROFILE_WORKER), self.folder / "scratch"),
            now=lambda: self.now,
            new_id=lambda: f"p-{next(self.ids)}",
            keep_millis=7 * 24 * 3600 * 1000,
        )
        await service.load()
        try:
            yield service
        finally:
            await service.close()
            await channels.close()
            await database.close()


@pytest.fixture
async def stage(tmp_path) -> AsyncIterator[Stage]:
    assert sys.executable
    agent = FakeAgent()
    address = f"unix:{tmp_path}/a.sock"
    async with serving(agent, address):
        yield Stage(tmp_path, agent, Targets(address))
