"""`captures.py`: taken once, one at a time for each pod, joined, timed out and cancelled."""

import asyncio
import contextlib

import pytest

from memwatch_agent import captures as module
from memwatch_agent import places
from memwatch_agent.captures import DISCARDED_NOTE
from memwatch_agent.containers import Container
from memwatch_agent.drivers.errors import CaptureFailedError, NoWayInError, TargetEndedError
from memwatch_agent.errors import (
    BadRequestError,
    CaptureCancelledError,
    CaptureInProgressError,
    CaptureTimeoutError,
    TargetNotFoundError,
)
from memwatch_agent.taking import CaptureSpec
from tests.agent.fakes import Bench, FakeDriver, target

SPEC = CaptureSpec("r-1", "t-1")


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path)


async def run(bench, spec=SPEC):
    """All events of a capture; the last one is the snapshot."""
    return [event async for event in bench.captures.capture(spec)]


async def started(bench, spec=SPEC):
    """A capture that has reached its gate, and the task that follows it."""
    bench.driver.gate.clear()
    following = asyncio.create_task(run(bench, spec))
    while not bench.driver.taken:
        await asyncio.sleep(0)
        assert not following.done(), following.result()
    return following


async def ended():
    """Returns when every capture has ended and its end was noted."""
    tasks = [task for task in asyncio.all_tasks() if task.get_name().startswith("capture")]
    await asyncio.wait(tasks, timeout=5)
    await asyncio.sleep(0)


async def test_events_are_progress_and_then_the_snapshot(bench):
    """The first event has the preflight, the last one the snapshot."""
    events = await run(bench)

    assert events[0].progress.preflight.allowed
    assert [event.WhichOneof("event") for event in events][-1] == "snapshot"
    assert events[-1].snapshot.request_id == "r-1"
    assert bench.captures.counts.succeeded == 1
    assert bench.captures.running == 0


async def test_a_second_call_returns_what_the_first_one_made(bench):
    """However often a request is made, the target is captured once."""
    first = await run(bench)
    second = await run(bench)

    assert second == [first[-1]]
    assert bench.driver.taken == 1


async def test_a_second_call_joins_the_one_that_runs(bench):
    """Both callers get the same snapshot of one capture."""
    one = await started(bench)
    two = asyncio.create_task(run(bench))
    await asyncio.sleep(0)
    bench.driver.gate.set()

    assert (await one)[-1] == (await two)[-1]
    assert bench.driver.taken == 1


async def test_calls_in_the_same_instant_start_one_capture(bench):
    """No race between looking for the target and starting."""
    results = await asyncio.gather(*(run(bench) for _ in range(10)))

    assert bench.driver.taken == 1
    assert len({events[-1].snapshot.id for events in results}) == 1


async def test_a_discarded_snapshot_is_not_taken_again(bench):
    """After a discard the metadata is returned with a note."""
    first = (await run(bench))[-1].snapshot
    bench.spool.discard(first.id)

    again = (await run(bench))[-1].snapshot

    assert again.id == first.id
    assert again.notes[-1] == DISCARDED_NOTE
    assert bench.driver.taken == 1


async def test_a_failed_capture_may_be_tried_again(bench):
    """A request whose capture failed starts a new one."""
    bench.driver.error = CaptureFailedError(7, "it broke")
    with pytest.raises(CaptureFailedError):
        await run(bench)
    bench.driver.error = None

    assert (await run(bench))[-1].HasField("snapshot")
    assert bench.captures.counts.failed == {"CAPTURE_FAILED": 1}


async def test_a_target_that_is_ending_is_told_as_ended(bench):
    """Its connection breaks before it is gone from /proc: the reason is its end."""
    following = await started(bench)
    bench.driver.error = CaptureFailedError(7, "the connection broke")
    bench.driver.gate.set()
    await asyncio.sleep(0.05)
    del bench.roster.known["t-1"]

    with pytest.raises(TargetEndedError, match="it has ended"):
        await following


async def test_a_request_id_belongs_to_one_target(tmp_path):
    """The same id for another target is a mistake, while it runs and later."""
    bench = Bench(tmp_path, target("t-1"), target("t-2", pid=8))
    running = await started(bench)
    with pytest.raises(BadRequestError, match="was used for target 't-1'"):
        await run(bench, CaptureSpec("r-1", "t-2"))
    bench.driver.gate.set()
    await running

    with pytest.raises(BadRequestError, match="was used for target 't-1'"):
        await run(bench, CaptureSpec("r-1", "t-2"))


