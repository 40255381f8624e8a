"""How a pod may leave its service, or the numbers why not."""

import pytest

from memwatch_controller.cluster import isolation_gate as gate
from memwatch_controller.cluster import isolation_plan as planning
from memwatch_controller.cluster.isolation_plan import Facts, IsolationRefusedError
from memwatch_controller.model import IsolationMode

LABELS = {"app": "web", "tier": "front", "pod-template-hash": "7d9f"}


def pod(*, gated=True, ready="True", **more):
    return {
        "metadata": {"name": "web-1", "namespace": "shop", "uid": "u-1", "labels": LABELS} | more,
        "spec": {"readinessGates": [{"conditionType": gate.CONDITION}] if gated else []},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def owner(kind="ReplicaSet", replicas=4, ready=4, **spec):
    selector = {"matchLabels": {"app": "web", "pod-template-hash": "7d9f"}}
    return {
        "kind": kind,
        "metadata": {"name": "web", "uid": "rs-1"},
        "spec": {"replicas": replicas, "selector": selector} | spec,
        "status": {"readyReplicas": ready},
    }


def deployment(unavailable="25%", replicas=4, ready=4):
    rolling = {} if unavailable is None else {"maxUnavailable": unavailable}
    strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
    return owner("Deployment", replicas, ready, strategy=strategy)


def service(**selector):
    return {"metadata": {"name": "web"}, "spec": {"selector": selector or {"app": "web"}}}


def budget(allowed, **selector):
    return {
        "metadata": {"name": "keep"},
        "spec": {"selector": {"matchLabels": selector or {"app": "web"}}},
        "status": {"disruptionsAllowed": allowed, "currentHealthy": 3, "desiredHealthy": 3},
    }


def facts(**changes):
    """A pod of a Deployment of four, behind one service."""
    default = {
        "pod": pod(),
        "owner": owner(),
        "deployment": deployment(),
        "services": [service()],
        "budgets": [],
    }
    return Facts(**(default | changes))


def refusal(found, mode):
    with pytest.raises(IsolationRefusedError) as raised:
        planning.plan(found, mode)
    return raised.value


def test_detach_leaves_the_workload_before_the_service():
    """First the label of the ReplicaSet alone, then one of each service: capacity is never less."""
    made = planning.plan(facts(), IsolationMode.DETACH)

    assert made.off_workload == {"pod-template-hash": "7d9f"}
    assert made.off_services == {"app": "web"}
    assert (made.owner, made.replicas, made.services) == ("web", 4, ("web",))


def test_two_services_by_other_labels():
    """One label for each service that selects the pod, none for those that do not."""
    services = [service(app="web"), service(tier="front"), service(app="web", tier="front")]
    services += [service(app="other"), {"metadata": {"name": "none"}, "spec": {}}]
    made = planning.plan(facts(services=services), IsolationMode.DETACH)

    assert made.off_services == {"app": "web", "tier": "front"}


def test_single_replica_can_only_be_detached():
    """One replica: a replacement is there before it leaves, and readiness is refused."""
    one = facts(owner=owner(replicas=1, ready=1), deployment=deployment(replicas=1, ready=1))

    assert planning.plan(one, IsolationMode.AUTO).mode is IsolationMode.DETACH
    refused = refusal(one, IsolationMode.READINESS)
    assert "1 of 1 pods of ReplicaSet 'web' are Ready, and 2 are needed" in str(refused)
    assert refused.numbers == {"ready": 1, "replicas": 1, "needed": 2}


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"pod": pod(gated=False)}, "it has no readiness gate 'memwatch.dev/in-rotation'"),
        ({"pod": pod(ready="False")}, "it is not Ready"),
        ({"pod": pod(deletionTimestamp="2026-11-22T06:00:00Z")}, "it is being deleted"),
        ({"services": []}, "no service selects it"),
        ({"owner": None}, "no workload owns it"),
        ({"owner": owner("DaemonSet")}, "DaemonSet 'web' owns it"),
        ({"owner": owner("Job")}, "Job 'web' owns it"),
        ({"budgets": [budget(0)]}, "'keep' allows 0 disruptions (3 healthy, 3 desired)"),
        (
            {"deployment": deployment("25%", 3, 3)},
            "may miss 0 of 3 pods (maxUnavailable 25%), 0 are missing now",
        ),
        (
            {"deployment": deployment(1, 4, 3)},
            "may miss 1 of 4 pods (maxUnavailable 1), 1 are missing now",
        ),
    ],
)
def test_readiness_is_refused_with_numbers(changes, cause):
    """Budgets, settings and owners that allow no pod less are told by their numbers."""
    said = str(refusal(facts(**changes), IsolationMode.READINESS))

    assert cause in said
    assert said.startswith("cannot isolate pod 'web-1' in namespace 'shop' by 'readiness': ")


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"owner": owner("StatefulSet")}, "StatefulSet 'web' owns it: no replacement"),
        ({"owner": None}, "no workload owns it: no replacement"),
        ({"owner": owner(ready=3)}, "3 of 4 pods of ReplicaSet 'web' are Ready, and all must be"),
        ({"services": [service(app="web", **{"pod-template-hash": "7d9f"})],
          "owner": owner(selector={"matchLabels": {"app": "web"}})}, "every label by which"),
    ],
)  # fmt: skip
def test_detach_is_refused(changes, cause):
    """No replacement, none that is healthy, or no label that would keep it serving meanwhile."""
    assert cause in str(refusal(facts(**changes), IsolationMode.DETACH))


