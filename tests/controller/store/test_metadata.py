import asyncio
import dataclasses

import pytest
import sqlalchemy as sa

from memwatch_controller import model
from tests.controller.builders import agent, report, session, snapshot, target


async def test_agents_and_targets_come_back_as_written(metadata):
    """What is saved is loaded again, the newest row over the older."""
    await metadata.save_agents([agent(), agent("a-2")])
    await metadata.save_targets([target(), target("t-2", labels={"x": "y"})])
    gone = target("t-2", state=model.TargetState.GONE, memory=model.MemorySample(1, 2))
    await metadata.save_targets([gone])

    assert await metadata.load_agents() == [agent(), agent("a-2")]
    assert sorted(await metadata.load_targets(), key=lambda t: t.id) == [target(), gone]


async def test_forgotten_targets_are_gone(metadata):
    """Deleting targets takes exactly those, and unknown ids are no error."""
    await metadata.save_targets([target("t-1"), target("t-2")])
    await metadata.delete_targets(["t-1", "t-9"])

    assert [t.id for t in await metadata.load_targets()] == ["t-2"]
    await metadata.save_agents([agent("a-1"), agent("a-2")])
    await metadata.delete_agents(["a-1", "a-9"])
    assert [a.id for a in await metadata.load_agents()] == ["a-2"]


async def test_a_session_comes_back_with_parts_and_snapshots(metadata):
    """A session is read with its parts in their order and their snapshots by time."""
    created = session(targets=3)
    await metadata.insert_session(created)
    first, second = snapshot("n-1"), snapshot("n-2", phase="after", capture_time=6_000)
    await metadata.insert_snapshot(second)
    await metadata.insert_snapshot(first)

    found = await metadata.get_session("s-1")

    expected = dataclasses.replace(created.targets[0], snapshots=(first, second))
    assert found == dataclasses.replace(created, targets=(expected, *created.targets[1:]))


async def test_the_same_request_makes_one_session(metadata):
    """A second insert with a known request id returns the first session, unchanged."""
    await metadata.insert_session(session())
    again = await metadata.insert_session(session("s-other", request_id="r-s-1"))

    assert again.id == "s-1"
    assert await metadata.get_session("s-other") is None
    assert (await metadata.find_session_by_request("r-s-1")).id == "s-1"


async def test_two_sessions_cannot_share_an_id(metadata):
    """A chosen session id that is taken by another request is an error."""
    await metadata.insert_session(session())
    with pytest.raises(sa.exc.IntegrityError):
        await metadata.insert_session(session(request_id="other"))


async def test_a_change_needs_the_current_version(metadata):
    """Of two changes of the same version one is written; the other is told so."""
    created = await metadata.insert_session(session(targets=2))
    part = dataclasses.replace(created.targets[0], state=model.SessionState.WAITING, taken=1)
    after = dataclasses.replace(
        created,
        targets=(part, created.targets[1]),
        version=2,
        state=model.SessionState.WAITING,
        error=model.SessionError("waiting", "R", "m"),
    )

    assert await metadata.update_session(created, after)
    assert not await metadata.update_session(created, after)
    assert await metadata.get_session("s-1") == after


async def test_concurrent_changes_all_arrive(metadata):
    """Ten writers that re-read on conflict make ten changes."""
    await metadata.insert_session(session())

    async def raise_version():
        while True:
            now = await metadata.get_session("s-1")
            if await metadata.update_session(
                now, dataclasses.replace(now, version=now.version + 1)
            ):
                return

    await asyncio.gather(*(raise_version() for _ in range(10)))
    assert (await metadata.get_session("s-1")).version == 11


async def test_sessions_are_listed_newest_first_in_pages(metadata):
    """Pages follow one another without gap or overlap, also where times are equal."""
    for number in range(5):
        await metadata.insert_session(session(f"s-{number}", create_time=1_000 + number // 2))
    first = await metadata.list_sessions(limit=2)
    cursor = (first[-1].create_time, first[-1].id)
    rest = await metadata.list_sessions(limit=10, after=cursor)

    assert [s.id for s in (*first, *rest)] == ["s-4", "s-3", "s-2", "s-1", "s-0"]


async def test_sessions_are_filtered_by_state_and_service(metadata):
    """Filters hold together; open sessions are those not finished."""
    failed = model.SessionState.FAILED
    await metadata.insert_session(session("s-1"))
    await metadata.insert_session(session("s-2", state=failed))
    other = model.SessionPlan(service="other")
    await metadata.insert_session(session("s-3", state=failed, plan=other))

    by_both = await metadata.list_sessions(states=[failed], service="web", limit=10)
    assert [s.id for s in by_both] == ["s-2"]
    assert await metadata.list_open_session_ids() == ["s-1"]
    assert await metadata.count_open_sessions() == 1


async def test_deleting_a_session_takes_parts_and_reports_not_snapshots(metadata):
    """The rows that only a session needs go with it; snapshots are deleted with their blobs."""
    await metadata.insert_session(session())
    await metadata.insert_snapshot(snapshot())
    await metadata.insert_report(report())
    await metadata.delete_session("s-1")
    await metadata.delete_session("s-1")

    assert await metadata.get_session("s-1") is None
    assert await metadata.get_report("r-1") is None
    assert await metadata.get_snapshot("n-1") == snapshot()
    await metadata.insert_session(session())
    assert len((await metadata.get_session("s-1")).targets) == 1


async def test_the_same_request_makes_one_snapshot(metadata):
    """A second insert with a known request id returns the first snapshot."""
    await metadata.insert_snapshot(snapshot())
    again = await metadata.insert_snapshot(snapshot("n-2", request_id="r-n-1"))

    assert again == snapshot()
    assert await metadata.find_snapshot_by_request("r-n-1") == snapshot()
    assert await metadata.find_snapshot_by_request("none") is None


async def test_snapshots_are_updated_listed_counted_deleted(metadata):
    """The whole life of a snapshot's row."""
    await metadata.insert_snapshot(snapshot())
    await metadata.insert_snapshot(snapshot("n-2", target_id="t-2", capture_time=6_000))
    late = dataclasses.replace(snapshot(), late=True, late_millis=99)
    await metadata.update_snapshot(late)

    assert await metadata.get_snapshot("n-1") == late
    assert [s.id for s in await metadata.list_snapshots(limit=9)] == ["n-2", "n-1"]
    assert [s.id for s in await metadata.list_snapshots(target_id="t-2", limit=9)] == ["n-2"]
    after = (6_000, "n-2")
    assert [
        s.id for s in await metadata.list_snapshots(session_id="s-1", limit=9, after=after)
    ] == ["n-1"]
    assert await metadata.total_stored_bytes() == 14
    await metadata.delete_snapshot("n-1")
    await metadata.delete_snapshot("n-1")
    assert await metadata.total_stored_bytes() == 7


async def test_a_target_has_one_report_in_a_session(metadata):
    """A second report of the same part returns the first."""
    await metadata.insert_session(session())
    await metadata.insert_report(report())
    again = await metadata.insert_report(report("r-2", json='{"other": 1}'))

    assert again == report()
    assert await metadata.get_report("r-2") is None
    assert await metadata.list_reports(session_id="s-1", limit=5) == [report()]
    assert await metadata.list_reports(limit=5, after=(9_000, "r-1")) == []
