import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch_controller.errors import ServiceBusyError
from memwatch_controller.sessions import slots as module
from memwatch_controller.sessions.slots import Slots, service_limit


@given(replicas=st.integers(0, 1_000), most=st.integers(0, 1_000))
def test_never_all_replicas_at_once(replicas, most):
    """Whatever the settings say: at least one, and where there are several, not all."""
    limit = service_limit(replicas, most)
    assert limit >= 1
    assert limit < replicas or replicas <= 1
    assert not most or limit <= most


class Crowd:
    """Captures of one service that end when a test says so."""

    def __init__(self, slots: Slots, replicas: int) -> None:
        self.replicas = replicas
        self._slots = slots
        self.inside: list[int] = []
        self._end: dict[int, asyncio.Event] = {}
        self.tasks: dict[int, asyncio.Task[None]] = {}

    async def come(self, number: int, service: str = "web") -> None:
        self._end[number] = asyncio.Event()
        self.tasks[number] = asyncio.create_task(self._capture(number, service))
        await settle()

    async def _capture(self, number: int, service: str) -> None:
        async with self._slots.place(service, lambda: self.replicas):
            self.inside.append(number)
            await self._end[number].wait()
            self.inside.remove(number)

    async def go(self, number: int) -> None:
        self._end[number].set()
        await settle()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_replicas_of_a_service_take_turns():
    """Half of four at once, in the order of their coming; another service is not held up."""
    crowd = Crowd(Slots(10, 0, 60), replicas=4)
    for number in range(4):
        await crowd.come(number)
    await crowd.come(9, "other")
    assert crowd.inside == [0, 1, 9]
    await crowd.go(0)
    assert crowd.inside == [1, 9, 2]
    crowd.replicas = 2  # some were scaled away: one at a time from now on
    await crowd.go(1)
    assert crowd.inside == [9, 2]
    await crowd.go(2)
    assert crowd.inside == [9, 3]
    await crowd.go(3)
    await crowd.go(9)
    assert crowd.inside == []


async def test_who_gives_up_leaves_the_line():
    """A cancelled wait takes nobody's place, also in the moment of its turn."""
    crowd = Crowd(Slots(10, 1, 60), replicas=3)
    for number in range(3):
        await crowd.come(number)
    crowd.tasks[1].cancel()
    await crowd.go(0)
    assert crowd.inside == [2]
    await crowd.come(3)
    crowd._end[2].set()
    await asyncio.sleep(0)
    crowd.tasks[3].cancel()
    await settle()
    await crowd.come(4)
    assert crowd.inside == [4]


async def test_who_waits_too_long_is_told_when_to_come_again():
    """RESOURCE_EXHAUSTED with the limit and a retry time."""
    crowd = Crowd(Slots(10, 0, 0.05), replicas=1)
    await crowd.come(0)
    await crowd.come(1)
    with pytest.raises(ServiceBusyError) as caught:
        await crowd.tasks[1]
    assert caught.value.facts == {"service": "web", "limit": "1"}
    assert caught.value.retry_after_seconds == 0.05
    await crowd.go(0)
    await crowd.come(2)
    assert crowd.inside == [2]


async def test_the_line_is_bounded(monkeypatch):
    """Who comes when too many wait is sent away at once."""
    monkeypatch.setattr(module, "MAX_WAITING_OF_SERVICE", 1)
    crowd = Crowd(Slots(10, 0, 60), replicas=1)
    for number in range(3):
        await crowd.come(number)
    with pytest.raises(ServiceBusyError, match="come again in 60 s"):
        await crowd.tasks[2]
    for task in crowd.tasks.values():
        task.cancel()
    await settle()
