"""`drivers/hook.py`: what a Node hook says of forked snapshots, and what is made of it."""

from dataclasses import replace
from pathlib import Path

import pytest

from memwatch_agent.drivers import hookwire
from memwatch_agent.drivers.base import Bounds, Manner, Runtime
from memwatch_agent.drivers.errors import CannotForkError, ForkFailedError
from memwatch_agent.drivers.hook import HookDriver
from memwatch_agent.drivers.hookwire import FrameType
from tests.agent.drivers.test_hook import hello, saying

FORKS = hello(runtime="node", pauses=["blocking", "forked", "newer"])


async def of(folder: Path, greeting: bytes, answer: bytes = b"") -> tuple[Manner, ...]:
    """What a hook of that greeting offers; asks it for a forked snapshot where it answers."""

    async def sink(_data: bytes) -> None:
        """Takes nothing in."""

    async with saying(folder, greeting, answer) as target:
        node = replace(target, runtime=Runtime.NODE)
        async with HookDriver().open(node) as link:
            if answer:
                await link.capture_forked(sink, lambda _: None, Bounds(2.5, 1000))
            return tuple(link.manners)


async def test_only_a_hook_that_says_so_is_asked_to_fork(tmp_path):
    """An older one would ignore the option, and stop the app."""
    assert await of(tmp_path, FORKS) == (Manner.FORKED, Manner.BLOCKING)
    assert await of(tmp_path, hello(runtime="node")) == (Manner.BLOCKING,)


async def test_why_it_cannot_fork_is_told(tmp_path):
    """So that another way is taken, or the caller hears of it."""
    answer = {"id": 1, "reason": "CANNOT_FORK", "message": "cannot fork: no addon"}

    with pytest.raises(CannotForkError, match="cannot fork: no addon; let it pause"):
        await of(tmp_path, FORKS, hookwire.json_frame(FrameType.ERROR, answer))


async def test_a_child_that_failed_tells_what_it_cost(tmp_path):
    """Figures that cannot be are left out."""
    answer = {
        "id": 1,
        "reason": "CHILD_FAILED",
        "message": "it hung",
        "pause": "forked",
        "cause": "quiet",
        "pause_millis": 7.5,
        "duration_millis": -1,
        "extra_memory_bytes": "much",
    }

    with pytest.raises(ForkFailedError, match="it hung") as caught:
        await of(tmp_path, FORKS, hookwire.json_frame(FrameType.ERROR, answer))
    assert (caught.value.kind, caught.value.pause_millis) == ("quiet", 7.5)
    assert (caught.value.duration_millis, caught.value.extra_memory_bytes) == (0, 0)
