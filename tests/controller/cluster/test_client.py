import asyncio

import pytest

from memwatch_controller.cluster import client as client_module
from memwatch_controller.cluster import errors
from memwatch_controller.cluster.client import Client, PatchKind
from memwatch_controller.cluster.config import Config
from memwatch_controller.cluster.resources import (
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    PODS,
    Resource,
)
from tests.fakes.kubernetes import pod, workload


async def test_an_object_is_created_read_changed_and_deleted(fake, client):
    """The usual verbs do what they say, and the server's own fields come back."""
    made = await client.create(PODS, pod("web-1"), "shop")
    assert made["metadata"]["uid"]
    read = await client.get(PODS, "web-1", "shop")
    assert read == made
    labelled = await client.patch(PODS, "web-1", {"metadata": {"labels": {"a": "b"}}}, "shop")
    assert labelled["metadata"]["labels"] == {"a": "b"}
    read["metadata"]["labels"] = {"late": "1"}
    with pytest.raises(errors.ClusterConflictError) as conflict:
        await client.replace(PODS, "web-1", read, "shop")
    assert "read it again" in str(conflict.value)
    await client.delete(PODS, "web-1", "shop", uid=made["metadata"]["uid"])
    with pytest.raises(errors.ClusterNotFoundError) as gone:
        await client.get(PODS, "web-1", "shop")
    assert str(gone.value) == (
        "cannot read pods 'web-1' in namespace 'shop': pods \"web-1\" not found"
    )


async def test_a_dry_run_changes_nothing(fake, client):
    """Every change can be tried: the answer is what would be, and what is stays."""
    held = fake.objects.put(pod("web-1"))
    would = await client.patch(
        PODS, "web-1", {"metadata": {"labels": {"a": "b"}}}, "shop", dry_run=True
    )
    assert would["metadata"]["labels"] == {"a": "b"}
    await client.delete(PODS, "web-1", "shop", dry_run=True)
    await client.evict("web-1", "shop", dry_run=True)
    await client.create(PODS, pod("web-2"), "shop", dry_run=True)
    assert fake.objects.list(PODS) == [held]
    assert all(query["dryRun"] == "All" for *_, query in fake.calls)


async def test_the_three_kinds_of_patches(fake, client):
    """Strategic lists are merged by name, merged lists are replaced, JSON patches may test."""
    fake.objects.put(pod("web-1", spec={"readinessGates": [{"conditionType": "memwatch.dev/in"}]}))
    condition = {"type": "memwatch.dev/in", "status": "False"}
    patch = {"status": {"conditions": [condition]}}
    both = await client.patch(PODS, "web-1", patch, "shop", subresource="status")
    assert [c["type"] for c in both["status"]["conditions"]] == ["Ready", "memwatch.dev/in"]
    one = await client.patch(
        PODS, "web-1", patch, "shop", kind=PatchKind.MERGE, subresource="status"
    )
    assert one["status"]["conditions"] == [condition]
    test = [{"op": "test", "path": "/metadata/name", "value": "another"}]
    with pytest.raises(errors.ClusterInvalidError):
        await client.patch(PODS, "web-1", test, "shop", kind=PatchKind.JSON)
    stale = {"metadata": {"resourceVersion": "1", "labels": {"a": "b"}}}
    with pytest.raises(errors.ClusterConflictError):
        await client.patch(PODS, "web-1", stale, "shop")


