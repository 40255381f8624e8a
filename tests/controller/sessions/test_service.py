import asyncio
import contextlib

import pytest

from memwatch_controller import model
from memwatch_controller.errors import (
    AgentError,
    AmbiguousTargetError,
    AnalysisError,
    InvalidArgumentError,
    NotFoundError,
    SessionNotFinishedError,
    TargetEndedError,
    TargetNotFoundError,
    TooManySessionsError,
)
from memwatch_controller.sessions.engine import Work, WorkKind, WorkState
from tests.controller.builders import agent, target
from tests.controller.sessions.conftest import make_bench, plan

S = model.SessionState
REFUSED = AgentError("HEADROOM", "FAILED_PRECONDITION", "cannot capture: no room; pass --force")
CUT = AgentError("UNAVAILABLE", "UNAVAILABLE", "cannot reach the agent: cut", transient=True)


async def test_a_session_passes_through_its_states(bench):
    """Created, captured, waited for exactly the timeframe, captured again, analysed."""
    session = await bench.service.create("r", plan())
    assert session.state is S.PENDING

    await bench.engine.perform_due()
    waiting = await bench.service.get(session.id)
    assert waiting.state is S.WAITING
    assert waiting.targets[0].due_time == bench.clock() + 60_000

    await bench.advance(59_999)
    assert (await bench.service.get(session.id)).state is S.WAITING

    await bench.advance(1)
    done = await bench.service.get(session.id)
    assert done.state is S.SUCCEEDED
    assert done.end_time == bench.clock()
    assert [(s.phase, s.late) for s in done.targets[0].snapshots] == [
        ("before", False),
        ("after", False),
    ]
    ids = tuple(s.id for s in done.targets[0].snapshots)
    assert bench.analysis.compared == [(session.id, "t-1a", ids)]
    assert done.targets[0].report_id


async def test_five_snapshots_are_evenly_spaced(bench):
    """N snapshots are taken a quarter of the timeframe apart, each named by its phase."""
    session = await bench.service.create("r", plan(snapshots=5))
    times = []
    for _ in range(5):
        await bench.engine.perform_due()
        times.append(bench.clock())
        bench.clock.now += 15_000

    found = (await bench.service.get(session.id)).targets[0].snapshots
    assert [s.phase for s in found] == ["before", "during-1", "during-2", "during-3", "after"]
    assert [s.capture_time for s in found] == times


async def test_the_same_request_returns_the_same_session(bench):
    """A second create with the same request id changes nothing, also when it is long done."""
    first = await bench.service.create("r", plan())
    await bench.engine.perform_due()
    await bench.advance(60_000)
    again = await bench.service.create("r", plan("t-2a"))

    assert again.id == first.id
    assert again.state is S.SUCCEEDED
    assert bench.engine.waiting == {}


async def test_a_late_after_is_taken_and_marked(bench):
    """An after that is due while nobody works is taken later, with the delay on it."""
    session = await bench.service.create("r", plan())
    await bench.engine.perform_due()
    await bench.advance(70_000)

    after = (await bench.service.get(session.id)).targets[0].snapshots[1]
    assert (after.late, after.late_millis) == (True, 10_000)


async def test_a_session_id_can_be_chosen_once(bench):
    """A chosen id is used; the same id under another request is refused with the next step."""
    session = await bench.service.create("r-1", plan(), "my-session.1")
    assert session.id == "my-session.1"
    with pytest.raises(InvalidArgumentError, match="taken by another session; choose another"):
        await bench.service.create("r-2", plan(), "my-session.1")


@pytest.mark.parametrize(
    ("request_id", "session_id"),
    [
        ("", ""),
        ("x" * 129, ""),
        ("r", "../etc/passwd"),
        ("r", "a\x00b"),
        ("r", "a\nb"),
        ("r", "x" * 81),
    ],
)
async def test_bad_ids_are_refused(bench, request_id, session_id):
    """An id that could not stand in a path, a log or a key is refused."""
    with pytest.raises(InvalidArgumentError, match="cannot create a session"):
        await bench.service.create(request_id, plan(), session_id)


