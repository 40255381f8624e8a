"""Pods leave their service and come back on a FAKE API server whose controllers a test plays."""

import pytest

from memwatch_controller.cluster import isolation_gate as gate
from memwatch_controller.cluster import resources
from memwatch_controller.cluster.client import Client
from memwatch_controller.cluster.config import Config
from memwatch_controller.cluster.isolation_plan import IsolationRefusedError
from memwatch_controller.cluster.isolations import (
    LEASE_MILLIS,
    OUT_MILLIS,
    IsolationFailedError,
    Isolations,
)
from memwatch_controller.isolation import IsolationState, Wish
from memwatch_controller.model import IsolationMode
from memwatch_controller.store.database import open_database
from memwatch_controller.store.isolations import IsolationTable
from tests.fakes.kubernetes_shop import HASH, Shop

START = 1_795_353_600_000


class Clock:
    """Time that passes where somebody sleeps."""

    def __init__(self):
        self.millis = START

    def __call__(self):
        return self.millis

    async def sleep(self, seconds):
        self.millis += round(seconds * 1000)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def table(tmp_path, clock):
    """The undo ledger in a database of its own."""
    database = await open_database(f"sqlite:///{tmp_path}/memwatch.db")
    yield IsolationTable(database, clock)
    await database.close()


@pytest.fixture
async def controllers(fake, table, clock):
    """Makes controllers of one database, as many as a test wants."""
    clients = []

    def make(name="c-1"):
        clients.append(Client(Config(fake.url, namespace="shop"), {}, clock.sleep))
        return Isolations(clients[-1], table, name, clock, clock.sleep)

    yield make
    for made in clients:
        await made.close()


def wish(mode, pod="web-7d9f-1", **more):
    return Wish("s-1.t-1", "s-1", "shop", pod, mode, **more)


def until(pod):
    """Until when a pod's gate is False."""
    found = gate.condition_of(pod)
    assert found
    return gate.until_of(found)


def labels(shop, name="web-7d9f-1"):
    return shop.objects.get(resources.PODS, name, "shop")["metadata"]["labels"]


async def test_detach_and_retire(fake, table, clock, controllers):
    """One replica: its replacement serves before it leaves, and it is deleted after its time."""
    shop = Shop(fake, replicas=1)
    isolations = controllers()
    await isolations.leave(wish(IsolationMode.DETACH))

    assert shop.serving() == {"web-7d9f-2"}
    assert labels(shop) == {}
    assert (await table.get("s-1.t-1")).state is IsolationState.OUT
    await isolations.back("s-1.t-1", last=True)
    await isolations.reconcile()
    assert len(shop.pods()) == 2
    clock.millis += 300_000
    await isolations.reconcile()
    assert [p["metadata"]["name"] for p in shop.pods()] == ["web-7d9f-2"]
    assert (await table.get("s-1.t-1")).state is IsolationState.RETIRED
    assert min(shop.gaps[1:]) == 1, "nobody was missed for a moment"
    said = [step for _, step in (await table.get("s-1.t-1")).steps]
    assert said[0] == "leave the rotation"
    assert "take off labels pod-template-hash=7d9f" in said


async def test_detached_pod_comes_back_between_snapshots(fake, table, controllers):
    """Not after the last snapshot it returns, and the ReplicaSet ends the newcomer, not it."""
    shop = Shop(fake, replicas=2)
    isolations = controllers()
    await isolations.leave(wish(IsolationMode.AUTO))
    await isolations.back("s-1.t-1", last=False)

    assert labels(shop) == HASH
    assert "web-7d9f-1" in shop.serving()
    assert len(shop.pods()) == 2
    assert not shop.objects.get(resources.PODS, "web-7d9f-1", "shop")["metadata"]["annotations"]
    await isolations.leave(wish(IsolationMode.AUTO))
    assert "web-7d9f-1" not in shop.serving()
    assert min(shop.gaps[1:]) == 2


