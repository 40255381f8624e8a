from collections.abc import AsyncIterator

import pytest

from memwatch_controller.api.agents import AgentChannels
from memwatch_controller.snapshots.service import Snapshots
from memwatch_controller.snapshots.transfer import Patience
from memwatch_controller.store.blobs import BlobStore
from memwatch_controller.store.database import open_database
from memwatch_controller.store.metadata import Metadata

#: Tries again at once, so that tests do not wait.
HASTE = Patience(tries=13, first_delay_seconds=0.001, longest_delay_seconds=0.01)


@pytest.fixture
async def rows(tmp_path) -> AsyncIterator[Metadata]:
    """Metadata in a new SQLite file."""
    database = await open_database(f"sqlite:///{tmp_path}/metadata.sqlite")
    yield Metadata(database)
    await database.close()


@pytest.fixture
def blobs(tmp_path) -> BlobStore:
    """A directory of blobs."""
    return BlobStore.open(str(tmp_path / "blobs"), tmp_path, reserve_bytes=0)


@pytest.fixture
async def channels() -> AsyncIterator[AgentChannels]:
    """Channels to agents, without a token."""
    opened = AgentChannels("")
    yield opened
    await opened.close()


@pytest.fixture
def snapshots(rows, blobs, channels) -> Snapshots:
    """The service, over a real database, a real directory and real gRPC."""
    return Snapshots(rows, blobs, channels, now=lambda: 1_700_000_000_123, patience=HASTE)
