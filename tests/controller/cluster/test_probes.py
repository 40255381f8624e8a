import pytest

from memwatch_controller.cluster.budgets import Budgets
from memwatch_controller.cluster.lookup import Lookup
from memwatch_controller.cluster.pods import Pod
from memwatch_controller.cluster.probes import budget_of
from memwatch_controller.model import PauseBudget
from tests.controller.builders import target
from tests.fakes.kubernetes import pod

GET = {"httpGet": {"path": "/", "port": 80}}


def container(name, **probe):
    found = {"name": name, "image": "i"}
    return {**found, "livenessProbe": {**GET, **probe}} if probe else found


@pytest.mark.parametrize(
    ("probe", "sure", "full"),
    [
        ({"periodSeconds": 10, "failureThreshold": 3, "timeoutSeconds": 1}, 21_000, 31_000),
        ({"periodSeconds": 5, "failureThreshold": 1, "timeoutSeconds": 2}, 2_000, 7_000),
        ({"initialDelaySeconds": 9}, 21_000, 31_000),
    ],
)
def test_the_budget_of_a_probe(probe, sure, full):
    """Period × failures + timeout at most; one period less where the first came at once."""
    budget = budget_of(Pod(pod("a", containers=[container("app", **probe)])), "app")
    assert budget is not None
    assert (budget.sure_millis, budget.full_millis) == (sure, full)


def test_the_container_of_the_process_counts():
    """Its own probe where it is known which, else the tightest; ours and probeless have none."""
    tight = container("proxy", periodSeconds=1, failureThreshold=1)
    wide = container("app", periodSeconds=60)
    bare = container("bare")
    ours = container("memwatch-agent", periodSeconds=1, failureThreshold=1, timeoutSeconds=1)
    found = Pod(pod("a", containers=[wide, tight, bare, ours]))
    assert [b.container if (b := budget_of(found, id)) else "" for id in ("app", "bare", "x")] == [
        "app",
        "",
        "proxy",
    ]
    assert budget_of(Pod(pod("a", containers=[bare, ours]))) is None


async def test_budgets_are_read_before_a_capture(fake, client):
    """Of the pod with the target's uid; a cluster that does not answer allows the capture."""
    made = pod("web-1", uid="u-1", containers=[container("app", periodSeconds=2)])
    fake.objects.put(made)
    budgets = Budgets(Lookup(client))
    mine = target(pod="web-1", namespace="shop", pod_uid="u-1", container_id="app")
    assert await budgets.of(mine) == PauseBudget(
        5_000,
        "the liveness probe of container 'app' kills it after 5 to 7 s "
        "(every 2 s, 3 failures, timeout 1 s)",
    )
    other = target(pod="web-1", namespace="shop", pod_uid="u-2")
    assert await budgets.of(other) is None
    assert await budgets.of(target()) is None
    fake.faults.forbidden = {("get", "pods")}
    assert await budgets.of(mine) is None
