"""A real controller isolates pods on a FAKE API server; killed in between, nothing is left out."""

import asyncio

import pytest

from memwatch_proto.v1 import sessions_pb2, sessions_pb2_grpc, targets_pb2
from tests.fakes.agent import FakeAgent
from tests.fakes.kubernetes import FakeKubernetes
from tests.fakes.kubernetes_shop import HASH, Shop
from tests.fakes.linked import LinkedAgent, fake_target, linked
from tests.support.processes import wait_until
from tests.support.stack import Stack

pytestmark = pytest.mark.e2e

POD = "web-7d9f-1"


@pytest.fixture
def cluster(folder):
    """A fake API server with three pods behind a service, and a controller that knows it."""
    with FakeKubernetes() as fake:
        shop = Shop(fake, replicas=3, gated=True)
        config = fake.kubeconfig(folder)
        stack = Stack(folder, controller_arguments=("--cluster", str(config)))
        stack.start_controller()
        try:
            yield shop, stack
        finally:
            stack.stop()


def call(stack, method, request):
    with stack.channel() as (channel, metadata):
        stub = sessions_pb2_grpc.SessionServiceStub(channel)
        return getattr(stub, method)(request, metadata=metadata, timeout=30)


def plan(mode):
    wish = sessions_pb2.Isolation(mode=mode, drain_millis=100, orphan_millis=1000)
    selector = targets_pb2.TargetSelector(ids=["t-web"])
    return sessions_pb2.SessionPlan(selector=selector, timeframe_millis=1000, isolation=wish)


async def eventually(condition, what):
    await asyncio.to_thread(wait_until, condition, 90, what)


async def test_no_pod_is_left_out(cluster, tmp_path):
    """Out by its gate with a killed controller, or detached and cancelled: it comes back."""
    shop, stack = cluster
    agent = FakeAgent(hold=asyncio.Event())
    target = fake_target("t-web", pod=POD, namespace="shop")
    link = LinkedAgent("a-web", f"unix:{tmp_path}/agent.sock", [target], agent)
    async with linked(link, stack.address, stack.token):
        await asyncio.wait_for(link.registered.wait(), 60)
        await cancelled_while_detached(shop, stack, agent)
        agent.calls.clear()
        await killed_while_out(shop, stack, agent)


async def killed_while_out(shop, stack, agent):
    """After a kill -9 the session goes on where it was, and the pod serves again."""
    before = len(shop.gaps)
    wanted = plan(sessions_pb2.ISOLATION_MODE_READINESS)
    shown = sessions_pb2.PreviewIsolationRequest(plan=wanted)
    preview = await asyncio.to_thread(call, stack, "PreviewIsolation", shown)
    assert preview.pods[0].steps[0].endswith("True -> False")
    assert POD in shop.serving()
    request = sessions_pb2.CreateSessionRequest(request_id="r-1", plan=wanted)
    session = await asyncio.to_thread(call, stack, "CreateSession", request)
    await eventually(lambda: "Capture" in agent.calls, "the capture to begin")
    assert POD not in shop.serving()

    stack.controller.kill()
    assert POD not in shop.serving()
    await asyncio.to_thread(stack.start_controller)
    agent.hold.set()
    asked = sessions_pb2.GetSessionRequest(id=session.id)

    def told():
        return call(stack, "GetSession", asked)

    await eventually(lambda: len(agent.captures) == 2, "both snapshots")
    await eventually(lambda: told().HasField("end_time"), "the session's end")
    await eventually(lambda: POD in shop.serving(), "the pod to serve again")
    isolation = (await asyncio.to_thread(told)).targets[0].isolation
    steps = [step.message for step in isolation.steps]
    assert isolation.state == "in"
    assert steps.count("back in the rotation") == 2
    assert "set memwatch.dev/in-rotation False" in steps
    assert min(shop.gaps[before:]) == 2, "one pod was out at most"


async def cancelled_while_detached(shop, stack, agent):
    """A session that is cancelled gives its pod back, and the ReplicaSet ends the newcomer."""
    before = len(shop.gaps)
    wanted = plan(sessions_pb2.ISOLATION_MODE_DETACH)
    request = sessions_pb2.CreateSessionRequest(request_id="r-2", plan=wanted)
    session = await asyncio.to_thread(call, stack, "CreateSession", request)
    await eventually(lambda: "Capture" in agent.calls, "the capture to begin")
    assert (POD not in shop.serving(), len(shop.serving())) == (True, 3)

    cancel = sessions_pb2.CancelSessionRequest(id=session.id)
    await asyncio.to_thread(call, stack, "CancelSession", cancel)
    await eventually(lambda: POD in shop.serving(), "the pod to serve again")
    await eventually(lambda: len(shop.pods()) == 3, "the newcomer's end")
    found = next(pod for pod in shop.pods() if pod["metadata"]["name"] == POD)
    assert found["metadata"]["labels"] == HASH
    assert min(shop.gaps[before:]) == 3, "no pod was missed for a moment"
