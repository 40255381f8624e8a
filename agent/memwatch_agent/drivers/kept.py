"""Connections to hooks that we have put into targets, kept from one capture to the next.

They keep V8's object ids comparable: the next capture needs no inspector, whose end would clear
them. A kept connection costs the target one idle socket.
"""

import asyncio
from dataclasses import dataclass

from memwatch_agent.drivers.base import Process
from memwatch_agent.drivers.errors import DriverError
from memwatch_agent.drivers.hook import HookLink

#: Longer than nearly every session; a later capture attaches anew, and its ids compare with none.
KEEP_SECONDS = 3600.0

#: More processes than one pod captures in an hour; the oldest is let go.
MAX_KEPT = 64


@dataclass(frozen=True)
class _Kept:
    link: HookLink
    expiry: asyncio.TimerHandle


class KeptLinks:
    """Idle connections, one for each process at most."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int], _Kept] = {}

    async def take(self, target: Process) -> HookLink | None:
        """The connection kept for a process, if it still answers."""
        kept = self._kept.pop((target.pid, target.start_ticks), None)
        if kept is None:
            return None
        kept.expiry.cancel()
        try:
            await kept.link.figures()
        except DriverError:
            kept.link.close()
            return None
        return kept.link

    def put(self, target: Process, link: HookLink) -> None:
        """Keeps an idle connection for a while."""
        key = target.pid, target.start_ticks
        loop = asyncio.get_running_loop()
        self._drop(key)
        if len(self._kept) >= MAX_KEPT:
            self._drop(next(iter(self._kept)))
        self._kept[key] = _Kept(link, loop.call_later(KEEP_SECONDS, self._drop, key))

    def close(self) -> None:
        """Lets all go."""
        for key in list(self._kept):
            self._drop(key)

    def _drop(self, key: tuple[int, int]) -> None:
        if kept := self._kept.pop(key, None):
            kept.expiry.cancel()
            kept.link.close()