async def test_subresources_change_their_part_only(fake, client):
    """A patch of the pod leaves its status, one of the status the pod; specs are fixed."""
    fake.objects.put(pod("web-1"))
    kept = await client.patch(PODS, "web-1", {"status": {"phase": "Failed"}}, "shop")
    assert kept["status"]["phase"] == "Running"
    with pytest.raises(errors.ClusterInvalidError, match="may not change fields"):
        await client.patch(PODS, "web-1", {"spec": {"nodeName": "other"}}, "shop")
    added = {"spec": {"ephemeralContainers": [{"name": "d", "image": "i", "command": ["x"]}]}}
    done = await client.patch(PODS, "web-1", added, "shop", subresource="ephemeralcontainers")
    assert [c["name"] for c in done["spec"]["ephemeralContainers"]] == ["d"]
    misspelt = {"spec": {"ephemeralContainers": [{"name": "e", "image": "i", "comand": ["x"]}]}}
    with pytest.raises(errors.ClusterInvalidError):
        await client.patch(PODS, "web-1", misspelt, "shop", subresource="ephemeralcontainers")


async def test_a_budget_refuses_an_eviction_at_once(fake, client, naps):
    """What a disruption budget forbids is told with its words, and not tried again."""
    held = fake.objects.put(pod("web-1", labels={"app": "web"}))
    fake.objects.put(
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
            "status": {
                "disruptionsAllowed": 0,
                "currentHealthy": 1,
                "desiredHealthy": 1,
                "expectedPods": 1,
            },
        }
    )
    with pytest.raises(errors.ClusterBusyError) as refused:
        await client.evict("web-1", "shop", uid=held["metadata"]["uid"])
    assert "The disruption budget web needs all its pods" in str(refused.value)
    assert naps.taken == []
    await client.delete(DISRUPTION_BUDGETS, "web", "shop")
    with pytest.raises(errors.ClusterConflictError):
        await client.evict("web-1", "shop", uid="of-another")
    await client.evict("web-1", "shop", uid=held["metadata"]["uid"])
    assert fake.objects.list(PODS) == []


async def test_lists_are_read_in_pages_and_bounded(fake, client, monkeypatch):
    """All pages make one list, selectors narrow it, and a list without end is refused."""
    for number in range(5):
        fake.objects.put(pod(f"web-{number}", labels={"app": "web" if number else "db"}))
    fake.objects.put(pod("other", namespace="else"))
    monkeypatch.setattr(client_module, "PAGE", 2)
    found = await client.list(PODS, "shop")
    assert [item["metadata"]["name"] for item in found.items] == [f"web-{n}" for n in range(5)]
    assert len((await client.list(PODS)).items) == 6
    assert len((await client.list(PODS, "shop", labels="app=web")).items) == 4
    assert len((await client.list(PODS, fields="metadata.name=other")).items) == 1
    monkeypatch.setattr(client_module, "MAX_LISTED", 3)
    with pytest.raises(errors.ClusterError, match="more than 3"):
        await client.list(PODS, "shop")


async def test_a_watch_goes_on_where_a_list_ended(fake, client):
    """Changes after a list's version are told in order; a cut is an error, and resumable."""
    fake.objects.put(pod("web-1"))
    start = await client.list(PODS, "shop")
    fake.objects.put(pod("web-2"))
    fake.objects.put(pod("elsewhere", namespace="else"))
    fake.objects.delete(PODS, "web-1", "shop")
    fake.faults.cut_watches_after = 1
    seen, since = [], start.resource_version
    for _ in range(2):
        try:
            async for event in client.watch(PODS, "shop", since):
                seen.append((event.kind, event.object["metadata"]["name"]))
                since = event.object["metadata"]["resourceVersion"]
                if len(seen) == 2:
                    break
        except errors.ClusterUnavailableError:
            fake.faults.cut_watches_after = None
    assert seen == [("ADDED", "web-2"), ("DELETED", "web-1")]
    fake.objects.forget_before_now()
    with pytest.raises(errors.ClusterExpiredError):
        async for _ in client.watch(PODS, "shop", start.resource_version):
            pass


