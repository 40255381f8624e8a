import asyncio
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch_controller import model
from memwatch_controller.errors import (
    AmbiguousTargetError,
    InvalidArgumentError,
    NotCapturableError,
    TargetEndedError,
    TargetNotFoundError,
    TargetUnreachableError,
)
from memwatch_controller.registry import (
    KEEP_GONE_MILLIS,
    KEEP_UNREACHABLE_MILLIS,
    Registry,
)
from memwatch_controller.selection import matches
from tests.controller.builders import agent, target
from tests.fakes.sessions import Clock

T = model.TargetState


class Rows:
    """Rows in memory, which count the writes."""

    def __init__(self) -> None:
        self.agents: dict[str, model.Agent] = {}
        self.targets: dict[str, model.Target] = {}
        self.written = 0
        self.broken = False

    async def save_agents(self, agents: Iterable[model.Agent]) -> None:
        self.agents |= {one.id: one for one in self._count(agents)}

    async def save_targets(self, targets: Iterable[model.Target]) -> None:
        self.targets |= {one.id: one for one in self._count(targets)}

    async def load_agents(self) -> list[model.Agent]:
        return list(self.agents.values())

    async def load_targets(self) -> list[model.Target]:
        return list(self.targets.values())

    async def delete_targets(self, ids):
        for id in ids:
            del self.targets[id]

    async def delete_agents(self, ids):
        for id in ids:
            del self.agents[id]

    def _count(self, new):
        if self.broken:
            raise OSError("disk full")
        new = list(new)
        self.written += len(new)
        return new


@pytest.fixture
def rows() -> Rows:
    return Rows()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(rows, clock) -> Registry:
    return Registry(rows, clock, 1_000)


def pick(registry: Registry, fleet: bool = False, **wanted) -> list[str]:
    return [one.id for one in registry.pick(model.Selector(**wanted), fleet=fleet)]


def test_a_silent_agents_targets_are_unreachable_and_come_back(registry, clock):
    """Three silent intervals: unreachable, nothing deleted; heard again: the same targets."""
    link = registry.register(agent(), [target("t-1"), target("t-2")])
    clock.now += 3_000
    registry.drop_silent()
    assert registry.get("t-1").state is T.REACHABLE
    clock.now += 1
    registry.drop_silent()
    assert {one.state for one in registry.targets()} == {T.UNREACHABLE}
    assert link.replaced

    registry.register(agent(), [target("t-1"), target("t-2")])
    assert {one.state for one in registry.targets()} == {T.REACHABLE}


def test_a_heartbeat_keeps_an_agent(registry, clock):
    """An agent that says that it lives is not dropped."""
    link = registry.register(agent(), [target("t-1")])
    for _ in range(5):
        clock.now += 2_500
        registry.heartbeat(link, [target("t-1")])
        registry.drop_silent()
    assert registry.get("t-1").state is T.REACHABLE
    assert registry.get("t-1").last_seen_time == clock.now


def test_what_an_agent_no_longer_reports_is_gone(registry):
    """A target missing in a heartbeat has ended; others of the agent go on."""
    link = registry.register(agent(), [target("t-1"), target("t-2")])
    registry.heartbeat(link, [target("t-2")])

    assert registry.get("t-1").state is T.GONE
    assert registry.get("t-2").state is T.REACHABLE
    registry.disconnect(link)
    assert registry.get("t-1").state is T.GONE


def test_a_newer_stream_replaces_the_older(registry):
    """The old stream is told; what it still says, or its end, changes nothing."""
    old = registry.register(agent(address="old:1"), [target("t-1")])
    new = registry.register(agent(address="new:1"), [target("t-1")])
    assert old.replaced
    assert not new.replaced

    registry.heartbeat(old, [])
    registry.disconnect(old)
    assert registry.get("t-1").state is T.REACHABLE
    assert registry.agent_address("a-1") == "new:1"


def test_a_target_moves_to_the_agent_that_reports_it(registry):
    """The same process under a new agent (a new sidecar) is the same target, dialled there."""
    old = registry.register(agent("a-1", address="old:1"), [target("t-1")])
    registry.register(agent("a-2", address="new:1"), [target("t-1", agent_id="")])
    registry.heartbeat(old, [])

    assert registry.get("t-1").state is T.REACHABLE
    assert registry.address_of(target("t-1")) == "new:1"


