"""A real controller isolates pods on a FAKE API server; killed in between, nothing is left out."""

import asyncio
import contextlib

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


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A fake API server with three pods behind a service, and a controller that knows it."""
    with FakeKubernetes() as fake:
        shop = Shop(fake, replicas=3, gated=True)
        folder = tmp_path_factory.mktemp("c")
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


def plan(mode, target="t-web"):
    wish = sessions_pb2.Isolation(mode=mode, drain_millis=100, orphan_millis=1000)
    selector = targets_pb2.TargetSelector(ids=[target])
    return sessions_pb2.SessionPlan(selector=selector, timeframe_millis=1000, isolation=wish)


async def eventually(condition, what):
    await asyncio.to_thread(wait_until, condition, 90, what)


async def test_killed_while_a_pod_is_out(cluster, tmp_path):
    """After a kill -9 the session goes on where it was, and the pod serves again."""
    shop, stack = cluster
    before = len(shop.gaps)
    held = asyncio.Event()
    agent = FakeAgent(hold=held)
    target = fake_target("t-web", pod=POD, namespace="shop")
    link = LinkedAgent("a-web", f"unix:{tmp_path}/agent.sock", [target], agent)
    async with linked(link, stack.address, stack.token):
        await asyncio.wait_for(link.registered.wait(), 60)
        mode = sessions_pb2.ISOLATION_MODE_READINESS
        preview = await asyncio.to_thread(
            call, stack, "PreviewIsolation", sessions_pb2.PreviewIsolationRequest(plan=plan(mode))
        )
        assert preview.pods[0].steps[0].endswith("True -> False")
        assert POD in shop.serving()
        request = sessions_pb2.CreateSessionRequest(request_id="r-1", plan=plan(mode))
        session = await asyncio.to_thread(call, stack, "CreateSession", request)
        await eventually(lambda: "Capture" in agent.calls, "the capture to begin")
        assert POD not in shop.serving()

        stack.controller.kill()
        assert POD not in shop.serving()
        await asyncio.to_thread(stack.start_controller)
        held.set()
        wanted = sessions_pb2.GetSessionRequest(id=session.id)

        def told():
            with contextlib.suppress(Exception):
                return call(stack, "GetSession", wanted)
            return sessions_pb2.Session()

        await eventually(lambda: len(agent.captures) == 2, "both snapshots")
        await eventually(lambda: POD in shop.serving(), "the pod to serve again")
        await eventually(lambda: told().HasField("end_time"), "the session's end")
        steps = [step.message for step in told().targets[0].isolation.steps]
    assert told().targets[0].isolation.state == "in"
    assert steps.count("back in the rotation") == 2
    assert "set memwatch.dev/in-rotation False" in steps
    assert min(shop.gaps[before:]) == 2, "one pod was out at most"


async def test_cancelled_while_detached(cluster, tmp_path):
    """A session that is cancelled gives its pod back, and the ReplicaSet ends the newcomer."""
    shop, stack = cluster
    before = len(shop.gaps)
    agent = FakeAgent(hold=asyncio.Event())
    target = fake_target("t-two", pod=POD, namespace="shop")
    link = LinkedAgent("a-two", f"unix:{tmp_path}/agent.sock", [target], agent)
    async with linked(link, stack.address, stack.token):
        await asyncio.wait_for(link.registered.wait(), 60)
        mode = sessions_pb2.ISOLATION_MODE_DETACH
        request = sessions_pb2.CreateSessionRequest(request_id="r-2", plan=plan(mode, "t-two"))
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