async def test_what_is_forbidden_names_the_right(fake, client):
    """A 403 says which verb on what, where, and how to give it; `may` tells it before."""
    fake.faults.forbidden = {("list", "pods"), ("patch", "pods/ephemeralcontainers")}
    with pytest.raises(errors.ClusterForbiddenError) as forbidden:
        await client.list(PODS, "shop")
    assert str(forbidden.value) == (
        "cannot list pods in namespace 'shop': forbidden; give the role of the controller's "
        "service account the verb 'list' on 'pods' in namespace 'shop': switch the mode that "
        "needs it on in the chart (memwatchctl doctor lists what is missing)"
    )
    assert not await client.may("list", PODS, "shop")
    assert not await client.may("patch", PODS, "shop", "ephemeralcontainers")
    assert await client.may("get", PODS, "shop")


async def test_reads_are_tried_again_and_changes_only_where_nothing_was_done(fake, client, naps):
    """A 503 and a cut connection are survived by a read; a change says that it may be made."""
    fake.objects.put(pod("web-1"))
    fake.faults.failing = [(503, None), (429, 3), (500, None)]
    assert (await client.get(PODS, "web-1", "shop"))["metadata"]["name"] == "web-1"
    assert naps.taken == [0.2, 3, 3.2]
    fake.faults.failing = [(503, None)] * 4
    with pytest.raises(errors.ClusterUnavailableError):
        await client.get(PODS, "web-1", "shop")
    fake.faults.failing = [(503, None)]
    with pytest.raises(errors.ClusterUnavailableError):
        await client.patch(PODS, "web-1", {}, "shop")
    fake.faults.drop_after = 1
    with pytest.raises(errors.ClusterUnavailableError) as dropped:
        await client.create(DEPLOYMENTS, workload("Deployment", "web"), "shop")
    assert dropped.value.sent
    with pytest.raises(errors.ClusterExistsError):
        await client.create(DEPLOYMENTS, workload("Deployment", "web"), "shop")


async def test_a_long_pause_is_handed_on(fake, client, naps):
    """A server that wants to be left alone for a minute is."""
    fake.faults.failing = [(429, 60)]
    with pytest.raises(errors.ClusterBusyError) as busy:
        await client.list(PODS, "shop")
    assert (busy.value.retry_after_seconds, naps.taken) == (60, [])


async def test_an_unreachable_server_and_a_slow_one_are_named(fake, naps, monkeypatch):
    """Nobody there, nobody answering in time, and somebody else answering."""
    async with Client(Config("http://127.0.0.1:9"), {}, naps) as nobody:
        with pytest.raises(errors.ClusterUnavailableError) as refused:
            await nobody.get(PODS, "a", "b")
    assert not refused.value.sent
    assert len(naps.taken) == client_module.TRIES - 1
    monkeypatch.setattr(client_module, "READ_SECONDS", 0.05)
    fake.faults.slow_seconds = 30
    async with Client(Config(fake.url), {}, naps) as slow:
        with pytest.raises(errors.ClusterUnavailableError, match="not answer in time"):
            await slow.patch(PODS, "a", {}, "b")


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "a\0b", "a\nb", "é", "a" * 300, "a?b"])
async def test_names_from_outside_never_become_paths(fake, client, name):
    """What is no name is refused before anything is sent."""
    with pytest.raises(errors.ClusterError, match="no name of a Kubernetes object"):
        await client.get(PODS, name, "shop")
    with pytest.raises(errors.ClusterError, match="no name of a Kubernetes object"):
        await client.get(PODS, "web", name)
    assert fake.calls == []


async def test_the_version_and_an_unknown_kind(fake, client):
    """The server's version is told; a kind that it lacks is not found."""
    assert await client.version() == "v1.36.0-fake"
    with pytest.raises(errors.ClusterNotFoundError):
        await client.list(Resource("memwatch.dev", "v1", "nothings", "Nothing"))


async def test_a_client_serves_many_calls_at_once(fake, client):
    """Fifty reads at the same time all come back."""
    fake.objects.put(pod("web-1"))
    found = await asyncio.gather(*(client.get(PODS, "web-1", "shop") for _ in range(50)))
    assert len(found) == 50
