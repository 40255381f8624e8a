"""`targets.py`: the ways into a process, the reasons where there is none, and the roster."""

import asyncio
import sys
import time as wall
from dataclasses import replace
from pathlib import Path

import pytest

from memwatch_agent import targets as module
from memwatch_agent.containers import Container
from memwatch_agent.drivers.base import Runtime, Way
from memwatch_agent.drivers.hookwire import Hello
from memwatch_agent.errors import TargetNotFoundError
from memwatch_agent.hooks import Hook, HookFinder
from memwatch_agent.processes import ProcessTable
from memwatch_agent.sampling import Sampler
from memwatch_agent.targets import Place, Roster, read_place, to_pb, ways_into
from memwatch_proto.v1 import common_pb2, targets_pb2
from tests.agent.fakes import PLACE, found, target
from tests.support.processes import running, wait_until

HOOK = Hook(Path("/h"), Hello(1, "0.1.0", "node", "24.1.0", 7, 100, "", ("info", "heap")))
STRANGER = Place(uid=1000, may_signal_all=False, host_key="boot")


@pytest.mark.parametrize(
    ("changes", "hook", "place", "ways", "reason"),
    [
        ({}, None, PLACE, (Way.ATTACH,), ""),
        ({}, HOOK, PLACE, (Way.HOOK, Way.ATTACH), ""),
        ({"runtime": Runtime.PYTHON}, HOOK, PLACE, (Way.HOOK,), ""),
        ({"runtime": Runtime.PYTHON}, None, PLACE, (), "no memwatch hook answers in it; start it"),
        ({"runtime": None}, None, PLACE, (), "it runs neither Node.js nor CPython"),
        ({"uid": 5}, None, STRANGER, (), "it runs as uid 5 and this agent as uid 1000; run the"),
        ({"uid": 5}, HOOK, STRANGER, (Way.HOOK,), ""),
        ({"same_network": False}, None, PLACE, (), "its network namespace is not the agent's"),
        ({"same_network": None}, None, PLACE, (Way.ATTACH,), ""),
        ({"catches_sigusr1": False}, None, PLACE, (), "it does not catch SIGUSR1"),
        (
            {"catches_sigusr1": False, "argv": ("node", "--inspect", "x")},
            None,
            PLACE,
            (Way.ATTACH,),
            "",
        ),
        (
            {"catches_sigusr1": False, "environ": {"NODE_OPTIONS": "--inspect=9230"}},
            None,
            PLACE,
            (Way.ATTACH,),
            "",
        ),
        ({"visible": False, "uid": -1}, HOOK, STRANGER, (Way.HOOK,), ""),
    ],
)
def test_ways_and_reasons(changes, hook, place, ways, reason):
    """Every obstacle is named, with the next step; a hook goes round most of them."""
    got, why = ways_into(found(**changes), hook, place)

    assert got == ways
    assert why.startswith(reason) and bool(why) == bool(reason)


def test_a_hook_without_heap_is_no_way():
    """A hook that offers no snapshots is not one of the ways."""
    old = Hook(HOOK.socket, replace(HOOK.hello, commands=("info",)))

    assert ways_into(found(runtime=Runtime.PYTHON), old, PLACE)[0] == ()


def test_a_target_crosses_a_call():
    """Everything that a controller shows stands in the message."""
    place = replace(PLACE, pod="web-1", namespace="shop", labels={"app": "web"})
    one = target(container=Container("a" * 64, "pod"), start_seconds=12.5)

    message = to_pb(one, place, common_pb2.MemorySample(rss_bytes=5))

    assert message.id == "t-1"
    assert (message.pod, message.namespace, message.labels["app"]) == ("web-1", "shop", "web")
    assert message.start_time.ToMilliseconds() == 12_500
    assert list(message.ways) == [common_pb2.CAPTURE_WAY_HOOK]
    assert message.state == targets_pb2.TARGET_STATE_REACHABLE
    assert message.memory.rss_bytes == 5
    assert not message.hooked


