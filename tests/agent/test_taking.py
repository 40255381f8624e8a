"""`taking.py`: one snapshot of one target, and what is written down about it."""

import pytest

from memwatch_agent.attempts import PauseMode
from memwatch_agent.drivers.base import HeapFigures, Way
from memwatch_agent.drivers.errors import CannotForkError, CaptureFailedError, NoWayInError
from memwatch_agent.errors import HeadroomError, PauseBudgetError, SpoolFullError
from memwatch_agent.taking import CaptureSpec, Course, file_name
from memwatch_proto.v1 import agents_pb2, common_pb2
from tests.agent.fakes import MIB, Bench, FakeDriver, target

SPEC = CaptureSpec("r-1", "t-1", session_id="se-1", phase="before")


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path)


async def test_a_snapshot_says_everything_about_itself(bench):
    """Who, when, how, what it cost and what was odd stand in its metadata."""
    course = Course()
    course.notes.append("from before")

    snapshot = await bench.taker.take(SPEC, target(), course)

    assert snapshot.id == "s-0"
    assert (snapshot.request_id, snapshot.session_id, snapshot.phase) == ("r-1", "se-1", "before")
    assert snapshot.target_id == "t-1"
    assert snapshot.way == common_pb2.CAPTURE_WAY_HOOK
    assert (snapshot.runtime, snapshot.runtime_version) == (common_pb2.RUNTIME_NODE, "24.1.0")
    assert snapshot.service == "web"
    assert snapshot.raw_size_bytes == len(bench.driver.data)
    assert snapshot.cost.pause_millis == 12
    assert snapshot.cost.pause_source == common_pb2.PAUSE_SOURCE_RUNTIME
    assert snapshot.cost.extra_memory_bytes == 5 * MIB
    assert snapshot.memory.heap_used_bytes == 10 * MIB
    assert list(snapshot.notes) == ["from before", "from the driver"]
    assert snapshot.id_epoch == "epoch"
    assert snapshot.capture_time.ToMilliseconds() == 1_795_330_000_123
    assert list(bench.spool.snapshots()) == [snapshot]


@pytest.mark.parametrize(
    ("container", "phase", "name"),
    [
        ("", "", "session_pid7_1795330000123_snapshot_2026-11-22T06-46-40-123Z.heapsnapshot"),
        (
            "4f2b" * 16,
            "during-2",
            "session_4f2b4f2b4f2b_1795330000123_during-2_2026-11-22T06-46-40-123Z.heapsnapshot",
        ),
        (
            "",
            "../a\0\n/ü%s",
            "session_pid7_1795330000123_..as_2026-11-22T06-46-40-123Z.heapsnapshot",
        ),
    ],
)
def test_the_file_name_is_the_ancestor_s_and_safe(container, phase, name):
    """A download's name has container, time and phase, and no character that means anything."""
    assert file_name(container, 7, 1_795_330_000.123, phase) == name


async def test_the_first_way_that_answers_is_taken(tmp_path):
    """A hook that is silent is passed over for the inspector, and the snapshot says so."""
    hook, attach = FakeDriver(Way.HOOK), FakeDriver(Way.ATTACH)
    hook.open_error = NoWayInError(7, "its hook says nothing")
    bench = Bench(tmp_path, drivers={Way.HOOK: hook, Way.ATTACH: attach})

    snapshot = await bench.taker.take(SPEC, target(ways=(Way.HOOK, Way.ATTACH)), Course())

    assert snapshot.way == common_pb2.CAPTURE_WAY_ATTACH
    assert snapshot.notes[0].startswith("tried by hook first: cannot capture process 7: its hook")


async def test_a_way_that_is_asked_for_is_not_replaced(tmp_path):
    """Who asks for the hook gets the hook or its error."""
    hook, attach = FakeDriver(Way.HOOK), FakeDriver(Way.ATTACH)
    hook.open_error = NoWayInError(7, "its hook says nothing")
    bench = Bench(tmp_path, drivers={Way.HOOK: hook, Way.ATTACH: attach})
    spec = CaptureSpec("r-1", "t-1", way=Way.HOOK)

    with pytest.raises(NoWayInError, match="its hook says nothing"):
        await bench.taker.take(spec, target(ways=(Way.HOOK, Way.ATTACH)), Course())
    assert attach.opened == 0


