"""Background work that is done again and again, whatever becomes of one round."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

_log = structlog.get_logger()


async def rounds(
    doing: str,
    work: Callable[[], Awaitable[object]],
    seconds: float,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Does `work`, then waits, for ever; a round that fails is logged, and the next one comes.

    A database that is away for a minute, or an object that is not as it should be, must not end
    what undoes changes and frees what is held.
    """
    while True:
        try:
            await work()
        except Exception:  # noqa: BLE001  outermost of a task: the next round may work
            _log.exception(f"cannot {doing}")
        await sleep(seconds)