async def test_targets_must_exist_and_be_one(bench):
    """Unknown, ambiguous and ended targets are told apart, and nothing is created."""
    bench.registry.register(agent(), [target("t-1a"), target("t-1b")])
    with pytest.raises(TargetNotFoundError, match=r"name 'nosuch'.*memwatchctl targets list"):
        await bench.service.create("r-1", plan("nosuch"))
    with pytest.raises(AmbiguousTargetError, match=r"2 match \(t-1a .*, t-1b "):
        await bench.service.create("r-2", plan("web"))
    with pytest.raises(TargetEndedError):
        await bench.service.create("r-3", plan("t-1c"))
    assert await bench.service.list(limit=10) == []


async def test_open_sessions_are_limited(tmp_path):
    """One more than the limit is refused with a time to ask again; a finished one frees it."""
    bench = await make_bench(tmp_path / "m.sqlite", open_sessions=2)
    first = await bench.service.create("r-1", plan())
    await bench.service.create("r-2", plan())
    with pytest.raises(TooManySessionsError) as caught:
        await bench.service.create("r-3", plan())
    assert caught.value.retry_after_seconds > 0
    await bench.service.cancel(first.id)
    await bench.service.create("r-3", plan())
    await bench.database.close()


async def test_a_refused_capture_fails_the_session_with_phase_and_reason(bench):
    """The agent's own reason and sentence are what the session says, with the phase."""
    bench.captures.failures = [REFUSED]
    session = await bench.service.create("r", plan())
    await bench.engine.perform_due()
    failed = await bench.service.get(session.id)

    assert failed.state is S.FAILED
    assert failed.error == model.SessionError(
        "capturing_before",
        "HEADROOM",
        "cannot take snapshot 'before' of 'web-a': cannot capture: no room; pass --force",
    )


async def test_a_target_that_ended_fails_the_after_and_keeps_the_before(bench):
    """A process that ended in the wait fails the session; its first snapshot stays."""
    session = await bench.service.create("r", plan())
    await bench.engine.perform_due()
    bench.registry.register(agent(), [])
    await bench.advance(60_000)
    failed = await bench.service.get(session.id)

    assert (failed.error.phase, failed.error.reason) == ("capturing_after", "TARGET_ENDED")
    assert [s.phase for s in failed.targets[0].snapshots] == ["before"]


async def test_a_cut_way_is_tried_again_only_so_long(bench):
    """A transient error that lasts longer than it may fails the session."""
    bench.captures.failures = [CUT] * 3
    session = await bench.service.create("r", plan())
    await bench.engine.perform_due()

    assert (await bench.service.get(session.id)).error.reason == "UNAVAILABLE"


async def test_a_failed_analysis_keeps_the_snapshots(bench):
    """Snapshots stay although they could not be compared."""
    bench.analysis.failures = [AnalysisError("s-0", "the file is cut")]
    session = await bench.service.create("r", plan(timeframe_millis=0))
    await bench.engine.perform_due()
    failed = await bench.service.get(session.id)

    assert (failed.error.phase, failed.error.reason) == ("analysing", "ANALYSIS_FAILED")
    assert len(failed.targets[0].snapshots) == 2


async def test_a_fault_fails_one_session_only(bench):
    """An error nobody foresaw ends its session with a request to report it, and no other."""
    bench.captures.failures = [RuntimeError("boom")]
    broken = await bench.service.create("r-1", plan())
    fine = await bench.service.create("r-2", plan("t-2a", timeframe_millis=0))
    await bench.engine.perform_due()

    assert (await bench.service.get(broken.id)).error.reason == "INTERNAL"
    assert "please report it" in (await bench.service.get(broken.id)).error.message
    assert (await bench.service.get(fine.id)).state is S.SUCCEEDED


