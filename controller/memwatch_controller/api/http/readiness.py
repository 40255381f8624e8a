"""Whether the controller can work."""

import asyncio
from typing import Protocol

import structlog

from memwatch_controller.errors import ControllerError

#: A probe waits this long; orchestrators wait seldom longer.
_SECONDS = 5.0

_log = structlog.get_logger()


class Database(Protocol):
    """What answers as long as the database does."""

    async def count_open_sessions(self) -> int:
        """Any query."""


class Store(Protocol):
    """What answers as long as the blob store does."""

    async def check(self) -> None:
        """Raises ControllerError where it does not."""


class Readiness:
    """Asks the database and the store; says why the controller cannot work, or nothing."""

    def __init__(self, database: Database, store: Store) -> None:
        self._database = database
        self._store = store

    async def __call__(self) -> str:
        """Why not; empty where it can."""
        try:
            async with asyncio.timeout(_SECONDS):
                await self._database.count_open_sessions()
                await self._store.check()
        except ControllerError as error:
            return str(error)
        except TimeoutError:
            return f"cannot work: the database or the store did not answer in {_SECONDS:.0f} s"
        except Exception as error:  # noqa: BLE001  a database has many ways to fail
            _log.warning("not ready", exc_info=error)
            return f"cannot use the database: {type(error).__name__}; see the controller's log"
        return ""
