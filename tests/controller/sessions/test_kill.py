import asyncio
import signal

import pytest

from tests.controller.sessions.running import FINISHED, State, eventually, world
from tests.support import databases

pytestmark = pytest.mark.chaos


async def test_a_session_runs_to_its_report(tmp_path):
    """From created to succeeded: two snapshots, one report, nothing left with the agent."""
    async with world(tmp_path) as w:
        agent = await w.agent("web")
        created = await w.create("web", 1)
        session = await w.until(created.id, *FINISHED)

        assert session.state == State.SESSION_STATE_SUCCEEDED
        assert agent.fake.captures == [f"{created.id}.t-web.before", f"{created.id}.t-web.after"]
        assert agent.fake.spool == {}
        assert len(session.report_ids) == 1
        assert [s.phase for s in session.targets[0].snapshots] == ["before", "after"]
        assert not session.targets[0].snapshots[1].late
        assert await w.controller.end(signal.SIGTERM) == 0


async def test_a_session_runs_on_postgresql(tmp_path):
    """With PostgreSQL for metadata and engine a killed controller's session goes on as well."""
    if reason := databases.postgres_missing():
        pytest.skip(reason)
    with databases.postgres() as url:
        async with world(tmp_path, "--database-url", url) as w:
            agent = await w.agent("web")
            id = (await w.create("web", 2)).id
            await w.until(id, State.SESSION_STATE_WAITING)
            await w.controller.kill()
            await w.controller.start()
            session = await w.until(id, *FINISHED)

            assert session.state == State.SESSION_STATE_SUCCEEDED
            taken_once(agent, id)
            assert await w.controller.end(signal.SIGTERM) == 0


def taken_once(agent, session_id: str) -> None:
    """The agent took each of the two snapshots exactly once."""
    target = agent.targets[0].id
    wanted = [f"{session_id}.{target}.before", f"{session_id}.{target}.after"]
    assert agent.fake.captures == wanted


async def test_killed_in_every_state_a_session_goes_on(tmp_path):
    """SIGKILL with one session in each open state: each succeeds, each snapshot taken once."""
    async with world(tmp_path) as w:
        names = ("pending", "before", "waiting", "after", "analysing")
        agents = {name: await w.agent(name) for name in names}
        ids = {name: (await w.create(name, 4)).id for name in ("waiting",)}
        ids["after"] = (await w.create("after", 2)).id
        await w.until(ids["after"], State.SESSION_STATE_WAITING)
        agents["after"].fake.hold = asyncio.Event()
        agents["before"].fake.hold = asyncio.Event()
        ids["before"] = (await w.create("before", 0.5)).id
        await w.until(ids["after"], State.SESSION_STATE_CAPTURING_AFTER)
        await w.until(ids["before"], State.SESSION_STATE_CAPTURING_BEFORE)
        await w.until(ids["waiting"], State.SESSION_STATE_WAITING)
        ids["analysing"] = (await w.create("analysing", 0)).id
        await w.until(ids["analysing"], State.SESSION_STATE_ANALYSING)
        ids["pending"] = (await w.create("pending", 0.5)).id
        await w.controller.kill()
        for name in ("before", "after"):
            agents[name].fake.hold = None

        await w.controller.start()

        for name, id in ids.items():
            session = await w.until(id, *FINISHED)
            assert session.state == State.SESSION_STATE_SUCCEEDED, (name, session.error)
            taken_once(agents[name], id)
            assert len(await w.snapshots(id)) == 2
            assert len(session.report_ids) == 1


async def test_killed_again_and_again_a_session_goes_on(tmp_path):
    """SIGKILL at three odd moments of one session's life loses nothing and repeats nothing."""
    async with world(tmp_path) as w:
        agent = await w.agent("web")
        id = (await w.create("web", 1)).id
        for pause in (0.05, 0.6, 1.2):
            await asyncio.sleep(pause)
            await w.controller.kill()
            await w.controller.start()
        session = await w.until(id, *FINISHED)

        assert session.state == State.SESSION_STATE_SUCCEEDED
        taken_once(agent, id)


async def test_a_late_after_is_taken_and_marked(tmp_path):
    """A controller that was away when the snapshot was due takes it when it is back."""
    async with world(tmp_path) as w:
        await w.agent("web")
        id = (await w.create("web", 1)).id
        await w.until(id, State.SESSION_STATE_WAITING)
        await w.controller.kill()
        await asyncio.sleep(7)
        await w.controller.start()
        session = await w.until(id, *FINISHED)

        before, after = session.targets[0].snapshots
        assert session.state == State.SESSION_STATE_SUCCEEDED
        assert not before.late
        assert after.late
        assert after.late_millis > 5_000


async def test_a_stopped_controller_leaves_its_captures_to_the_next(tmp_path):
    """SIGTERM in the middle of a capture ends well, and the next start goes on with it."""
    async with world(tmp_path) as w:
        agent = await w.agent("web", hold=asyncio.Event())
        id = (await w.create("web", 0)).id
        await w.until(id, State.SESSION_STATE_CAPTURING_BEFORE)

        assert await w.controller.end(signal.SIGTERM) == 0
        agent.fake.hold = None
        await w.controller.start()
        session = await w.until(id, *FINISHED)

        assert session.state == State.SESSION_STATE_SUCCEEDED
        taken_once(agent, id)


async def test_cancel_in_each_state(tmp_path):
    """Cancelled before, while capturing, while waiting: it ends at once and leaves no orphan."""
    async with world(tmp_path) as w:
        before = await w.agent("before", hold=asyncio.Event())
        waiting, after = await w.agent("waiting"), await w.agent("after")
        ids = {name: (await w.create(name, 60)).id for name in ("before", "waiting")}
        ids["after"] = (await w.create("after", 2)).id
        await w.until(ids["after"], State.SESSION_STATE_WAITING)
        after.fake.hold = asyncio.Event()
        await w.until(ids["after"], State.SESSION_STATE_CAPTURING_AFTER)
        await w.until(ids["before"], State.SESSION_STATE_CAPTURING_BEFORE)
        await w.until(ids["waiting"], State.SESSION_STATE_WAITING)
        for id in ids.values():
            cancelled = await w.cancel(id)
            assert cancelled.state == State.SESSION_STATE_CANCELLED

        # The capture call is cancelled; what the agent finishes all the same is discarded.
        async def calls_cancelled() -> bool:
            return bool(before.fake.abandoned and after.fake.abandoned)

        await eventually(calls_cancelled, 10)
        for agent in (before, after):
            agent.fake.take(agent.fake.abandoned[0])

        async def spools_empty() -> bool:
            return not before.fake.spool and not after.fake.spool

        await eventually(spools_empty, 30)
        for id, count in ((ids["before"], 0), (ids["waiting"], 1), (ids["after"], 1)):
            session = await w.get(id)
            assert session.state == State.SESSION_STATE_CANCELLED
            assert len(await w.snapshots(id)) == count
        assert waiting.fake.captures == [f"{ids['waiting']}.t-waiting.before"]