async def test_identity_survives_a_restart(registry, rows, clock):
    """A new registry over the same rows knows agents and targets, unreachable until heard of."""
    registry.register(agent(), [target("t-1", labels={"app": "web"}), target("t-2")])
    await registry.flush()
    again = Registry(rows, clock, 1_000)
    await again.load()

    assert [one.state for one in again.targets()] == [T.UNREACHABLE] * 2
    assert again.get("t-1").labels == {"app": "web"}
    assert again.address_of(target("t-1")) == "127.0.0.1:9465"
    link = again.register(agent(), [target("t-1")])
    assert again.get("t-1").state is T.REACHABLE
    assert again.get("t-2").state is T.GONE
    again.heartbeat(link, [target("t-1")])


async def test_heartbeats_write_nothing(registry, rows, clock):
    """A thousand heartbeats with new samples cost no row; a change of state costs one."""
    link = registry.register(agent(), [target("t-1")])
    await registry.flush()
    assert rows.written == 2
    for number in range(1_000):
        clock.now += 100
        sample = model.MemorySample(clock.now, rss_bytes=number)
        registry.heartbeat(link, [target("t-1", memory=sample)])
        await registry.flush()
    assert rows.written == 2
    assert registry.get("t-1").memory == model.MemorySample(clock.now, rss_bytes=999)

    registry.disconnect(link)
    await registry.flush()
    assert rows.written == 4


async def test_what_could_not_be_written_is_written_later(registry, rows):
    """A full disk loses no change: the next flush writes it."""
    registry.register(agent(), [target("t-1")])
    rows.broken = True
    with pytest.raises(OSError, match="disk full"):
        await registry.flush()
    rows.broken = False
    await registry.flush()
    assert set(rows.targets) == {"t-1"}
    assert set(rows.agents) == {"a-1"}


async def test_what_ended_or_is_silent_for_long_is_forgotten(registry, rows, clock):
    """An ended target goes after a week, a silent one after a month, then its agent."""
    link = registry.register(agent(), [target("t-1"), target("t-2")])
    registry.heartbeat(link, [target("t-2")])
    registry.disconnect(link)
    registry.register(agent("a-2"), [target("t-3")])
    await registry.flush()
    clock.now += KEEP_GONE_MILLIS + 1
    await registry.forget_old()
    assert [one.id for one in registry.targets()] == ["t-2", "t-3"]
    assert set(rows.targets) == {"t-2", "t-3"}

    clock.now += KEEP_UNREACHABLE_MILLIS
    await registry.forget_old()

    assert [one.id for one in registry.targets()] == ["t-3"]
    assert set(rows.agents) == {"a-2"}


async def test_a_restart_forgets_nothing_that_was_reachable(registry, rows, clock):
    """What was reachable before a restart counts from when its agent was last heard of."""
    registry.register(agent(), [target("t-1")])
    await registry.flush()
    again = Registry(rows, clock, 1_000)
    await again.load()
    await again.forget_old()
    assert again.get("t-1").last_seen_time == clock.now


async def test_waiting_for_a_report(registry):
    """A watcher wakes at the next report of its target, and only of its own."""
    link = registry.register(agent(), [target("t-1"), target("t-2")])
    waiting = asyncio.create_task(registry.wait_for_report("t-1", 10))
    await asyncio.sleep(0)
    registry.heartbeat(link, [target("t-1"), target("t-2")])
    assert await waiting
    assert not await registry.wait_for_report("t-1", 0)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"name": "t-1"}, ["t-1"]),
        ({"name": "cart"}, ["t-1"]),
        ({"name": "web-7d9f"}, ["t-2"]),
        ({"name": "4711"}, ["t-2"]),
        ({"name": "abcdef"}, ["t-1"]),
        ({"ids": ("t-2",)}, ["t-2"]),
        ({"container_id": "ab"}, ["t-1"]),
        ({"service": "web", "namespace": "prod"}, ["t-2"]),
        ({"pid": 4711}, ["t-2"]),
        ({"labels": {"app": "web"}}, ["t-2"]),
        ({"runtime": model.Runtime.PYTHON}, ["t-1"]),
    ],
)
def test_every_way_to_name_a_target(registry, wanted, expected):
    """Id, service, pod, container id prefix, pid, labels and runtime each find the target."""
    registry.register(
        agent(),
        [
            target(
                "t-1",
                service="cart",
                pid=5,
                container_id="abcdef0123",
                runtime=model.Runtime.PYTHON,
            ),
            target(
                "t-2",
                service="web",
                pod="web-7d9f",
                namespace="prod",
                pid=4711,
                labels={"app": "web", "x": "y"},
            ),
        ],
    )
    assert pick(registry, **wanted) == expected