@pytest.mark.parametrize(
    ("one", "two", "together"),
    [
        (Container("a" * 64, "pod-1"), Container("b" * 64, "pod-1"), False),
        (Container("a" * 64, "pod-1"), Container("b" * 64, "pod-2"), True),
        (Container("a" * 64), Container("a" * 64), False),
        (Container("a" * 64), Container("b" * 64), True),
        (Container(), Container(), False),
    ],
)
async def test_one_at_a_time_for_each_pod(tmp_path, one, two, together):
    """Processes that share a memory limit are captured one after the other."""
    bench = Bench(tmp_path, target("t-1", container=one), target("t-2", pid=8, container=two))
    first = await started(bench)
    second = asyncio.create_task(run(bench, CaptureSpec("r-2", "t-2")))
    await asyncio.sleep(0.05)
    bench.driver.gate.set()
    await first

    if together:
        await second
        return
    with pytest.raises(CaptureInProgressError, match="'r-1' of the same pod") as error:
        await second
    assert (error.value.retry_after_seconds or 0) >= 1
    assert (await run(bench, CaptureSpec("r-2", "t-2")))[-1].HasField("snapshot")


async def test_the_number_of_captures_is_bounded(tmp_path, monkeypatch):
    """Over all pods of a host there is a most."""
    monkeypatch.setattr(places, "MAX_CAPTURES", 1)
    bench = Bench(
        tmp_path,
        target("t-1", container=Container("a" * 64)),
        target("t-2", pid=8, container=Container("b" * 64)),
    )
    first = await started(bench)

    with pytest.raises(CaptureInProgressError):
        await run(bench, CaptureSpec("r-2", "t-2"))
    bench.driver.gate.set()
    await first


async def test_a_lonely_capture_goes_on_and_is_joined_again(bench):
    """A caller that lost its connection finds its capture by the request id."""
    following = await started(bench)
    following.cancel()
    await asyncio.wait([following])
    assert bench.captures.running == 1

    again = asyncio.create_task(run(bench))
    await asyncio.sleep(0.05)
    bench.driver.gate.set()

    assert (await again)[-1].HasField("snapshot")
    assert bench.driver.taken == 1


async def test_a_capture_that_nobody_wants_is_ended(bench, monkeypatch):
    """After a while without a caller the target is left and nothing stays."""
    monkeypatch.setattr(module, "ORPHAN_SECONDS", 0.05)
    following = await started(bench)
    following.cancel()
    await asyncio.wait([following])

    await ended()

    assert bench.leftovers() == []
    assert bench.driver.closed == 1
    assert bench.captures.counts.failed == {"CANCELLED": 1}


async def test_a_capture_that_finishes_alone_is_kept(bench):
    """Its result waits in the spool for the next call."""
    following = await started(bench)
    following.cancel()
    await asyncio.wait([following])
    bench.driver.gate.set()
    await ended()

    assert len(await run(bench)) == 1
    assert bench.driver.taken == 1


async def test_a_timeout_ends_the_capture(bench):
    """What takes longer than allowed is given up, and the target is left."""
    bench.driver.gate.clear()

    with pytest.raises(CaptureTimeoutError, match=r"not done within 0\.1 s"):
        await run(bench, CaptureSpec("r-1", "t-1", timeout_seconds=0.1))

    assert bench.leftovers() == []
    assert bench.driver.closed == 1


async def test_a_stop_cancels_and_cleans_up(bench):
    """When the agent stops, each target is left and no part file stays; no new one begins."""
    following = await started(bench)

    await bench.captures.close()

    with pytest.raises(CaptureCancelledError, match="the agent stops"):
        await following
    assert bench.driver.closed == 1
    assert bench.leftovers() == []
    with pytest.raises(CaptureCancelledError):
        await run(bench, CaptureSpec("r-2", "t-1"))


async def test_an_unknown_target_starts_nothing(bench):
    """No target, no capture."""
    with pytest.raises(TargetNotFoundError):
        await run(bench, CaptureSpec("r-1", "t-none"))
    assert bench.captures.counts.started == 0


async def test_a_target_without_a_way_starts_nothing(tmp_path):
    """NO_WAY_IN is told at once and takes nobody's turn."""
    bench = Bench(tmp_path, target(ways=()))

    with pytest.raises(NoWayInError):
        await run(bench)
    assert bench.captures.counts.started == 0


async def test_a_surprise_is_an_error_of_that_call_only(bench):
    """An error that nobody foresaw ends the capture, is counted, and the next one works."""
    bench.driver.error = ZeroDivisionError("a mistake of ours")
    with pytest.raises(ZeroDivisionError):
        await run(bench)
    bench.driver.error = None

    await run(bench)
    assert bench.captures.counts.failed == {"INTERNAL": 1}


async def test_many_cancelled_callers_leave_one_capture(bench):
    """Callers that come and go neither restart nor stop a capture."""
    first = await started(bench)
    for _ in range(50):
        caller = asyncio.create_task(run(bench))
        await asyncio.sleep(0)
        caller.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await caller
    bench.driver.gate.set()

    assert (await first)[-1].HasField("snapshot")
    assert bench.driver.taken == 1


def test_the_fake_is_a_driver():
    """The fake keeps the real ones' shape."""
    assert {"open", "way"} <= set(dir(FakeDriver()))