async def test_a_fleet_is_captured_with_bounded_parallelism(bench):
    """All six targets are captured, never more than two at once, in one session."""
    bench.captures.meeting = asyncio.Barrier(2)
    for number in (1, 2):  # each is a service of its own: of one service, two take turns
        targets = [target(f"t-{number}{letter}", service=f"{number}{letter}") for letter in "abc"]
        bench.registry.register(agent(f"a-{number}"), targets)
    selector = model.Selector()
    session = await bench.service.create(
        "r", plan(selector=selector, fleet=True, max_parallel=2, timeframe_millis=0)
    )
    while due := bench.engine.due():
        await asyncio.gather(*(bench.engine.perform(work) for work in due))
    done = await bench.service.get(session.id)

    assert done.state is S.SUCCEEDED
    assert len(done.targets) == 6
    assert bench.captures.most_running == 2
    assert len(bench.analysis.compared) == 6


async def test_a_fleet_goes_on_when_one_target_fails(bench):
    """The others get their reports; the session names the one that failed, with numbers."""
    bench.captures.failures = [REFUSED]
    session = await bench.service.create(
        "r", plan(selector=model.Selector(), fleet=True, timeframe_millis=0)
    )
    await bench.engine.perform_due()
    done = await bench.service.get(session.id)

    assert done.state is S.FAILED
    assert [p.state for p in done.targets].count(S.SUCCEEDED) == 5
    assert done.error.reason == "HEADROOM"
    assert "(1 of 6 targets failed" in done.error.message


async def test_cancel_while_waiting(bench):
    """A cancelled session ends at once, keeps its snapshot and takes no other."""
    session = await bench.service.create("r", plan())
    await bench.engine.perform_due()
    cancelled = await bench.service.cancel(session.id)
    assert cancelled.state is S.CANCELLED

    await bench.advance(600_000)
    again = await bench.service.cancel(session.id)

    assert again == await bench.service.get(session.id)
    assert len(again.targets[0].snapshots) == 1
    assert len(bench.captures.orders) == 1


async def test_cancel_while_capturing_lets_the_agent_discard(bench):
    """What the agent finishes for a cancelled capture is discarded a moment later."""
    bench.captures.delay = 10_000
    session = await bench.service.create("r", plan())
    task = asyncio.create_task(bench.engine.perform(bench.engine.due()[0]))
    while not bench.captures.running:  # noqa: ASYNC110  it runs in this loop, and soon
        await asyncio.sleep(0)
    await bench.service.cancel(session.id)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await bench.advance(15_000)

    assert bench.captures.discarded == [("127.0.0.1:9465", session.id)]
    assert (await bench.service.get(session.id)).targets[0].snapshots == ()


async def test_discarding_is_tried_again_and_given_up(bench):
    """An agent that is away is asked again with longer pauses, and not for ever."""
    bench.captures.failures = [REFUSED] + [CUT] * 100
    session = await bench.service.create("r", plan())
    await bench.engine.perform_due()
    for _ in range(40):
        await bench.advance(3_600_000)

    assert bench.captures.discarded == []
    discards = [work for work in bench.engine.ended if work.kind is WorkKind.DISCARD]
    assert len(discards) == 9
    assert all(work.session_id == session.id for work in discards)


async def test_delete_needs_a_finished_session(bench):
    """An open session is not deleted; a finished one goes with its snapshots; twice is fine."""
    session = await bench.service.create("r", plan())
    with pytest.raises(SessionNotFinishedError, match="sessions cancel s-0"):
        await bench.service.delete(session.id)
    await bench.engine.perform_due()
    await bench.service.cancel(session.id)
    await bench.service.delete(session.id)
    await bench.service.delete(session.id)

    assert len(bench.captures.deleted) == 1
    with pytest.raises(NotFoundError):
        await bench.service.get(session.id)


async def watched(bench, id, seen):
    """Collects the states that a watcher sees."""
    async for session in bench.service.watch(id):
        seen.append((session.state, session.version))


