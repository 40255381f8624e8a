"""Work that is done again and again."""

import asyncio

import pytest

from memwatch_controller.rounds import rounds


class Enough(BaseException):
    """Ends the rounds of a test."""


async def test_a_round_that_fails_is_not_the_last():
    """Whatever is raised is logged, and the work comes again after the pause."""
    done: list[int] = []
    slept: list[float] = []

    async def work():
        done.append(len(done))
        raise [KeyError("uid"), OSError("the database is away"), ValueError()][len(done) - 1]

    async def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            raise Enough

    with pytest.raises(Enough):
        await rounds("test", work, 7.0, sleep)
    assert (done, slept) == ([0, 1, 2], [7.0] * 3)


async def test_rounds_end_when_they_are_cancelled():
    """A program that stops is not kept by its background work."""
    running = asyncio.create_task(rounds("test", lambda: asyncio.sleep(60), 60))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
