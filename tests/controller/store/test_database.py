import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from memwatch_controller.errors import StartError
from memwatch_controller.store.database import async_url, migrate, open_database
from memwatch_controller.store.schema import metadata as tables


async def test_migrations_make_exactly_the_schema(database):
    """A database that the migrations built has the tables of schema.py, no more, no less."""

    def differences(connection):
        return compare_metadata(MigrationContext.configure(connection), tables)

    async with database.reading() as connection:
        assert await connection.run_sync(differences) == []


async def test_migrating_twice_changes_nothing(database):
    """A controller that starts again finds its tables as they are."""
    async with database.writing() as connection:
        await connection.run_sync(migrate)


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("sqlite:////a/b.sqlite", "sqlite+aiosqlite"),
        ("postgresql://u:p@h/db", "postgresql+psycopg"),
        ("postgres://h/db", "postgresql+psycopg"),
    ],
)
def test_urls_get_our_drivers(url, driver):
    """The usual URLs work as people write them."""
    assert async_url(url).drivername == driver


@pytest.mark.parametrize("url", ["mysql://h/db", "not a url", "://"])
def test_other_urls_are_refused(url):
    """A URL of another kind is an error with the next step, not a traceback."""
    with pytest.raises(StartError, match="cannot start the controller"):
        async_url(url)


async def test_a_database_that_cannot_be_opened_is_named(tmp_path):
    """A folder that is not there is an error that names the database."""
    with pytest.raises(StartError, match=r"metadata\.sqlite"):
        await open_database(f"sqlite:///{tmp_path}/none/metadata.sqlite")


async def test_a_password_is_never_shown():
    """The sentence about a database that does not answer holds no password."""
    with pytest.raises(StartError) as caught:
        await open_database("postgresql://u:hunter2@127.0.0.1:1/db?connect_timeout=2")
    assert "hunter2" not in str(caught.value)