async def test_watch_shows_every_change_and_ends(bench):
    """A watcher sees each state once, in order, and the call ends with the session."""
    session = await bench.service.create("r", plan(timeframe_millis=0))
    seen: list[tuple[model.SessionState, int]] = []
    task = asyncio.create_task(watched(bench, session.id, seen))
    await asyncio.sleep(0.05)
    await bench.engine.perform_due()
    await asyncio.wait_for(task, 10)

    states = list(dict.fromkeys(state for state, _ in seen))
    assert states == [
        S.PENDING,
        S.CAPTURING_BEFORE,
        S.WAITING,
        S.CAPTURING_AFTER,
        S.ANALYSING,
        S.SUCCEEDED,
    ]
    versions = [version for _, version in seen]
    assert versions == sorted(versions)


async def test_watch_of_a_finished_session_shows_it_once(bench):
    """Watching again after the end shows the end."""
    session = await bench.service.create("r", plan())
    await bench.service.cancel(session.id)

    assert [s.state async for s in bench.service.watch(session.id)] == [S.CANCELLED]
    with pytest.raises(NotFoundError):
        await anext(bench.service.watch("none"))


async def test_watch_shows_progress(bench):
    """A capture's progress reaches the watcher beside the state."""
    bench.captures.delay = 100
    session = await bench.service.create("r", plan())
    seen = []

    async def watch():
        async for change in bench.service.watch(session.id):
            seen.append(change.targets[0].progress)  # noqa: PERF401  read while it fills

    task = asyncio.create_task(watch())
    await asyncio.sleep(0.05)
    await bench.engine.perform_due()
    await asyncio.sleep(0.05)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task

    assert model.CaptureProgress(model.CaptureStage.CAPTURING, 1, 2) in seen
    assert seen[-1] is None


async def test_watch_shows_how_far_a_comparison_is(bench):
    """A comparison's progress reaches the watcher, and is gone at the end."""
    session = await bench.service.create("r", plan())
    await bench.engine.perform_due()
    bench.clock.now += 60_000
    seen = []

    async def watch():
        async for change in bench.service.watch(session.id):
            seen.append(change.targets[0].analysis)  # noqa: PERF401  read while it fills

    task = asyncio.create_task(watch())
    await asyncio.sleep(0.05)
    await bench.engine.perform_due()
    await bench.engine.perform_due()
    await asyncio.wait_for(task, 10)
    assert model.AnalysisProgress("looking who holds what", 43) in seen
    assert seen[-1] is None


async def test_the_watchdog_schedules_what_a_crash_lost(bench):
    """A session that was written but whose work was not goes on after a round."""
    session = await bench.service.create("r", plan())
    bench.engine.waiting.clear()
    await bench.watchdog.round()
    await bench.engine.perform_due()
    assert (await bench.service.get(session.id)).state is S.WAITING

    bench.engine.waiting.clear()
    bench.clock.now += 30_000
    await bench.watchdog.round()

    due = (await bench.service.get(session.id)).targets[0].due_time
    assert bench.engine.waiting == {Work(WorkKind.CAPTURE, session.id, "t-1a", 1): due}


async def test_the_watchdog_fails_what_was_stopped(bench):
    """A session whose work the engine gave up is failed, not left open for ever."""
    session = await bench.service.create("r", plan())
    work = bench.engine.due()[0]
    bench.engine.waiting.clear()
    bench.engine.ended[work] = WorkState.STOPPED
    await bench.watchdog.round()

    failed = await bench.service.get(session.id)
    assert failed.state is S.FAILED
    assert "was stopped; start another session" in failed.error.message


async def test_a_slow_watcher_loses_the_oldest_never_the_newest(bench):
    """A watcher's queue is bounded, and its last element is the newest."""
    from tests.controller.builders import session as built

    with bench.feed.subscribe("s-1") as subscription:
        for version in range(200):
            bench.feed.publish(built(version=version))
        taken = []
        while (change := await subscription.take(0)) is not None:
            taken.append(change.version)
    assert taken == list(range(136, 200))
    assert not bench.feed.is_watched("s-1")
