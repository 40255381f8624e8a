import asyncio
import contextlib

import grpc
import pytest

from memwatch_controller.api.registry import RegistryServicer
from memwatch_controller.api.targets import TargetServicer
from memwatch_controller.model import TargetState
from memwatch_controller.registry import Registry
from memwatch_proto import __version__
from memwatch_proto.status import from_rpc_error
from memwatch_proto.v1 import (
    agents_pb2,
    registry_pb2,
    registry_pb2_grpc,
    snapshots_pb2,
    targets_pb2,
    targets_pb2_grpc,
)
from tests.fakes.linked import fake_target
from tests.fakes.sessions import Clock


class Rows:
    """Keeps nothing."""

    async def save_agents(self, agents):
        pass

    async def save_targets(self, targets):
        pass


@pytest.fixture
async def served(tmp_path):
    """A registry behind a real server: the registry, a channel, what spools were told."""
    registry, told = Registry(Rows(), Clock(), 1_500), []  # type: ignore[arg-type]

    async def on_spooled(address, spooled):
        told.append((address, [one.id for one in spooled]))

    async def on_recorded(agent_id, address, artifacts):
        if artifacts:
            told.append((f"{agent_id} at {address}", [one.id for one in artifacts]))

    def on_findings(agent_id, findings):
        if findings:
            told.append((agent_id, [one.id for one in findings]))

    server = grpc.aio.server()
    registry_pb2_grpc.add_RegistryServiceServicer_to_server(
        RegistryServicer(registry, on_spooled, on_recorded, on_findings), server
    )
    targets_pb2_grpc.add_TargetServiceServicer_to_server(TargetServicer(registry), server)
    server.add_insecure_port(f"unix:{tmp_path}/s.sock")
    await server.start()
    async with grpc.aio.insecure_channel(f"unix:{tmp_path}/s.sock") as channel:
        yield registry, channel, told
    await server.stop(None)


def register(*ids, agent="a-1", **fields):
    """The first message of an agent."""
    return registry_pb2.ConnectRequest(
        register=registry_pb2.Register(
            agent=agents_pb2.Agent(id=agent, address="here:1", **fields),
            targets=[fake_target(id) for id in ids],
        )
    )


def heartbeat(*ids):
    """A later message."""
    targets = [fake_target(id) for id in ids]
    return registry_pb2.ConnectRequest(heartbeat=registry_pb2.Heartbeat(targets=targets))


async def connect(channel, *messages):
    """A stream on which some messages were sent."""
    call = registry_pb2_grpc.RegistryServiceStub(channel).Connect()
    for message in messages:
        await call.write(message)
    return call


async def refusal(call):
    """The failure that a stream ends with."""
    try:
        while await call.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as error:
        return from_rpc_error(error)
    raise AssertionError("the stream ended well")


async def test_an_agent_registers_and_says_that_it_lives(served):
    """The answers: interval and version, then one acknowledgement for each heartbeat."""
    registry, channel, _ = served
    call = await connect(channel, register("t-1", "t-2"), heartbeat("t-1"))
    first, second = await call.read(), await call.read()

    assert first.registered.heartbeat_interval_millis == 1_500
    assert first.registered.controller_version == __version__
    assert second.HasField("ack")
    assert registry.get("t-1").state is TargetState.REACHABLE
    assert registry.get("t-2").state is TargetState.GONE
    assert registry.get("t-1").agent_id == "a-1"


async def until(condition):
    """Returns once a condition holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  what is waited for is another task
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("end", ["done_writing", "cancel"])
async def test_a_stream_that_ends_leaves_unreachable_targets(served, end):
    """An agent that goes, politely or not, leaves its targets unreachable, not deleted."""
    registry, channel, _ = served
    call = await connect(channel, register("t-1"))
    await call.read()
    if end == "cancel":
        call.cancel()
    else:
        await call.done_writing()
    await until(lambda: registry.get("t-1").state is TargetState.UNREACHABLE)
    assert registry.connected_count() == 0


async def test_a_second_stream_of_the_same_agent_replaces_the_first(served):
    """The first ends with ABORTED; the agent's targets stay reachable."""
    registry, channel, _ = served
    first = await connect(channel, register("t-1"))
    await first.read()
    second = await connect(channel, register("t-1"))
    await second.read()
    failure = await refusal(first)

    assert (failure.code, failure.reason) == (grpc.StatusCode.ABORTED, "REPLACED")
    assert registry.get("t-1").state is TargetState.REACHABLE


@pytest.mark.parametrize(
    "messages",
    [
        [heartbeat("t-1")],
        [register("t-1"), register("t-1")],
        [register("../../etc")],
        [register("t\n1")],
        [register(agent="")],
    ],
)
async def test_a_stream_that_makes_no_sense_is_refused(served, messages):
    """Wrong order or ids that are none: INVALID_ARGUMENT with the next step."""
    _, channel, _ = served
    failure = await refusal(await connect(channel, *messages))

    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.message.startswith("cannot ")


async def test_what_an_agent_has_spooled_is_told(served):
    """Snapshots in a registering agent's spool are handed on, with where to dial it."""
    _, channel, told = served
    call = await connect(
        channel, register("t-1", spooled=[snapshots_pb2.Snapshot(id="n-1", request_id="r")])
    )
    await call.read()
    await until(lambda: told)
    assert told == [("here:1", ["n-1"])]


async def test_targets_are_got_and_listed_in_pages(served):
    """Get, list by selector, pages, absent ones only when asked for."""
    _, channel, _ = served
    call = await connect(channel, register("t-1", "t-2", "t-3", "t-4"), heartbeat("t-1", "t-2"))
    await call.read()
    await call.read()
    stub = targets_pb2_grpc.TargetServiceStub(channel)
    one = await stub.GetTarget(targets_pb2.GetTargetRequest(id="t-1"))
    assert one.service == "web"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.GetTarget(targets_pb2.GetTargetRequest(id="t-9"))
    assert from_rpc_error(caught.value).reason == "TARGET_NOT_FOUND"

    reachable = await stub.ListTargets(targets_pb2.ListTargetsRequest())
    assert [t.id for t in reachable.targets] == ["t-1", "t-2"]
    seen, token = [], ""
    while True:
        page = await stub.ListTargets(
            targets_pb2.ListTargetsRequest(include_absent=True, page_size=3, page_token=token)
        )
        seen += [t.id for t in page.targets]
        token = page.next_page_token
        if not token:
            break
    assert seen == ["t-1", "t-2", "t-3", "t-4"]


async def test_a_watched_target_is_shown_at_each_report(served):
    """The first answer comes at once, the next with the next heartbeat."""
    _, channel, _ = served
    link = await connect(channel, register("t-1"))
    await link.read()
    stub = targets_pb2_grpc.TargetServiceStub(channel)
    watch = stub.WatchTarget(targets_pb2.WatchTargetRequest(id="t-1"))
    assert (await watch.read()).target.state == targets_pb2.TARGET_STATE_REACHABLE
    await asyncio.sleep(0.05)
    await link.write(heartbeat())
    assert (await watch.read()).target.state == targets_pb2.TARGET_STATE_GONE
    watch.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watch.read()
