import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch_controller.analysis.room import Answer, Ledger, NoRoomError, Room


def test_what_is_promised_is_not_promised_again():
    """Memory that looks free but was promised goes to nobody else until it is given back."""
    ledger = Ledger()
    assert ledger.ask(60, 100, 100) is Answer.YES
    first = ledger.promise(60)
    assert ledger.ask(60, 100, 100) is Answer.LATER
    assert ledger.ask(40, 100, 100) is Answer.YES
    assert ledger.ask(101, 100, 1000) is Answer.NO
    ledger.release(first)
    assert ledger.ask(60, 100, 100) is Answer.YES
    assert ledger.ask(60, 100, 50) is Answer.NO


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=40), st.integers(0, 100))
def test_promises_never_exceed_what_is_free(steps, free):
    """Whatever is asked for and given back, in any order."""
    ledger = Ledger()
    held: list[int] = []
    for needed, give_back in steps:
        if give_back and held:
            ledger.release(held.pop(0))
        elif ledger.ask(needed, 100, free) is Answer.YES:
            held.append(ledger.promise(needed))
        assert ledger.held_bytes <= free


async def test_who_comes_too_late_waits_for_its_turn():
    """The second waits for the first to end, the third does not overtake; none is refused."""
    room, order = Room(lambda: 100), []

    async def analysis(name, needed, turns):
        async with room.held(needed, 100):
            order.append(name)
            for _ in range(turns):
                await asyncio.sleep(0)

    await asyncio.gather(analysis("a", 60, 9), analysis("b", 60, 3), analysis("c", 10, 1))
    assert order == ["a", "b", "c"]
    assert room.held_bytes == 0


async def test_who_is_alone_and_too_large_is_refused():
    """With the figures, at once; also one that waited and then found no room for another reason."""
    free = [100]
    room = Room(lambda: free[0])
    with pytest.raises(NoRoomError) as caught:
        async with room.held(101, 200):
            pass
    assert (caught.value.needed_bytes, caught.value.free_bytes) == (101, 100)
    async with room.held(60, 100):
        waiting = asyncio.create_task(room.held(60, 100).__aenter__())
        await asyncio.sleep(0)
        free[0] = 10
    with pytest.raises(NoRoomError):
        await waiting


async def test_who_gives_up_waiting_holds_nobody_up():
    """A cancelled wait leaves the line."""
    room = Room(lambda: 100)
    async with room.held(60, 100):
        waiting = asyncio.create_task(room.held(60, 100).__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        async with room.held(40, 100):
            assert room.held_bytes == 100
