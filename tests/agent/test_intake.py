"""`intake.py`: bytes reach the spool in order, off the loop, and never pile up."""

import asyncio
import hashlib
import os
import threading

import pytest

from memwatch_agent.errors import SpoolFullError
from memwatch_agent.intake import BATCH_BYTES, Intake
from memwatch_agent.spool import Spool

PLENTY = 1 << 40


@pytest.fixture
def spool(tmp_path) -> Spool:
    return Spool(tmp_path / "spool", 16 * BATCH_BYTES, lambda _: PLENTY)


async def test_bytes_arrive_in_order(spool):
    """Pieces of any size make the same snapshot."""
    intake = Intake(spool.create("s-1"))
    pieces = [os.urandom(size) for size in (1, 0, BATCH_BYTES, 7, 3 * BATCH_BYTES, 99)]
    for piece in pieces:
        await intake.take(piece)

    blob = await intake.finish()

    assert blob.raw_sha256 == hashlib.sha256(b"".join(pieces)).hexdigest()
    assert intake.received_bytes == sum(map(len, pieces))


async def test_a_slow_disk_holds_the_driver_back(spool, monkeypatch):
    """At most one batch is being written and one is filled; then `take` waits."""
    writer = spool.create("s-1")
    disk = threading.Event()
    monkeypatch.setattr(writer, "write", lambda _data: disk.wait())
    intake = Intake(writer)
    taken = 0

    async def feed() -> None:
        nonlocal taken
        for _ in range(40):
            await intake.take(bytes(BATCH_BYTES // 4))
            taken += BATCH_BYTES // 4

    feeding = asyncio.create_task(feed())
    await asyncio.sleep(0.1)

    assert taken < 2 * BATCH_BYTES
    disk.set()
    await feeding
    await intake.abort()


async def test_a_full_spool_is_told_to_the_driver(spool):
    """An error of the disk comes out of a later `take` or of `finish`."""
    intake = Intake(spool.create("s-1"))

    async def feed() -> None:
        for _ in range(40):
            await intake.take(os.urandom(BATCH_BYTES))
        await intake.finish()

    with pytest.raises(SpoolFullError):
        await feed()
    await intake.abort()
    assert spool.used_bytes == 0


async def test_a_cancel_waits_for_the_write_that_runs(spool, tmp_path):
    """An abort after a cancel leaves no file, whatever a thread was doing."""
    intake = Intake(spool.create("s-1"))

    async def feed() -> None:
        while True:
            await intake.take(os.urandom(BATCH_BYTES // 8))

    feeding = asyncio.create_task(feed())
    await asyncio.sleep(0.05)
    feeding.cancel()
    await asyncio.wait([feeding])
    await intake.abort()

    assert os.listdir(tmp_path / "spool") == []
