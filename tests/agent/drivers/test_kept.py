"""`drivers/kept.py`: what is kept between captures, and for how long."""

import asyncio
from collections.abc import Sequence
from typing import cast

from memwatch_agent.drivers import kept
from memwatch_agent.drivers.base import HeapFigures, Process, Runtime
from memwatch_agent.drivers.errors import CaptureFailedError
from memwatch_agent.drivers.hook import HookLink
from memwatch_agent.drivers.kept import KeptLinks
from tests.support.processes import wait_until


class Link:
    """A connection that answers, or does not, and remembers that it was closed."""

    def __init__(self, *, answers: bool = True) -> None:
        self.answers = answers
        self.closed = False

    async def figures(self) -> HeapFigures:
        """Answers or fails."""
        if not self.answers:
            raise CaptureFailedError(1, "its hook closed the connection")
        return HeapFigures()

    def close(self) -> None:
        """Remembers it."""
        self.closed = True


def put(links: KeptLinks, pid: int, link: Link) -> Process:
    """Keeps a connection for a process."""
    target = Process(pid, 1, Runtime.NODE)
    links.put(target, cast("HookLink", link))
    return target


def closed(links: Sequence[Link]) -> list[bool]:
    """Which of them are closed."""
    return [link.closed for link in links]


async def test_a_connection_is_taken_once():
    """Whoever takes it has it alone; another start time is another process."""
    links, link = KeptLinks(), Link()
    target = put(links, 7, link)

    assert await links.take(Process(7, 2, Runtime.NODE)) is None
    assert cast("Link", await links.take(target)) is link
    assert await links.take(target) is None
    assert not link.closed


async def test_one_that_no_longer_answers_is_closed():
    """A target that ended, or let it go, is attached to anew."""
    links, link = KeptLinks(), Link(answers=False)
    target = put(links, 7, link)

    assert await links.take(target) is None
    assert link.closed


async def test_what_is_kept_is_bounded(monkeypatch):
    """The oldest goes for the newest, a second one of a process for its first."""
    monkeypatch.setattr(kept, "MAX_KEPT", 2)
    links, made = KeptLinks(), [Link() for _ in range(4)]
    for pid, link in zip((1, 2, 2, 3), made, strict=True):
        put(links, pid, link)

    assert closed(made) == [True, True, False, False]
    links.close()
    assert closed(made) == [True] * 4


async def test_what_nobody_comes_for_is_let_go(monkeypatch):
    """After its time the target is left alone."""
    monkeypatch.setattr(kept, "KEEP_SECONDS", 0.01)
    links, link = KeptLinks(), Link()
    target = put(links, 7, link)
    await asyncio.to_thread(wait_until, lambda: link.closed)

    assert await links.take(target) is None
