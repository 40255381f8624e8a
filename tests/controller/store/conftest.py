from collections.abc import AsyncIterator, Iterator

import pytest
import sqlalchemy as sa

from memwatch_controller.store.database import Database, open_database
from memwatch_controller.store.metadata import Metadata
from tests.support import databases


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a PostgreSQL server; skips where there is none."""
    if reason := databases.postgres_missing():
        pytest.skip(reason)
    with databases.postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request, tmp_path) -> AsyncIterator[Database]:
    """An empty database, of each kind in turn."""
    if request.param == "sqlite":
        opened = await open_database(f"sqlite:///{tmp_path}/metadata.sqlite")
    else:
        opened = await open_database(request.getfixturevalue("postgres_url"))
    yield opened
    if request.param == "postgresql":
        async with opened.writing() as connection:
            await connection.execute(sa.text("DROP SCHEMA public CASCADE"))
            await connection.execute(sa.text("CREATE SCHEMA public"))
    await opened.close()


@pytest.fixture
def metadata(database) -> Metadata:
    """An empty store of metadata."""
    return Metadata(database)