def test_auto_falls_back_and_tells_both():
    """A StatefulSet's pod leaves by readiness; where that is refused too both causes are told."""
    stateful = facts(owner=owner("StatefulSet"), deployment=None)
    assert planning.plan(stateful, IsolationMode.AUTO).mode is IsolationMode.READINESS

    bare = facts(owner=None, deployment=None, pod=pod(gated=False))
    said = str(refusal(bare, IsolationMode.AUTO))
    assert "detach: no workload owns it" in said
    assert "readiness: it has no readiness gate" in said


def test_budget_of_others_is_left_alone():
    """Only budgets that select the pod count; expressions are understood."""
    others = budget(0, app="other")
    assert planning.plan(facts(budgets=[others]), IsolationMode.READINESS)

    rules = [{"key": "tier", "operator": "In", "values": ["front"]}]
    rules += [{"key": "gone", "operator": "DoesNotExist"}, {"key": "app", "operator": "Exists"}]
    assert planning.selects({"matchExpressions": rules}, LABELS)
    rules.append({"key": "app", "operator": "NotIn", "values": ["web"]})
    assert not planning.selects({"matchExpressions": rules}, LABELS)
    assert planning.selects({}, LABELS)
    assert not planning.selects(None, LABELS)


def test_steps_show_the_difference():
    """What a dry run shows names every field that would change, from what to what."""
    told = planning.steps(planning.plan(facts(), IsolationMode.DETACH), 15)
    assert "pod shop/web-1: metadata.labels.pod-template-hash: 7d9f -> absent" in told
    assert told[-1] == "pod shop/web-1: delete, once its time to live is over"
    told = planning.steps(planning.plan(facts(), IsolationMode.READINESS), 15)
    assert told[0].endswith("status.conditions[memwatch.dev/in-rotation]: True -> False")


def test_gate_is_true_unless_somebody_holds_it():
    """A missing condition, an old one and one that nobody understands are all made True."""
    now = 1_795_353_600_000
    found = pod()

    assert gate.needs_true(found, now)
    assert not gate.needs_true(pod(gated=False), now)
    assert not gate.needs_true(pod(deletionTimestamp="2026-11-22T06:00:00Z"), now)
    for body, later, needed in (
        (gate.out_of_rotation("s-1", now + 60_000, now), 0, False),
        (gate.out_of_rotation("s-1", now + 60_000, now), 60_000, True),
        (gate.in_rotation(now), 60_000, False),
    ):
        found["status"]["conditions"] = body["status"]["conditions"]
        assert gate.needs_true(found, now + later) is needed
    found["status"]["conditions"][0] |= {
        "status": "False",
        "message": "by hand until 2026-99-99T00:00:00Z",
    }
    assert gate.needs_true(found, now)