def test_a_short_container_prefix_is_no_name(registry):
    """Three characters of a container id name nothing: they fit too much."""
    registry.register(agent(), [target("t-1", container_id="abcdef")])
    with pytest.raises(TargetNotFoundError):
        pick(registry, name="abc")
    assert pick(registry, name="abcd") == ["t-1"]


def test_errors_name_the_thing_and_the_next_step(registry):
    """Unknown, ambiguous, uncapturable, ended and unreachable are each told apart."""
    with pytest.raises(TargetNotFoundError, match=r"name 'x'.*0 known.*targets list"):
        pick(registry, name="x")
    gunicorn = target("t-3", service="py", ways=(), unavailable_reason="no hook; preload it")
    link = registry.register(agent(), [target("t-1"), target("t-2"), gunicorn])
    with pytest.raises(AmbiguousTargetError) as caught:
        pick(registry, name="web")
    assert "t-1 (web, pid 100), t-2 (web, pid 100)" in str(caught.value)
    assert caught.value.facts["count"] == "2"
    with pytest.raises(NotCapturableError, match="no hook; preload it"):
        pick(registry, name="py")
    registry.heartbeat(link, [target("t-2")])
    assert pick(registry, name="web") == ["t-2"]
    with pytest.raises(TargetEndedError, match="process has ended"):
        pick(registry, name="t-1")
    registry.disconnect(link)
    with pytest.raises(TargetUnreachableError, match="agent 'a-1'"):
        pick(registry, name="web")


def test_a_fleet_takes_all_that_can_be_captured(registry):
    """With a fleet allowed all usable matches are picked, the others left out."""
    registry.register(agent(), [target("t-1"), target("t-2"), target("t-3", ways=())])
    assert pick(registry, fleet=True, service="web") == ["t-1", "t-2"]


def test_many_candidates_are_cut(registry):
    """An ambiguity among hundreds does not fill the terminal."""
    registry.register(agent(), [target(f"t-{n:03}") for n in range(300)])
    with pytest.raises(AmbiguousTargetError, match=r"300 match .* and 290 more"):
        pick(registry, name="web")


@pytest.mark.parametrize("id", ["", "../x", "a b", "x\n", "x" * 129, "-x"])
def test_ids_from_agents_are_checked(registry, id):
    """An agent whose id, or whose target's id, is none is refused."""
    with pytest.raises(InvalidArgumentError):
        registry.register(agent(id), [])
    with pytest.raises(InvalidArgumentError):
        registry.register(agent(), [target(id)])
    assert registry.targets() == []


def test_an_agent_cannot_report_without_end(registry):
    """More targets than an agent may have are refused with both numbers."""
    with pytest.raises(InvalidArgumentError, match="1001 targets, expected at most 1000"):
        registry.register(agent(), [target(f"t-{n}") for n in range(1_001)])


@given(st.text(max_size=30))
def test_any_word_is_matched_without_error(word):
    """Whatever a person types: it matches or it does not."""
    odd = target("t-1", service="☃\n\x00", container_id="abcd", pid=1)
    assert matches(model.Selector(name=word), odd) in (True, False)


def test_processes_of_one_pod_are_one_replica(registry):
    """What counts are pods or containers that can be reached, of the same service and namespace."""
    first = target("t-1", service="web", pod="web-1")
    targets = [
        first,
        target("t-2", service="web", pod="web-1"),
        target("t-3", service="web", pod="web-2"),
        target("t-4", service="web", pod="", container_id="c-9"),
        target("t-5", service="other", pod="other-1"),
    ]
    registry.register(agent("a-1"), targets)
    assert registry.replica_count(first) == 3
