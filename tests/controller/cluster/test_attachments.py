import asyncio
import json

import pytest

from memwatch_controller.cluster import attachments as module
from memwatch_controller.cluster.attaching import Attaching, CannotAttachError, Wish, bytes_of, plan
from memwatch_controller.cluster.attachments import Attachments, OutOfPatienceError
from memwatch_controller.cluster.errors import ClusterForbiddenError, NoClusterError
from memwatch_controller.cluster.pods import Pod
from memwatch_controller.cluster.resources import PODS
from memwatch_controller.errors import InvalidArgumentError, NotFoundError
from memwatch_controller.registry import Registry
from tests.controller.builders import agent, target
from tests.fakes.kubernetes import pod
from tests.support.pod_security import violations

SETTINGS = Attaching("registry.example/agent:1", "Never", "memwatch.memwatch:9466")


def user(number, **more):
    return {"name": "app", "image": "a:1", "securityContext": {"runAsUser": number}, **more}


WISH = Wish()
_LACKED = ["its root can be written", "no limit of memory"]


class Stage:
    """A registry, and agents that come when a pod gets an ephemeral container."""

    def __init__(self, fake, client):
        self.fake = fake
        self.registry = Registry(None, lambda: 1_000, 5_000)  # type: ignore[arg-type]
        self.ended = []
        self.targets = [target("t-1", pod="web-1", namespace="shop", agent_id="a-new")]
        self.attachments = Attachments(client, self.registry, self._end, SETTINGS, lambda: 1_000)
        self.loop = asyncio.get_running_loop()
        fake.objects.on_change.append(self._changed)
        self.state = {"running": {"startedAt": "2026-11-22T06:00:00Z"}}

    async def _end(self, address):
        self.ended.append(address)

    def _changed(self, kind, found):
        """Plays kubelet and agent; called in the fake's thread."""
        containers = found.get("spec", {}).get("ephemeralContainers")
        if (
            kind == "MODIFIED"
            and containers
            and "ephemeralContainerStatuses" not in found["status"]
        ):
            self.loop.call_soon_threadsafe(self._started, found)

    def _started(self, found):
        name = found["spec"]["ephemeralContainers"][-1]["name"]
        status = {"name": name, "image": "i", "imageID": "", "ready": False, "restartCount": 0}
        found["status"]["ephemeralContainerStatuses"] = [{**status, "state": self.state}]
        self.fake.objects.put(found)
        if "running" in self.state:
            made = agent("a-new", pod="web-1", namespace="shop", address="10.0.0.1:9475")
            self.registry.register(made, self.targets)

    async def attach(self, wish=WISH, wait=20_000, dry_run=False):
        return await self.attachments.attach("web-1", "shop", wish, wait, dry_run=dry_run)


@pytest.fixture
async def stage(fake, client, monkeypatch):
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(module, "_SETTLE_SECONDS", 0.1)
    return Stage(fake, client)


async def test_an_agent_comes_into_a_running_pod(fake, stage):
    """The container is added, the agent registers, its process is told, and it ends."""
    fake.objects.put(pod("web-1", containers=[user(1000)]))
    made = await stage.attach()
    assert made.agent is not None
    assert (made.container, made.agent.id) == ("memwatch-attached-1", "a-new")
    assert [found.id for found in made.targets] == ["t-1"]
    container = fake.objects.get(PODS, "web-1", "shop")["spec"]["ephemeralContainers"][0]
    assert json.loads(made.patch) == {"spec": {"ephemeralContainers": [container]}}
    assert container["targetContainerName"] == "app"
    assert container["args"] == ["--end-after=3600"]
    again = await stage.attach()
    assert (again.patch, again.container, again.agent) == ("", made.container, made.agent)
    await stage.attachments.detach("a-new")
    assert stage.ended == ["10.0.0.1:9475"]
    with pytest.raises(NotFoundError):
        await stage.attachments.detach("a-unknown")


async def test_a_dry_run_shows_the_patch_and_leaves_the_pod(fake, stage):
    """The API server itself has judged the patch; nothing is changed, nobody waited for."""
    held = fake.objects.put(pod("web-1"))
    made = await stage.attach(dry_run=True)
    assert json.loads(made.patch)["spec"]["ephemeralContainers"][0]["name"] == made.container
    assert made.agent is None
    assert fake.objects.get(PODS, "web-1", "shop") == held


@pytest.mark.parametrize(
    ("state", "cause"),
    [
        ({"waiting": {"reason": "ErrImageNeverPull", "message": "no image"}}, "no image"),
        ({"terminated": {"exitCode": 2, "message": "cannot use --token"}}, "cannot use --token"),
    ],
)
async def test_a_container_that_never_runs_is_told_at_once(fake, stage, state, cause):
    """The kubelet's or the agent's own words; the wait ends long before its time."""
    fake.objects.put(pod("web-1"))
    stage.state = state
    with pytest.raises(CannotAttachError, match=cause):
        await stage.attach(wait=600_000)


