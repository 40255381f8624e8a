import pytest

from memwatch_controller.cluster.errors import (
    ClusterError,
    ClusterForbiddenError,
    ClusterNotFoundError,
)
from memwatch_controller.cluster.lookup import Lookup, selector_text
from memwatch_controller.errors import AmbiguousTargetError, InvalidArgumentError
from tests.fakes.kubernetes import pod, workload


@pytest.fixture
def shop(fake):
    """A Deployment of two revisions, a StatefulSet with the same label, and strangers."""
    put = fake.objects.put
    web = put(workload("Deployment", "web"))
    for revision in ("old", "new"):
        labels = {"app": "web", "pod-template-hash": revision}
        owned = put(workload("ReplicaSet", f"web-{revision}", labels=labels, owner=web))
        put(pod(f"web-{revision}-1", labels=labels, owner=owned))
    ended = pod("web-new-2", labels=labels, owner=owned)
    ended["status"]["phase"] = "Succeeded"
    put(ended)
    store = put(workload("StatefulSet", "store", labels={"app": "web"}))
    put(pod("store-0", labels={"app": "web"}, owner=store))
    put(pod("debug", labels={"app": "web"}))
    put(pod("debug", namespace="other"))
    return fake


def names(pods):
    return [found.name for found in pods]


async def test_a_workload_means_the_pods_it_owns_and_no_other(shop, client):
    """Labels alone would take in a stranger; ended pods are left out."""
    lookup = Lookup(client)
    found = await lookup.pods_of("deployment", "web", "shop")
    assert names(found) == ["web-new-1", "web-old-1"]
    assert names(await lookup.pods_of("statefulset", "store", "shop")) == ["store-0"]
    assert names(await lookup.pods_of("replicaset", "web-old", "")) == ["web-old-1"]
    assert names(await lookup.pods_of("pod", "web-new-1", "shop")) == ["web-new-1"]
    chosen = await lookup.pods_of("selector", "app=web,pod-template-hash in (old)", "shop")
    assert names(chosen) == ["web-old-1"]


async def test_a_name_without_a_namespace_is_looked_for_in_all(shop, client):
    """One match is it, two are listed, none is told; a narrow role is told to name one."""
    lookup = Lookup(client)
    assert names(await lookup.pods_of("deployment", "web", "")) == ["web-new-1", "web-old-1"]
    with pytest.raises(AmbiguousTargetError, match="-n other, -n shop"):
        await lookup.pods_of("pod", "debug", "")
    with pytest.raises(ClusterNotFoundError, match="no namespace has a Deployment"):
        await lookup.pods_of("deployment", "none", "")
    shop.faults.forbidden = {("list", "pods")}
    with pytest.raises(ClusterError, match="name one: -n NAMESPACE"):
        await lookup.pods_of("pod", "debug", "")
    with pytest.raises(ClusterForbiddenError, match="the verb 'list' on 'pods'"):
        await lookup.pods_of("selector", "app=web", "shop")


async def test_what_cannot_be_found_is_told(shop, client):
    """An ended pod, an unknown kind, a name that is none."""
    lookup = Lookup(client)
    with pytest.raises(ClusterNotFoundError, match="none runs; 1 are there"):
        await lookup.pods_of("pod", "web-new-2", "shop")
    with pytest.raises(ClusterNotFoundError, match="not found"):
        await lookup.pods_of("deployment", "gone", "shop")
    with pytest.raises(InvalidArgumentError, match="kind 'service' is none of pod, deployment"):
        await lookup.pods_of("service", "web", "shop")
    with pytest.raises(InvalidArgumentError, match="no name"):
        await lookup.pods_of("pod", "a,b=c", "")


def test_selectors_of_objects_as_queries():
    """MatchLabels and each operator of matchExpressions."""
    selector = {
        "matchLabels": {"app": "web"},
        "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["a", "b"]},
            {"key": "env", "operator": "NotIn", "values": ["dev"]},
            {"key": "track", "operator": "Exists"},
            {"key": "old", "operator": "DoesNotExist"},
        ],
    }
    assert selector_text(selector) == "app=web,tier in (a,b),env notin (dev),track,!old"
