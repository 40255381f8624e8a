"""Opens the metadata database: SQLite in a file, or PostgreSQL by its URL.

SQLite runs in WAL mode with `synchronous=FULL`, so that a committed row outlives a power
cut: an agent discards its copy of a snapshot once the row is written. One write
transaction runs at a time there, begun as such, so that none dies half-way of a lock. A
read of one statement begins none: every statement costs a turn of SQLite's thread.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from memwatch_controller.errors import StartError

#: A database that several controllers share is locked for moments only; longer is a fault.
_SQLITE_BUSY_MILLIS = 30_000

#: Any number that nobody else takes.
_MIGRATION_LOCK = 0x6D656D77617463

_MIGRATIONS = Path(__file__).parent / "migrations"

_ASYNC_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}


class Database:
    """One open database: connections to read with, and transactions to write with."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._is_sqlite = engine.dialect.name == "sqlite"
        self._one_writer = asyncio.Lock() if self._is_sqlite else None

    @property
    def dialect(self) -> str:
        """Either "sqlite" or "postgresql"."""
        return self._engine.dialect.name

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection to read with; each statement sees what is committed then."""
        async with self._engine.connect() as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def viewing(self) -> AsyncIterator[AsyncConnection]:
        """A connection to read with, whose statements all see the same state."""
        async with self._engine.connect() as plain:
            level = {} if self._is_sqlite else {"isolation_level": "REPEATABLE READ"}
            connection = await plain.execution_options(memwatch_begin="BEGIN", **level)
            yield connection

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction, committed when the block ends well."""
        async with self._one_writer or contextlib.nullcontext(), self._engine.connect() as plain:
            connection = await plain.execution_options(memwatch_begin="BEGIN IMMEDIATE")
            async with connection.begin():
                yield connection

    async def close(self) -> None:
        """Closes every connection."""
        await self._engine.dispose()


async def open_database(url: str) -> Database:
    """Opens a database and brings its tables up to date.

    Raises:
        StartError: the URL is of another kind, or the database cannot be opened.
    """
    engine = create_async_engine(async_url(url), **_engine_options(url))
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine.sync_engine)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(migrate)
            await connection.commit()
    except (sa.exc.DBAPIError, OSError) as error:
        await engine.dispose()
        shown = sa.make_url(url).render_as_string(hide_password=True)
        cause = getattr(error, "orig", None) or error
        raise StartError(f"database '{shown}'", f"{cause}; check --database-url") from error
    return Database(engine)


def async_url(url: str) -> sa.URL:
    """The URL with the driver that we use.

    Raises:
        StartError: it is no URL of SQLite or PostgreSQL.
    """
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise StartError("that database URL", "it cannot be parsed") from error
    driver = _ASYNC_DRIVERS.get(parsed.drivername)
    if driver is None:
        raise StartError(
            f"database URL of kind '{parsed.drivername}'", "use sqlite:///FILE or postgresql://…"
        )
    return parsed.set(drivername=driver)


def migrate(connection: sa.Connection) -> None:
    """Brings the tables up to date."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    if connection.dialect.name == "postgresql":  # another program may start at this moment
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
    command.upgrade(config, "head")


def _engine_options(url: str) -> dict[str, Any]:
    if async_url(url).get_backend_name() == "sqlite":
        return {}
    return {"pool_pre_ping": True, "pool_size": 5, "max_overflow": 5}


def _prepare_sqlite(engine: sa.Engine) -> None:
    """Takes the transactions into our own hands: pysqlite begins them too late."""

    @sa.event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute(f"PRAGMA busy_timeout={_SQLITE_BUSY_MILLIS}")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        if statement := connection.get_execution_options().get("memwatch_begin"):
            connection.exec_driver_sql(statement)