async def test_what_else_is_in_the_way(fake, stage, client):
    """No cluster, no right, no image, no such container, an agent that never comes or sees none."""
    fake.objects.put(pod("web-1"))
    with pytest.raises(CannotAttachError, match="no container 'db'; there is app"):
        await stage.attach(Wish(container="db"))
    fake.objects.on_change.clear()
    with pytest.raises(
        OutOfPatienceError, match="kubectl logs web-1 -n shop -c memwatch-attached-1"
    ):
        await stage.attach(wait=50)
    fake.faults.forbidden = {("patch", "pods/ephemeralcontainers")}
    with pytest.raises(ClusterForbiddenError, match="'patch' on 'pods/ephemeralcontainers'"):
        await stage.attach()
    nowhere = Attachments(None, stage.registry, stage._end, SETTINGS, lambda: 1)
    with pytest.raises(NoClusterError):
        await nowhere.attach("web-1", "shop", Wish(), 1_000, dry_run=False)
    bare = Attachments(client, stage.registry, stage._end, Attaching(), lambda: 1)
    with pytest.raises(InvalidArgumentError, match="--attach-image"):
        await bare.attach("web-1", "shop", Wish(), 1_000, dry_run=False)


async def test_an_agent_that_cannot_enter_ends_again(fake, stage):
    """A Python service without the hook: the agent's reason is the error, and it is ended."""
    fake.objects.put(pod("web-1"))
    reason = "no memwatch hook answers in it"
    stage.targets = [target("t-1", agent_id="a-new", ways=(), unavailable_reason=reason)]
    with pytest.raises(CannotAttachError, match=reason):
        await stage.attach()
    assert stage.ended == ["10.0.0.1:9475"]


def env(container):
    return {one["name"]: one.get("value") for one in container["env"]}


def test_the_container_is_the_services_neighbour():
    """User and group of the service, restricted, no field that ephemeral containers lack."""
    context = {"runAsGroup": 3000, "runAsUser": 1}
    made = plan(
        Pod(pod("a", containers=[user(1000)], spec={"securityContext": context})), Wish(), SETTINGS
    )
    security = made.container["securityContext"]
    assert (security["runAsUser"], security["runAsGroup"], security["runAsNonRoot"]) == (
        1000,
        3000,
        True,
    )
    assert not {"resources", "ports", "livenessProbe", "lifecycle"} & set(made.container)
    # Restricted, but for what an ephemeral container cannot have: limits, and a volume to write to.
    found = violations({"containers": [dict(made.container)]})
    assert [text.partition(": ")[2] for text in found] == _LACKED
    asked = plan(Pod(pod("a", containers=[user(1000)])), Wish(user=0), SETTINGS)
    assert "MEMWATCH_AGENT_LABELS" not in {one["name"] for one in asked.container["env"]}
    labelled = plan(Pod(pod("a", labels={"app": "web", "tier": "front"})), Wish(), SETTINGS)
    labels = {"name": "MEMWATCH_AGENT_LABELS", "value": "app=web,tier=front"}
    assert labels in labelled.container["env"]
    assert asked.container["securityContext"]["runAsUser"] == 0
    assert not asked.container["securityContext"]["runAsNonRoot"]
    unsaid = plan(Pod(pod("a")), Wish(), SETTINGS)
    assert any("--user UID" in note for note in unsaid.notes)


def test_names_and_ports_are_never_used_twice():
    """Ended ones stay in the pod, so the next number is taken, and its port."""
    ended = [{"name": f"memwatch-attached-{n}", "image": "i"} for n in (1, 3)]
    made = plan(Pod(pod("a", spec={"ephemeralContainers": ended})), Wish(), SETTINGS)
    assert made.name == "memwatch-attached-4"
    assert env(made.container)["MEMWATCH_AGENT_ADVERTISE"] == "$(POD_IP):9478"


def test_where_the_spool_lies():
    """On its own layer, a quarter of what the pod may write, or in the pod's own spool."""
    limits = {"resources": {"limits": {"ephemeral-storage": "400Mi", "memory": "1Gi"}}}
    made = plan(Pod(pod("a", containers=[user(1, **limits)])), Wish(), SETTINGS)
    assert env(made.container)["MEMWATCH_AGENT_SPOOL_QUOTA"] == str(100 * 1024**2)
    assert any("writable layer" in note for note in made.notes)
    assert any("count to the pod's memory" in note for note in made.notes)
    volumes = [
        {"name": "memwatch-run", "emptyDir": {}},
        {"name": "memwatch-spool", "emptyDir": {"sizeLimit": "1Gi"}},
    ]
    hooked = plan(Pod(pod("a", spec={"volumes": volumes})), Wish(), SETTINGS)
    assert {m["name"] for m in hooked.container["volumeMounts"]} == {
        "memwatch-run",
        "memwatch-spool",
    }
    assert env(hooked.container)["MEMWATCH_HOOK_DIR"] == "/run/memwatch"
    assert env(hooked.container)["MEMWATCH_AGENT_SPOOL_QUOTA"] == str(512 * 1024**2)
    assert [bytes_of(text) for text in ("1Ki", "2M", "500m", "x")] == [1024, 2e6, 0.5, 0]