@pytest.mark.parametrize(("pod_uid", "named"), [("mine", True), ("", True), ("other", False)])
def test_the_agent_s_pod_is_not_everybody_s(pod_uid, named):
    """A process of another pod does not get the agent's pod name and labels."""
    place = replace(PLACE, pod="web-1", namespace="shop", pod_uid="mine", labels={"app": "web"})

    message = to_pb(target(container=Container("a" * 64, pod_uid)), place, None)

    assert (message.pod, message.namespace) == (("web-1", "shop") if named else ("", ""))
    assert bool(message.labels) is named


@pytest.mark.parametrize(
    ("container", "domain"),
    [
        (Container("c" * 64, "pod"), "pod"),
        (Container("c" * 64), "c" * 64),
        (Container(), "host"),
    ],
)
def test_the_memory_domain(container, domain):
    """One capture at a time is taken of what shares a memory limit."""
    assert target(container=container).memory_domain == domain


def test_where_the_agent_runs():
    """The pod's uid is the host's key in a pod, the boot's id elsewhere."""
    uid, _, boot = read_place(Path("/proc"), "")

    assert len(boot) == 36
    assert read_place(Path("/proc"), "pod-uid")[2] == "pod-uid"
    assert uid == Path("/proc/self").stat().st_uid


def roster(only=(), now=wall.time) -> Roster:
    table = ProcessTable(only=only)
    hooks = HookFinder([], wall.monotonic, wall.time)
    return Roster(table, hooks, Sampler(Path("/proc"), now), PLACE, bool(only))


@pytest.fixture
def sleeper(tmp_path):
    (tmp_path / "shop.py").write_text("import time\ntime.sleep(600)\n")
    with running([sys.executable, tmp_path / "shop.py"]) as process:
        table = ProcessTable()
        wait_until(lambda: process.pid in [one.pid for one in table.scan()])
        yield process


async def test_a_young_process_is_no_target_yet(sleeper):
    """What lives for a moment only does not come and go as a target; --pid shows it at once."""
    asked = await roster(only=[sleeper.pid]).refresh()
    grown_up = asked[0].found.start_seconds + module.MIN_AGE_SECONDS
    young = await roster(now=lambda: grown_up - 0.5).refresh()
    old = await roster(now=lambda: grown_up + 0.5).refresh()

    assert sleeper.pid not in [one.found.pid for one in young]
    assert sleeper.pid in [one.found.pid for one in old]
    assert [one.found.pid for one in asked] == [sleeper.pid]


async def test_a_target_is_found_by_id_until_it_ends(sleeper):
    """After its end the id finds nothing and its memory is absent."""
    one = roster(only=[sleeper.pid])
    (known,) = await one.refresh()
    sample = one.sample(known)
    assert await one.find(known.id) == known
    assert sample is not None and sample.rss_bytes > 0

    sleeper.kill()
    sleeper.wait()

    with pytest.raises(TargetNotFoundError):
        await one.find(known.id)
    assert one.sample(known) is None
    assert await one.refresh() == ()


async def test_an_unknown_id_is_looked_for_once_more(sleeper):
    """A target that came since the last look is found by a new one."""
    one = roster(only=[sleeper.pid])
    expected = (await roster(only=[sleeper.pid]).refresh())[0].id

    assert (await one.find(expected)).found.pid == sleeper.pid
    with pytest.raises(TargetNotFoundError, match="cannot find target 't-none'"):
        await one.find("t-none")


async def test_calls_at_the_same_time_share_one_look(monkeypatch):
    """A hundred callers do not scan /proc a hundred times."""
    one = roster(only=[1])
    scans = 0
    real = one._table.scan

    def counted():
        nonlocal scans
        scans += 1
        return real()

    monkeypatch.setattr(one._table, "scan", counted)

    await asyncio.gather(*(one.refresh() for _ in range(100)))

    assert scans == 1
