"""Who is at work on a database: names that live exactly as long as the process that took them.

A name is taken by one process at a time. Whether another process still lives is then asked
by trying for its name, without clocks and heartbeats: killed with -9, it has lost its names.
On PostgreSQL a name is an advisory lock of one connection, which the server drops with the
connection; SQLite is for one controller, whose name is a lock on a file.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol, Self

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from memwatch_controller.errors import StartError
from memwatch_controller.store.database import async_url

#: How often the connection is looked after.
_CHECK_SECONDS = 5.0

#: A name that is lost with its connection must be back after this: the server needs a while to
#: notice that the old connection is gone.
_BACK_SECONDS = 60.0

#: How often a name that another holds is tried for.
_TRY_SECONDS = 0.5

#: The server gives up a connection whose machine is gone after 10 + 3 × 5 s, not after hours.
_KEEPALIVE = (
    "SET tcp_keepalives_idle = 10",
    "SET tcp_keepalives_interval = 5",
    "SET tcp_keepalives_count = 3",
)

_log = structlog.get_logger()


class NameLostError(Exception):
    """Another process has a name that was ours: this one must end."""


class Presence(Protocol):
    """Names on one database."""

    async def take(self, name: str, seconds: float) -> str:
        """Takes a name for good, waiting so long for it; "", or who has it instead."""

    def burying(self, name: str) -> contextlib.AbstractAsyncContextManager[bool]:
        """Whether nobody has a name; nobody gets it before the block ends."""

    async def run(self) -> None:
        """Keeps the names, for ever.

        Raises:
            NameLostError: another process has one of them.
        """

    async def close(self) -> None:
        """Gives the names up."""


class FilePresence:
    """Names as locks on files beside a SQLite database: for the one controller that it has."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._held: list[int] = []

    async def take(self, name: str, seconds: float) -> str:
        """Takes a name for good, waiting so long for it; "", or who has it instead.

        Raises:
            StartError: the folder of the database cannot be written.
        """
        path = self._database.with_name(f"{self._database.name}.{_key(name):x}.lock")
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StartError(f"'{path}'", f"{error.strerror}; check --data-dir") from error
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if asyncio.get_running_loop().time() < deadline:
                    await asyncio.sleep(_TRY_SECONDS)
                    continue
                holder = os.pread(handle, 100, 0).decode(errors="replace")
                os.close(handle)
                return holder or "another process"
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"process {os.getpid()}".encode(), 0)
            self._held.append(handle)
            return ""

    @contextlib.asynccontextmanager
    async def burying(self, name: str) -> AsyncIterator[bool]:
        """Nobody else works on this database: who left work there is gone."""
        yield True

    async def run(self) -> None:
        """A lock on a file cannot be lost."""
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Gives the names up."""
        for handle in self._held:
            os.close(handle)
        self._held.clear()


class PostgresPresence:
    """Names as advisory locks of one connection."""

    def __init__(self, engine: AsyncEngine, connection: AsyncConnection) -> None:
        self._engine = engine
        self._connection = connection
        self._names: list[str] = []
        self._one = asyncio.Lock()

    @classmethod
    async def open(cls, url: str, who: str) -> Self:
        """A connection for names; `who` is what others see of us.

        Raises:
            StartError: the database cannot be reached.
        """
        engine = create_async_engine(
            async_url(url),
            isolation_level="AUTOCOMMIT",
            connect_args={"application_name": f"memwatch {who}"[:63]},
        )
        try:
            return cls(engine, await _connected(engine))
        except (sa.exc.DBAPIError, OSError) as error:
            await engine.dispose()
            cause = getattr(error, "orig", None) or error
            raise StartError("the database", f"{cause}; check --database-url") from error

    async def take(self, name: str, seconds: float) -> str:
        """Takes a name for good, waiting so long for it; "", or who has it instead."""
        holder = await self._wait_for(name, seconds)
        if not holder:
            self._names.append(name)
        return holder

    @contextlib.asynccontextmanager
    async def burying(self, name: str) -> AsyncIterator[bool]:
        """Whether nobody has a name; nobody gets it before the block ends."""
        if name in self._names:
            yield False
            return
        got = await self._lock(name)
        try:
            yield got
        finally:
            if got:
                with contextlib.suppress(sa.exc.DBAPIError):  # the lock went with the connection
                    await self._ask("SELECT pg_advisory_unlock(:key)", name)

    async def run(self) -> None:
        """Keeps the names, for ever.

        Raises:
            NameLostError: another process has one of them.
        """
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            try:
                await self._ask("SELECT :key", "")
            except (sa.exc.DBAPIError, OSError) as error:
                _log.warning("connection with our names lost", cause=str(error).partition("\n")[0])
                await self._come_back()

    async def close(self) -> None:
        """Gives the names up."""
        with contextlib.suppress(sa.exc.DBAPIError, OSError):
            await self._connection.close()
        await self._engine.dispose()

    async def _come_back(self) -> None:
        while True:
            try:
                async with self._one:
                    with contextlib.suppress(sa.exc.DBAPIError, OSError):
                        await self._connection.invalidate()
                        await self._connection.close()
                    self._connection = await _connected(self._engine)
                for name in self._names:
                    if holder := await self._wait_for(name, _BACK_SECONDS):
                        raise NameLostError(f"'{name}' is {holder}'s now")
            except (sa.exc.DBAPIError, OSError):
                await asyncio.sleep(_TRY_SECONDS)
            else:
                return

    async def _wait_for(self, name: str, seconds: float) -> str:
        deadline = asyncio.get_running_loop().time() + seconds
        while not await self._lock(name):
            if asyncio.get_running_loop().time() >= deadline:
                return await self._holder(name)
            await asyncio.sleep(_TRY_SECONDS)
        return ""

    async def _lock(self, name: str) -> bool:
        return bool(await self._ask("SELECT pg_try_advisory_lock(:key)", name))

    async def _holder(self, name: str) -> str:
        found = await self._ask(
            "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
            "WHERE l.locktype = 'advisory' AND l.granted AND l.database = a.datid "
            "AND ((l.classid::bigint << 32) | l.objid::bigint) = :key",
            name,
        )
        return f"'{found}'" if found else "another process"

    async def _ask(self, statement: str, name: str) -> object:
        async with self._one:
            found = await self._connection.execute(sa.text(statement), {"key": _key(name)})
            return found.scalar()


@contextlib.asynccontextmanager
async def open_presence(url: str, who: str) -> AsyncIterator[Presence]:
    """The presence that fits a database; its names are given up when the block ends.

    Args:
        url: of the database.
        who: what others are told of us.

    Raises:
        StartError: the database cannot be reached.
    """
    presence: Presence
    parsed = async_url(url)
    if parsed.get_backend_name() == "sqlite":
        presence = FilePresence(_file_of(parsed))
    else:
        presence = await PostgresPresence.open(url, who)
    try:
        yield presence
    finally:
        await presence.close()


def _file_of(url: sa.URL) -> Path:
    return Path(url.database or "memwatch").absolute()


def _key(name: str) -> int:
    """The number of an advisory lock."""
    return int.from_bytes(hashlib.sha256(f"memwatch:{name}".encode()).digest()[:8]) >> 1


async def _connected(engine: AsyncEngine) -> AsyncConnection:
    connection = await engine.connect()
    for statement in _KEEPALIVE:
        await connection.execute(sa.text(statement))
    return connection