def test_a_target_without_a_way_says_why(bench):
    """What stands in the list as the reason is the error's sentence."""
    with pytest.raises(NoWayInError, match="cannot capture process 7: it has no hook"):
        bench.taker.ways(SPEC, target(ways=()))
    with pytest.raises(NoWayInError, match="it does not offer attach; it offers hook"):
        bench.taker.ways(CaptureSpec("r", "t-1", way=Way.ATTACH), target())


async def test_a_pause_that_nobody_asked_for_is_explained(bench):
    """Where a child was to write it and none could, the record says so; `never` refuses."""
    bench.driver.cannot_fork = "the hook that was put into it did not connect"
    snapshot = await bench.taker.take(SPEC, target(), Course())
    assert [one.manner for one in snapshot.cost.tries] == [
        common_pb2.CAPTURE_MANNER_FORKED,
        common_pb2.CAPTURE_MANNER_BLOCKING,
    ]
    assert "not taken in a forked child: the hook that was put" in snapshot.notes[0]
    with pytest.raises(CannotForkError, match="the hook that was put into it did not connect"):
        await bench.taker.take(CaptureSpec("r", "t-1", pause=PauseMode.NEVER), target(), Course())


async def test_no_headroom_is_refused_before_anything_is_taken(bench):
    """The target is asked for its heap's size and not touched further."""
    bench.driver.heap = HeapFigures(used_bytes=1 << 50)

    course = Course()
    with pytest.raises(HeadroomError):
        await bench.taker.take(SPEC, target(), course)

    assert (bench.driver.taken, bench.driver.opened, bench.driver.closed) == (0, 1, 1)
    assert course.preflight is not None
    assert not course.preflight.allowed
    assert bench.leftovers() == []


async def test_force_takes_it_and_says_so(bench):
    """Forced, the capture goes on, and the refusal stands in the notes."""
    bench.driver.heap = HeapFigures(used_bytes=1 << 50)

    snapshot = await bench.taker.take(CaptureSpec("r", "t-1", force=True), target(), Course())

    assert snapshot.notes[0].startswith("forced although the preflight refused: cannot capture")


async def test_a_pause_budget_is_kept(bench):
    """A caller's budget refuses what is predicted to take longer."""
    with pytest.raises(PauseBudgetError, match="would pause for about 630 ms and 10 ms"):
        await bench.taker.take(CaptureSpec("r", "t-1", max_pause_millis=10), target(), Course())


async def test_what_a_capture_cost_is_learned(bench):
    """The second prediction rests on the first capture."""
    await bench.taker.take(SPEC, target(), Course())
    course = Course()
    await bench.taker.take(CaptureSpec("r-2", "t-1"), target(), course)

    assert course.preflight is not None
    assert course.preflight.learned_from == 1
    assert course.preflight.pause_millis < 60
    assert bench.figures.known_heap("t-1") == bench.driver.heap


async def test_a_driver_that_fails_leaves_nothing(bench):
    """Half a snapshot is no snapshot."""
    bench.driver.error = CaptureFailedError(7, "it broke")

    with pytest.raises(CaptureFailedError):
        await bench.taker.take(SPEC, target(), Course())

    assert bench.leftovers() == []
    assert bench.spool.used_bytes == 0
    assert bench.driver.closed == 1


async def test_a_full_spool_stops_the_driver(tmp_path):
    """The driver's block is left and the part file is gone."""
    bench = Bench(tmp_path)
    bench.spool.quota_bytes = 10

    with pytest.raises(SpoolFullError):
        await bench.taker.take(SPEC, target(), Course())

    assert bench.leftovers() == []
    assert bench.driver.closed == 1


async def test_the_course_goes_through_the_stages(bench):
    """A follower sees stage, size and preflight."""
    course = Course()
    assert course.to_pb().stage == agents_pb2.CAPTURE_STAGE_CONNECTING

    await bench.taker.take(SPEC, target(), course)

    progress = course.to_pb()
    assert progress.stage == agents_pb2.CAPTURE_STAGE_FINISHING
    assert progress.raw_size_bytes == len(bench.driver.data)
    assert progress.preflight.allowed
    assert progress.expected_size_bytes == progress.preflight.raw_size_bytes == 20 * MIB
