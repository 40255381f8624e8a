"""Gates are True unless somebody holds them, whoever is down; on a FAKE API server."""

import asyncio

from memwatch_controller.cluster import isolation_gate as gate
from memwatch_controller.cluster import resources
from memwatch_controller.cluster.gates import Gates
from tests.fakes.kubernetes import pod
from tests.support.processes import wait_until

NOW = 1_795_353_600_000


def gated(name, status=None):
    made = pod(name, labels={gate.LABEL: "true"})
    made["spec"]["readinessGates"] = [{"conditionType": gate.CONDITION}]
    if status:
        made["status"]["conditions"] += status["status"]["conditions"]
    return made


def state(fake, name):
    """What a pod's gate says."""
    found = gate.condition_of(fake.objects.get(resources.PODS, name, "shop"))
    return found and found["status"]


async def test_gates_of_new_and_forgotten_pods(fake, client):
    """New pods get True at once; a False holds to its end, then it is opened by anybody."""
    now = [NOW]
    fake.objects.put(gated("new"))
    fake.objects.put(gated("held", gate.out_of_rotation("s-1", NOW + 60_000, NOW)))
    fake.objects.put(gated("left", gate.out_of_rotation("s-2", NOW - 1_000, NOW - 9_000)))
    fake.objects.put(pod("other", labels={gate.LABEL: "true"}))
    gates = Gates(client, lambda: now[0])
    await gates.look()

    assert [state(fake, name) for name in ("new", "held", "left", "other")] == [
        "True",
        "False",
        "True",
        None,
    ]
    now[0] += 61_000
    await gates.tick()
    assert state(fake, "held") == "True"


async def test_one_namespace_alone(fake, client):
    """Where the namespaces of services are named, no other is listed or watched."""
    running = asyncio.ensure_future(Gates(client, lambda: NOW, "shop").run())
    try:
        await asyncio.to_thread(
            wait_until, lambda: ("watch", "pods", "shop", "") in {c[:4] for c in fake.calls}, 20
        )
        fake.objects.put(gated("later"))
        await asyncio.to_thread(wait_until, lambda: state(fake, "later") == "True", 20)
    finally:
        running.cancel()
    assert {namespace for _, _, namespace, *_ in fake.calls} == {"shop"}


async def test_watched_and_tried_again(fake, client):
    """A pod that comes later is seen at once; an API server that is away is asked again."""
    running = asyncio.ensure_future(Gates(client, lambda: NOW).run())
    try:
        fake.faults.failing = [(500, None)] * 5
        await asyncio.to_thread(
            wait_until, lambda: ("watch", "pods", "", "") in {c[:4] for c in fake.calls}, 20
        )
        fake.objects.put(gated("later"))
        await asyncio.to_thread(wait_until, lambda: state(fake, "later") == "True", 20)
    finally:
        running.cancel()