async def test_readiness(fake, table, clock, controllers):
    """The gate goes False, no slice has the pod, and after the snapshot it serves again."""
    shop = Shop(fake, replicas=3, gated=True)
    isolations = controllers()
    await isolations.leave(wish(IsolationMode.READINESS))

    assert shop.serving() == {"web-7d9f-2", "web-7d9f-3"}
    pod = shop.objects.get(resources.PODS, "web-7d9f-1", "shop")
    assert until(pod) // 1000 == (START + OUT_MILLIS) // 1000
    clock.millis += 20_000
    await isolations.reconcile()
    pod = shop.objects.get(resources.PODS, "web-7d9f-1", "shop")
    assert until(pod) >= clock.millis + OUT_MILLIS - 1000
    await isolations.back("s-1.t-1", last=True)
    assert len(shop.serving()) == 3
    assert (await table.get("s-1.t-1")).state is IsolationState.IN


async def test_refused_before_anything_is_changed(fake, table, controllers):
    """A refusal writes nothing: neither to the cluster nor to the ledger."""
    Shop(fake, replicas=1, gated=True)
    with pytest.raises(IsolationRefusedError, match="1 of 1 pods"):
        await controllers().leave(wish(IsolationMode.READINESS))

    assert await table.list_open() == []
    assert {verb for verb, *_ in fake.calls} <= {"get", "list"}


async def test_no_replacement(fake, table, controllers):
    """Where no replacement gets ready in time the pod goes back, with what the cluster said."""
    shop = Shop(fake, replicas=1)
    shop.starts = False
    with pytest.raises(IsolationFailedError, match="has no replacement ready after 2 s: pod") as e:
        await controllers().leave(wish(IsolationMode.DETACH, ready_millis=2000))

    assert "containers with unready status: [app]" in str(e.value)
    assert (labels(shop), shop.serving()) == (HASH, {"web-7d9f-1"})
    assert [p["metadata"]["name"] for p in shop.pods()] == ["web-7d9f-1"]
    assert min(shop.gaps[1:]) == 1


@pytest.mark.parametrize("mode", [IsolationMode.DETACH, IsolationMode.READINESS])
async def test_left_by_a_dead_controller(fake, table, clock, controllers, mode):
    """Another controller leaves it alone while the lease holds, and puts it back after that."""
    shop = Shop(fake, replicas=3, gated=True)
    await controllers("dead").leave(wish(mode))
    other = controllers("other")
    await other.reconcile()
    assert "web-7d9f-1" not in shop.serving()

    clock.millis += LEASE_MILLIS + 1
    await other.reconcile()
    assert "web-7d9f-1" in shop.serving()
    assert labels(shop) == HASH
    assert len(shop.pods()) == 3
    assert (await table.get("s-1.t-1")).state is IsolationState.IN


async def test_cut_at_every_change(fake, table, clock, controllers):
    """Cut off before or after any change of the pod, it is found in the ledger and undone."""
    shop = Shop(fake, replicas=2)
    for cut in ((1, False), (1, True), (2, False), (2, True)):
        isolations = controllers(f"c-{cut}")
        isolations._client = Failing(isolations._client, *cut)
        name = min(shop.serving())
        record = Wish(f"s-1.cut-{cut}", "s-1", "shop", name, IsolationMode.DETACH)
        with pytest.raises(ConnectionError):
            await isolations.leave(record)
        clock.millis += LEASE_MILLIS + 1
        await controllers("other").reconcile()
        assert (len(shop.serving()), len(shop.pods())) == (2, 2), cut
        assert await table.list_open() == []
    assert min(shop.gaps[1:]) == 2


class Failing:
    """A client whose process is killed at its n-th change, before or after it was made."""

    def __init__(self, client, changes, after):
        self._client, self._left, self._after = client, changes, after

    def __getattr__(self, name):
        return getattr(self._client, name)

    async def patch(self, *arguments, **more):
        self._left -= 1
        if self._left < 0 or not (self._left or self._after):
            raise ConnectionError("killed")
        made = await self._client.patch(*arguments, **more)
        if not self._left:
            raise ConnectionError("killed")
        return made
