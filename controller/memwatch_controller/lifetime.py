"""What both programs need to begin and to end: background tasks, signals, and the exit code."""

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import AsyncExitStack

import structlog

from memwatch_controller.store.presence import NameLostError, Presence

_log = structlog.get_logger()


class Ending:
    """When a program ends, and its exit code."""

    def __init__(self) -> None:
        self._stop = asyncio.Event()
        self.code = 0

    def on_signals(self) -> None:
        """Has SIGTERM and SIGINT end the program well."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)

    def give_up(self) -> None:
        """Ends the program with exit code 1."""
        self.code = 1
        self._stop.set()

    async def wait(self) -> None:
        """Returns when it is time."""
        await self._stop.wait()


def at_work(stack: AsyncExitStack, coroutine: Coroutine[None, None, None]) -> None:
    """A background task for as long as the stack lives."""
    task = asyncio.create_task(coroutine)

    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(end)


async def keep_names(presence: Presence, ending: Ending) -> None:
    """Keeps the names on the database; ends the program where another has taken one."""
    try:
        await presence.run()
    except NameLostError as error:
        _log.error("another program took our place, ending", cause=str(error))
        ending.give_up()
