"""What stands, from what the agents tell."""

import asyncio
from dataclasses import replace

import pytest

from memwatch_controller.errors import InvalidArgumentError, NotFoundError
from memwatch_controller.finding import Severity
from memwatch_controller.findings import MAX_OF_AGENT, Findings
from memwatch_controller.model import Selector, TargetState
from memwatch_controller.store.database import open_database
from memwatch_controller.store.findings import FindingTable
from tests.controller.builders import target
from tests.controller.store.test_findings import finding


class Known:
    """The targets of a registry."""

    def __init__(self, *targets):
        self.known = list(targets)

    def targets(self):
        return self.known

    def find(self, selector, *, include_absent):
        return [one for one in self.known if selector.name in (one.id, one.service)]

    def replica_count(self, asked):
        return sum(one.service == asked.service for one in self.known)


class Board:
    """Findings over a real database, with a clock that tests turn."""

    def __init__(self, rows, *targets):
        self.now = 10_000
        self.rows = rows
        self.targets = Known(*targets)
        self.findings = Findings(rows, self.targets, lambda: self.now)

    async def ids(self, **wanted):
        """What is listed."""
        usual = {
            "kind": None,
            "min_severity": Severity.LOW,
            "include_over": False,
            "unacknowledged_only": False,
            "limit": 10,
            "after": None,
        }
        found = await self.findings.list(wanted.pop("of", Selector()), **{**usual, **wanted})
        return [one.id for one in found]


@pytest.fixture
async def board(tmp_path):
    database = await open_database(f"sqlite:///{tmp_path}/m.sqlite")
    yield Board(FindingTable(database), target("t-1"), target("t-2", pod="p-2"))
    await database.close()


async def test_a_finding_that_is_no_longer_told_is_over(board):
    """Only of the agent that told it; what is over is kept with its end."""
    board.findings.report("a-1", [finding("f-1"), finding("f-2")])
    board.findings.report("a-2", [finding("f-3", target_id="t-2")])
    board.now = 20_000
    board.findings.report("a-1", [finding("f-2")])
    assert await board.ids() == ["f-3", "f-2"]
    ended = await board.findings.get("f-1")
    assert (ended.end_time, ended.service) == (20_000, "web")
    assert await board.ids(include_over=True) == ["f-3", "f-2", "f-1"]


async def test_findings_survive_a_restart(board):
    """What stood is taken up, and ended by the next word of its agent."""
    board.findings.report("a-1", [finding("f-1")])
    await board.findings.flush()
    again = Findings(board.rows, board.targets, lambda: 30_000)
    await again.load()
    assert [one.id for one in again.standing()] == ["f-1"]
    again.report("a-1", [])
    await again.flush()
    assert (await board.rows.get("f-1")).end_time == 30_000


async def test_an_acknowledgement_stays(board):
    """The agent's next word does not take it away."""
    board.findings.report("a-1", [finding("f-1")])
    known = await board.findings.acknowledge("f-1", "ann")
    assert (known.acknowledged_by, known.acknowledged_time) == ("ann", 10_000)
    board.findings.report("a-1", [finding("f-1", severity=Severity.HIGH)])
    assert (await board.findings.get("f-1")).acknowledged_by == "ann"
    assert await board.ids(unacknowledged_only=True) == []
    with pytest.raises(NotFoundError, match="f-9"):
        await board.findings.acknowledge("f-9", "ann")


async def test_unchanged_findings_are_not_written_at_each_heartbeat(board):
    """A row is written when it is news, and then every five minutes."""
    writes: list[str] = []
    save = board.rows.save

    async def counted(findings):
        writes.extend(one.id for one in findings)
        await save(findings)

    board.rows.save = counted
    for _ in range(100):
        board.now += 5_000
        board.findings.report("a-1", [finding("f-1", last_seen_time=board.now)])
        await board.findings.flush()
    assert writes == ["f-1", "f-1"]
    assert (await board.findings.get("f-1")).last_seen_time == board.now


async def test_watchers_hear_what_stands_and_what_changes(board):
    """Worse and over are news; the same again is none."""
    board.findings.report("a-1", [finding("f-1")])
    heard = []

    async def listen():
        async for seen in board.findings.watch():
            heard.append(  # noqa: PERF401  it is read while it grows
                (seen.id, seen.severity.name, seen.stands)
            )

    listening = asyncio.create_task(listen())
    while not heard:  # noqa: ASYNC110  what is waited for is another task
        await asyncio.sleep(0)
    board.findings.report("a-1", [finding("f-1", last_seen_time=9)])
    board.findings.report("a-1", [finding("f-1", severity=Severity.HIGH)])
    board.findings.report("a-1", [])
    while len(heard) < 3:  # noqa: ASYNC110  as above
        await asyncio.sleep(0)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    assert heard == [("f-1", "MEDIUM", True), ("f-1", "HIGH", True), ("f-1", "HIGH", False)]


async def test_replicas_agree(board):
    """Two of three replicas leak in the same figure."""
    board.targets.known.append(target("t-3", pod="p-3"))
    one = finding("f-1")
    board.findings.report("a-1", [one])
    board.findings.report("a-2", [finding("f-2", target_id="t-2")])
    assert board.findings.agreement(await board.findings.get("f-1")) == (2, 3)


async def test_the_findings_of_a_process_that_ended_are_over(board):
    """Also where its agent is never heard of again."""
    board.findings.report("a-1", [finding("f-1")])
    board.targets.known = [replace(target("t-1"), state=TargetState.GONE)]
    tidying = asyncio.create_task(board.findings.run())
    while board.findings.standing():  # noqa: ASYNC110  it runs in this loop, and soon
        await asyncio.sleep(0.01)
    tidying.cancel()
    await asyncio.gather(tidying, return_exceptions=True)
    assert (await board.findings.get("f-1")).end_time == 10_000


@pytest.mark.parametrize(
    "told",
    [
        [finding(f"f-{n}") for n in range(MAX_OF_AGENT + 1)],
        [finding("../../etc/passwd")],
        [finding("f-1", target_id="t\n1")],
    ],
)
async def test_what_an_agent_may_not_say(board, told):
    """Too many, or an id that is none: refused, and nothing is taken in."""
    with pytest.raises(InvalidArgumentError, match="findings of agent 'a-1'"):
        board.findings.report("a-1", told)
    assert await board.ids() == []


async def test_a_database_that_is_away_costs_nothing(board):
    """Agents' words are taken in, and written when it is back; also of what is over by then."""
    save = board.rows.save

    async def away(findings):
        raise OSError("the database is away")

    board.rows.save = away
    board.findings.report("a-1", [finding("f-1"), finding("f-2")])
    with pytest.raises(OSError, match="away"):
        await board.findings.flush()
    board.findings.report("a-1", [finding("f-1")])
    board.rows.save = save
    await board.findings.flush()
    assert (await board.rows.get("f-1")).stands
    assert not (await board.rows.get("f-2")).stands
