"""How long a step is tried before it fails, and the tries."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TypeVar

import sqlalchemy as sa
import structlog

from memwatch_controller.errors import AgentError, ControllerError
from memwatch_controller.model import Millis

#: First pause before another try; it doubles up to `_MAX_PAUSE_SECONDS`.
_FIRST_PAUSE_SECONDS = 0.5

#: An agent that is back is used within this time.
_MAX_PAUSE_SECONDS = 10.0

#: The reason of an agent whose pod is busy with another capture.
_BUSY = "CAPTURE_IN_PROGRESS"

_Result = TypeVar("_Result")

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a step is tried before it fails.

    Attributes:
        unreachable_millis: while the agent or the store does not answer. A restart of
            agent, node or controller must fit in.
        busy_millis: while the pod is busy with another capture.
        capture_millis: for the whole of one snapshot, from its begin.
        analysis_millis: for one comparison.
    """

    unreachable_millis: int = 5 * 60_000
    busy_millis: int = 30 * 60_000
    capture_millis: int = 60 * 60_000
    analysis_millis: int = 2 * 3600_000

    def of(self, error: ControllerError) -> int:
        """How long this error may last."""
        return self.busy_millis if error.reason == _BUSY else self.unreachable_millis


class OutOfTimeError(ControllerError):
    """A step took longer than it may."""

    reason = "DEADLINE_EXCEEDED"

    def __init__(self, millis: int) -> None:
        self.millis = millis

    def __str__(self) -> str:
        return f"it took longer than {self.millis // 1000} s; look into the log of the agent"


class Retry:
    """Tries a step again while that makes sense."""

    def __init__(self, patience: Patience, now: Callable[[], Millis]) -> None:
        self._patience = patience
        self._now = now

    async def patiently(
        self, once: Callable[[], Awaitable[_Result]], begun: Millis, millis: int
    ) -> _Result:
        """Calls until it works, or its error has lasted longer than it may.

        Args:
            once: what is tried.
            begun: when the whole of it was begun, maybe before a restart.
            millis: how long the whole of it may take.

        Raises:
            OutOfTimeError: it took longer.
            ControllerError: the last error.
        """
        failing_since, pause = 0, _FIRST_PAUSE_SECONDS
        async with _Deadline((begun + millis - self._now()) / 1000, millis):
            while True:
                try:
                    return await once()
                except ControllerError as error:
                    failing_since = failing_since or self._now()
                    if not _is_worth_another_try(error):
                        raise
                    if self._now() - failing_since >= self._patience.of(error):
                        raise
                    _log.info("tried in vain, trying again", cause=str(error), pause=pause)
                    after = error.retry_after_seconds if isinstance(error, AgentError) else None
                await asyncio.sleep(min(after or pause, _MAX_PAUSE_SECONDS))
                pause = min(pause * 2, _MAX_PAUSE_SECONDS)

    async def while_database_answers(self, step: Callable[[], Awaitable[_Result]]) -> _Result:
        """Calls again while the database is away; a step may be called again."""
        failing_since = 0
        while True:
            try:
                return await step()
            except (sa.exc.OperationalError, sa.exc.InterfaceError) as error:
                failing_since = failing_since or self._now()
                if self._now() - failing_since >= self._patience.unreachable_millis:
                    raise
                _log.warning("the database does not answer, trying again", cause=str(error.orig))
            await asyncio.sleep(_MAX_PAUSE_SECONDS / 5)


def _is_worth_another_try(error: ControllerError) -> bool:
    """Whether the same call may work in a moment: the way was cut, or the agent is busy."""
    busy = isinstance(error, AgentError) and error.retry_after_seconds is not None
    return error.transient or busy


class _Deadline(AbstractAsyncContextManager[None]):
    """`asyncio.timeout` that says what it was about."""

    def __init__(self, seconds: float, millis: int) -> None:
        self._timeout = asyncio.timeout(seconds)
        self._millis = millis

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, *raised: object) -> None:
        try:
            await self._timeout.__aexit__(*raised)  # type: ignore[arg-type]
        except TimeoutError as error:
            raise OutOfTimeError(self._millis) from error
