import pytest

from memwatch_controller import model
from memwatch_controller.cluster.errors import NoClusterError
from memwatch_controller.cluster.lookup import Lookup
from memwatch_controller.cluster.picking import NoAgentError
from memwatch_controller.cluster.targets import ClusterTargets
from memwatch_controller.errors import (
    AmbiguousTargetError,
    NotCapturableError,
    TargetNotFoundError,
)
from memwatch_controller.model import MemorySample, PodPick, Selector, SessionPlan, Workload
from memwatch_controller.registry import Registry
from tests.controller.builders import agent, target
from tests.fakes.kubernetes import pod, workload


class NoRows:
    """Stands for the store of the registry, which nothing here writes to."""


def seen(name, uid, rss, **more):
    fields = {"pod": name, "namespace": "shop", "pod_uid": uid, **more}
    return target(f"t-{name}", memory=MemorySample(rss_bytes=rss), **fields)


def plan(kind, name, pick=PodPick.ANY, **more):
    selector = Selector(
        namespace=more.pop("namespace", "shop"),
        workload=Workload(kind, name),
        container=more.pop("container", ""),
    )
    return SessionPlan(selector=selector, pick=pick, **more)


@pytest.fixture
def registry():
    return Registry(NoRows(), lambda: 1_000, 5_000)  # type: ignore[arg-type]


@pytest.fixture
def web(fake, registry):
    """Three pods of a Deployment: old and small, fat, new; agents in all of them."""
    owner = fake.objects.put(workload("Deployment", "web"))
    owned = fake.objects.put(workload("ReplicaSet", "web-1", labels={"app": "web"}, owner=owner))
    for name, day in (("old", 1), ("fat", 2), ("new", 3)):
        created = f"2026-11-0{day}T00:00:00Z"
        made = pod(
            name, labels={"app": "web"}, owner=owned, uid=f"u-{name}", creationTimestamp=created
        )
        fake.objects.put(made)
    found = [seen("old", "u-old", 10), seen("fat", "u-fat", 30), seen("new", "u-new", 20)]
    registry.register(agent(), [*found, seen("stranger", "u-x", 99)])
    return found


def ids(targets):
    return [found.id for found in targets]


async def test_each_choice_of_a_canary(client, registry, web):
    """Oldest, fattest (the default), newest, all; the newest beside the others for comparison."""
    targets = ClusterTargets(Lookup(client), registry)

    async def picked(*args, **more):
        return ids(await targets.pick(plan("deployment", "web", *args, **more)))

    assert await picked() == ["t-fat"]
    assert await picked(PodPick.OLDEST) == ["t-old"]
    assert await picked(PodPick.NEWEST) == ["t-new"]
    assert await picked(PodPick.ALL) == await picked(fleet=True) == ["t-fat", "t-new", "t-old"]
    assert await picked(PodPick.OLDEST, beside_newest=True) == ["t-old", "t-new"]
    assert await picked(PodPick.NEWEST, beside_newest=True) == ["t-new"]


async def test_a_pod_is_told_by_its_uid(client, registry, fake, web):
    """A successor of the same name is another pod; an agent without the uid is told by name."""
    targets = ClusterTargets(Lookup(client), registry)
    assert ids(await targets.pick(plan("pod", "old"))) == ["t-old"]
    registry.register(agent(), [seen("old", "u-before", 10)])
    with pytest.raises(NoAgentError):
        await targets.pick(plan("pod", "old"))
    registry.register(agent(), [seen("old", "", 10)])
    assert ids(await targets.pick(plan("pod", "old"))) == ["t-old"]


async def test_pods_without_an_agent_are_told_with_what_to_do(client, registry, web):
    """Some without one are left out; where all are, the error names them, and both ways out."""
    targets = ClusterTargets(Lookup(client), registry)
    registry.register(agent(), [seen("new", "u-new", 20)])
    registry.register(agent("a-2"), [seen("old", "u-old", 1, ways=(), agent_id="a-2")])
    with pytest.raises(NotCapturableError):
        await targets.pick(plan("pod", "old"))
    assert ids(await targets.pick(plan("deployment", "web", PodPick.OLDEST))) == ["t-new"]
    registry.register(agent("a-2"), [])
    registry.register(agent(), [])
    registry._targets.clear()
    with pytest.raises(NoAgentError) as error:
        await targets.pick(plan("deployment", "web"))
    assert str(error.value) == (
        "cannot capture deployment 'web': no agent sees a process in fat, new, old; annotate the "
        'pod template with memwatch.dev/inject: "true" and roll it out, or put an agent into a '
        "running pod: memwatchctl attach fat -n shop"
    )


async def test_a_pod_of_two_processes(client, registry, fake):
    """A pod that was named must have one; a container narrows it; a canary takes the fattest."""
    containers = [{"name": "app", "image": "a:1"}, {"name": "proxy", "image": "b:1"}]
    fake.objects.put(pod("two", uid="u-2", containers=containers, labels={"app": "two"}))
    small = seen("two", "u-2", 1, container_id="app")
    large = model.Target(
        **{**{f: getattr(small, f) for f in small.__slots__}, "id": "t-proxy"}
        | {"container_id": "proxy", "memory": MemorySample(rss_bytes=2)}
    )
    registry.register(agent(), [small, large])
    targets = ClusterTargets(Lookup(client), registry)
    with pytest.raises(AmbiguousTargetError, match="2 match"):
        await targets.pick(plan("pod", "two"))
    assert ids(await targets.pick(plan("pod", "two", container="app"))) == ["t-two"]
    assert ids(await targets.pick(plan("selector", "app=two"))) == ["t-proxy"]


async def test_without_a_cluster_pods_are_known_by_their_agents(registry):
    """pod/NAME works by what agents tell; a workload needs the API server."""
    targets = ClusterTargets(None, registry)
    registry.register(agent(), [seen("web-1", "u-1", 1)])
    assert ids(await targets.pick(plan("pod", "web-1"))) == ["t-web-1"]
    assert ids(await targets.pick(plan("pod", "web-1", namespace=""))) == ["t-web-1"]
    with pytest.raises(TargetNotFoundError):
        await targets.pick(plan("pod", "web-1", namespace="other"))
    with pytest.raises(NoClusterError, match="cannot find deployment 'web'"):
        await targets.pick(plan("deployment", "web"))
