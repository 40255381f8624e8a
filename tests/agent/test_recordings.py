"""Recordings over a fake profiler and a real spool."""

import asyncio

import pytest

from memwatch_agent.captures import DISCARDED_NOTE
from memwatch_agent.drivers.base import Runtime
from memwatch_agent.drivers.errors import KindUnsupportedError, NoWayInError, RecordingFailedError
from memwatch_agent.drivers.profiling import ProfileKind, ProfileOptions
from memwatch_agent.errors import (
    BadRequestError,
    CaptureCancelledError,
    CaptureInProgressError,
    RecordingLostError,
)
from memwatch_agent.recording import SIZE_GRACE_BYTES, RecordSpec
from memwatch_agent.taking import CaptureSpec
from memwatch_proto.v1 import agents_pb2, common_pb2
from tests.agent.fakes import Bench, target

SPEC = RecordSpec("r-1", "t-1", ProfileKind.TYPES)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path, target("t-1"), target("t-2", pid=8, ways=()))


async def run(bench, spec=SPEC):
    return [event async for event in bench.recordings.record(spec)]


async def started(bench, spec=SPEC):
    """A recording that goes on until the gate is opened."""
    bench.profiler.gate.clear()
    following = asyncio.create_task(run(bench, spec))
    await bench.profiler.recording.wait()
    return following


async def test_an_artifact_says_what_it_is(bench):
    """The last event has all that is known of the recording; its bytes lie in the spool."""
    *_, last = await run(bench)

    artifact = last.artifact
    assert artifact.kind == common_pb2.SNAPSHOT_KIND_PROFILE
    assert artifact.profile_kind == common_pb2.PROFILE_KIND_TYPES
    assert (artifact.request_id, artifact.target_id) == ("r-1", "t-1")
    assert artifact.content_type == "application/json"
    assert artifact.file_name.startswith("profile_pid7_1795330000123_types_2026-")
    assert artifact.file_name.endswith(".json")
    assert artifact.raw_size_bytes == len(bench.profiler.data)
    assert (artifact.cost.pause_millis, artifact.cost.cpu_millis) == (2, 3)
    assert artifact.memory.rss_bytes > 0
    assert artifact.end_time.ToMilliseconds() >= artifact.capture_time.ToMilliseconds() > 0
    assert list(artifact.notes) == ["from the profiler"]
    assert [one.id for one in bench.spool.snapshots()] == [artifact.id]


async def test_a_second_call_joins_and_a_third_returns_the_same(bench):
    """A request id records once, also after its artifact was discarded."""
    first = await started(bench)
    second = asyncio.create_task(run(bench))
    await asyncio.sleep(0.05)
    bench.profiler.gate.set()
    ids = {events[-1].artifact.id for events in await asyncio.gather(first, second)}

    assert ids == {(await run(bench))[-1].artifact.id}
    assert bench.profiler.begun == 1
    bench.spool.discard(ids.pop())
    assert (await run(bench))[-1].artifact.notes[-1] == DISCARDED_NOTE


async def test_a_recording_goes_on_without_callers(bench):
    """Its artifact waits in the spool for the one who comes back."""
    following = await started(bench)
    following.cancel()
    await asyncio.wait([following])
    bench.profiler.gate.set()

    spec = RecordSpec("r-1", "t-1", ProfileKind.TYPES, join_only=True)
    assert (await run(bench, spec))[-1].artifact.raw_size_bytes


async def test_stopping_ends_it_early_and_keeps_it(bench):
    """What was recorded until then is the artifact; stopping what does not run is no error."""
    following = await started(bench)
    bench.recordings.stop("r-1")
    bench.recordings.stop("r-unknown")

    assert (await following)[-1].artifact.id
    assert bench.profiler.stopped == 1


async def test_joining_begins_nothing(bench):
    """An agent that was restarted says that the recording is lost."""
    with pytest.raises(RecordingLostError):
        await run(bench, RecordSpec("r-1", "t-1", ProfileKind.TYPES, join_only=True))
    assert bench.profiler.begun == 0


async def test_progress_tells_the_stage_and_the_time(bench):
    """A follower knows since when and for how long it records."""
    spec = RecordSpec("r-1", "t-1", ProfileKind.TYPES, ProfileOptions(duration_seconds=12))
    following = await started(bench, spec)
    await asyncio.sleep(0.15)
    bench.profiler.gate.set()
    progress = (await following)[0].progress

    assert progress.stage == agents_pb2.RECORDING_STAGE_RECORDING
    assert progress.start_time.ToMilliseconds() == 1_795_330_000_123
    assert progress.duration_millis == 12_000


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        (RecordSpec("r", "t-1", ProfileKind.NEAR_LIMIT), KindUnsupportedError),
        (RecordSpec("r", "t-2", ProfileKind.TYPES), NoWayInError),
    ],
)
async def test_what_cannot_be_recorded_is_refused(bench, spec, error):
    """A kind that the runtime has not, and a process without a way in."""
    with pytest.raises(error) as caught:
        await run(bench, spec)
    if error is KindUnsupportedError:
        assert "it records types" in str(caught.value)
        assert bench.roster.known["t-1"].found.runtime is Runtime.NODE
    assert bench.recordings.running == 0


async def test_a_process_is_not_captured_while_it_is_recorded(bench):
    """The limiter is the captures' own."""
    following = await started(bench)
    with pytest.raises(CaptureInProgressError):
        async for _ in bench.captures.capture(CaptureSpec("c-1", "t-1")):
            pass
    bench.profiler.gate.set()
    await following
    assert [e async for e in bench.captures.capture(CaptureSpec("c-1", "t-1"))]


@pytest.mark.parametrize("way", ["breaks", "too large"])
async def test_nothing_is_left_of_what_failed(bench, way):
    """The spool has no part of it, and the process is free again."""
    if way == "breaks":
        bench.profiler.error = RecordingFailedError(7, "it broke")
    else:
        bench.profiler.data = bytes(SIZE_GRACE_BYTES + 2)
    spec = RecordSpec("r-1", "t-1", ProfileKind.TYPES, ProfileOptions(max_size_bytes=1))
    with pytest.raises(RecordingFailedError):
        await run(bench, spec)

    assert bench.leftovers() == []
    assert bench.spool.used_bytes == 0
    bench.profiler.error, bench.profiler.data = None, b"{}"
    assert (await run(bench, RecordSpec("r-2", "t-1", ProfileKind.TYPES)))[-1].artifact.id


async def test_a_request_id_belongs_to_one_target(bench):
    """Used for another one it is refused."""
    await run(bench)
    with pytest.raises(BadRequestError):
        await run(bench, RecordSpec("r-1", "t-2", ProfileKind.TYPES))


async def test_an_agent_that_stops_ends_its_recordings(bench):
    """Those who follow hear why, and a new one is refused."""
    following = await started(bench)
    await bench.recordings.close()

    with pytest.raises(CaptureCancelledError, match="the agent stops"):
        await following
    with pytest.raises(CaptureCancelledError):
        await run(bench, RecordSpec("r-2", "t-1", ProfileKind.TYPES))
