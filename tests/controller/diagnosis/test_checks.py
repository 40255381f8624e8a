from datetime import UTC, datetime, timedelta

from memwatch_controller.cluster.pods import Pod
from memwatch_controller.cluster.rights import RIGHTS, Mode
from memwatch_controller.diagnosis import checks, cluster_checks
from memwatch_controller.diagnosis.checks import State
from memwatch_controller.model import MemorySample, Runtime
from tests.controller.builders import agent, target
from tests.fakes.kubernetes import pod

MIB = 1024 * 1024


def limited(share, **more):
    memory = MemorySample(
        sample_time=1_000, cgroup_usage_bytes=int(share * 1000), cgroup_limit_bytes=1000
    )
    return target(memory=memory, **more)


def test_agents_and_versions():
    """None connected is a warning; of another version, with their names."""
    assert checks.of_agents([agent()], []).state is State.WARNING
    assert checks.of_agents([], [agent()]).message == "1 connected"
    old = agent(pod="web-1", namespace="shop", version="0.0.1")
    found = checks.of_versions([agent("a-2", version="0.1.0"), old], "0.1.0")
    assert (found.state, found.subjects) == (State.WARNING, ("shop/web-1",))
    assert checks.of_versions([], "0.1.0").state is State.OK


def test_targets_without_a_way_in():
    """The first one's reason is the message, all of them are named, up to a limit."""
    closed = [target(f"t-{n}", ways=(), unavailable_reason="no hook") for n in range(60)]
    found = checks.of_targets([target(), *closed])
    assert found.state is State.WARNING
    assert found.message.startswith("60 of 61 processes cannot be captured; of the first: no hook")
    assert len(found.subjects) == checks.MAX_SUBJECTS
    assert checks.of_targets([target(hooked=True)]).message == "1 can be captured, 1 by a hook"
    assert checks.of_targets([]).state is State.SKIPPED


def test_headroom_at_the_preflights_limit():
    """85 % of the limit is where captures are refused."""
    assert checks.of_headroom([limited(0.84)]).state is State.OK
    assert checks.of_headroom([limited(0.85)]).state is State.WARNING
    assert checks.of_headroom([target()]).state is State.SKIPPED


def test_clocks_that_differ():
    """Seconds are a warning, a minute is a failure, with the agent's sign."""

    def at(sample, **more):
        return target(last_seen_time=100_000, memory=MemorySample(sample_time=sample), **more)

    assert checks.of_clocks([at(99_000)]).state is State.OK
    assert checks.of_clocks([at(92_000)]).subjects == ("agent a-1: -8.0 s",)
    both = checks.of_clocks([at(99_000), at(170_000, agent_id="a-2")])
    assert (both.state, both.subjects) == (State.FAILED, ("agent a-2: +70.0 s",))
    assert checks.of_clocks([target()]).state is State.SKIPPED


def held(*modes, without=()):
    pairs = {(right, verb) for mode in modes for right in RIGHTS[mode] for verb in right.verbs}
    return {pair: True for pair in pairs if (pair[0].name, pair[1]) not in without}


def test_rights_by_mode():
    """On is what is held whole; nothing of its own held is off; in part is a failure."""
    found = cluster_checks.of_rights(held(Mode.LOOKUP, Mode.ATTACH), "")
    assert (found.state, found.message) == (State.OK, "lookup, attach in all namespaces")
    part = held(Mode.LOOKUP, Mode.DETACH, without=[("pods", "delete")])
    found = cluster_checks.of_rights(part, "shop")
    assert (found.state, found.subjects) == (State.FAILED, ("detach: delete pods",))
    assert cluster_checks.of_rights({}, "").state is State.WARNING


def test_days_of_a_certificate():
    """Ended, ending soon, fine."""
    now = datetime(2026, 11, 22, tzinfo=UTC)
    states = [cluster_checks.of_certificate(now + timedelta(days=d), now).state for d in (0, 5, 60)]
    assert states == [State.FAILED, State.WARNING, State.OK]


def test_probes_that_a_blocking_snapshot_outlasts():
    """110 ms for each MB of a Node heap, against the sure part of the budget."""
    probe = {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 2}
    watched = Pod(pod("web-1", containers=[{"name": "a", "image": "i", "livenessProbe": probe}]))

    def of(mib, runtime=Runtime.NODE):
        memory = MemorySample(heap_used_bytes=mib * MIB)
        seen = target(pod="web-1", namespace="shop", runtime=runtime, memory=memory)
        return cluster_checks.of_probes([watched], [seen])

    assert of(40).state is State.OK
    tight = of(50)
    assert tight.state is State.WARNING
    assert "6 s, killed after 5 to 7 s" in tight.subjects[0]
    assert of(5000, Runtime.PYTHON).state is State.OK
    assert cluster_checks.of_probes([watched], [target()]).state is State.SKIPPED
