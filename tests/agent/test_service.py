"""`service.py`: the calls, over a real gRPC server on a Unix socket."""

import asyncio
import hashlib
import json
import os

import grpc
import pytest

from memwatch_agent.drivers.base import HeapFigures, Way
from memwatch_agent.drivers.errors import CaptureFailedError, NoWayInError, TargetEndedError
from memwatch_agent.errors import BadRequestError
from memwatch_agent.service import AgentService, capture_spec, record_spec
from memwatch_proto.auth import TokenInterceptor, bearer
from memwatch_proto.chunks import checked_data
from memwatch_proto.status import Reason, from_rpc_error
from memwatch_proto.v1 import agents_pb2, agents_pb2_grpc, common_pb2, profiles_pb2
from tests.agent.fakes import Bench, target

TOKEN = "secret"
REQUEST = agents_pb2.CaptureRequest(request_id="r-1", target_id="t-1")


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path, target("t-1"), target("t-2", pid=8, ways=()))


@pytest.fixture
async def stub(bench, tmp_path):
    async def about() -> agents_pb2.Agent:
        return agents_pb2.Agent(id="a-1", spooled=bench.spool.snapshots())

    server = grpc.aio.server(interceptors=[TokenInterceptor(TOKEN)])
    service = AgentService(
        about,
        bench.roster,
        bench.figures,
        bench.captures,
        bench.recordings,
        bench.spool,
        None,
    )
    agents_pb2_grpc.add_AgentServiceServicer_to_server(service, server)
    address = f"unix:{tmp_path}/a.sock"
    server.add_insecure_port(address)
    await server.start()
    async with grpc.aio.insecure_channel(address) as channel:
        yield Caller(agents_pb2_grpc.AgentServiceStub(channel))
    await bench.captures.close()
    await bench.recordings.close()
    await server.stop(0)


class Caller:
    """The stub with the token in every call."""

    def __init__(self, stub) -> None:
        self.stub = stub

    def __getattr__(self, name):
        method = getattr(self.stub, name)
        return lambda request: method(request, metadata=bearer(TOKEN))

    async def capture(self, request=REQUEST):
        return [event async for event in self.Capture(request)][-1].snapshot


async def refused(call):
    """The failure that ends a call."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await (every(call) if hasattr(call, "__aiter__") else call)
    return from_rpc_error(error.value)


async def every(call):
    """Iterates over a call to its end."""
    async for _ in call:
        pass


async def rest(call):
    """Reads a call to its end."""
    while await call.read() is not grpc.aio.EOF:
        pass


async def test_the_agent_tells_who_it_is_and_what_it_has(stub):
    """GetAgent lists what lies finished in the spool."""
    snapshot = await stub.capture()

    agent = await stub.GetAgent(agents_pb2.GetAgentRequest())

    assert agent.id == "a-1"
    assert list(agent.spooled) == [snapshot]


async def test_targets_are_listed_with_reasons_and_memory(stub):
    """A process that cannot be captured is there, with why."""
    answer = await stub.ListTargets(agents_pb2.AgentServiceListTargetsRequest())

    assert [one.id for one in answer.targets] == ["t-1", "t-2"]
    assert answer.targets[0].memory.rss_bytes
    assert answer.targets[1].unavailable_reason == "it has no hook"


async def test_a_snapshot_is_captured_streamed_and_discarded(stub, bench):
    """The whole road of a snapshot, with its digest checked."""
    bench.driver.data = b"{" + os.urandom(700_000).hex().encode() + b"}"
    snapshot = await stub.capture()

    received = b""
    async for chunk in stub.Stream(agents_pb2.StreamRequest(snapshot_id=snapshot.id)):
        received += checked_data(chunk, len(received))
    assert chunk.sha256 == snapshot.stored_sha256 == hashlib.sha256(received).hexdigest()
    assert chunk.total_size_bytes == snapshot.stored_size_bytes == len(received)

    for _ in range(2):
        await stub.Discard(agents_pb2.DiscardRequest(snapshot_id=snapshot.id))
    failure = await refused(stub.Stream(agents_pb2.StreamRequest(snapshot_id=snapshot.id)))
    assert (failure.code, failure.reason) == (grpc.StatusCode.NOT_FOUND, Reason.NOT_FOUND)


@pytest.mark.parametrize("offset", [1, 262_143, 262_144, 262_145, 700_000])
async def test_a_stream_resumes_anywhere(stub, bench, offset):
    """The bytes from an offset are the bytes of the whole from there."""
    bench.driver.data = b"{" + os.urandom(700_000).hex().encode() + b"}"
    snapshot = await stub.capture()
    file, _ = bench.spool.open(snapshot.id)
    whole = file.read()

    received = b""
    request = agents_pb2.StreamRequest(snapshot_id=snapshot.id, offset_bytes=offset)
    async for chunk in stub.Stream(request):
        received += checked_data(chunk, offset + len(received))

    assert whole[offset:] == received
    assert chunk.sha256 == snapshot.stored_sha256


async def test_a_stream_at_the_end_sends_the_digest_alone(stub):
    """A receiver that has every byte asks for the digest."""
    snapshot = await stub.capture()
    size = snapshot.stored_size_bytes
    request = agents_pb2.StreamRequest(snapshot_id=snapshot.id, offset_bytes=size)

    chunks = [chunk async for chunk in stub.Stream(request)]

    assert [(chunk.data, chunk.sha256) for chunk in chunks] == [(b"", snapshot.stored_sha256)]
    beyond = agents_pb2.StreamRequest(snapshot_id=snapshot.id, offset_bytes=size + 1)
    failure = await refused(stub.Stream(beyond))
    assert (failure.code, failure.reason) == (
        grpc.StatusCode.OUT_OF_RANGE,
        Reason.OFFSET_OUT_OF_RANGE,
    )


@pytest.mark.parametrize("snapshot_id", ["s-none", "../../etc/passwd", "", "a\nb", "\0"])
async def test_an_unknown_snapshot_is_not_found(stub, snapshot_id):
    """Whatever is asked for, only snapshots of the spool are read."""
    failure = await refused(stub.Stream(agents_pb2.StreamRequest(snapshot_id=snapshot_id)))

    assert failure.code is grpc.StatusCode.NOT_FOUND


async def test_memory_is_watched_until_the_process_ends(stub, bench):
    """Samples come at the interval, and NOT_FOUND when there is nothing left to sample."""
    call = stub.Watch(agents_pb2.WatchRequest(target_id="t-1", interval_millis=1))

    assert (await call.read()).rss_bytes == bench.roster.rss
    assert (await call.read()).rss_bytes == bench.roster.rss
    del bench.roster.known["t-1"]
    failure = await refused(rest(call))
    assert (failure.code, failure.reason) == (
        grpc.StatusCode.NOT_FOUND,
        Reason.TARGET_NOT_FOUND,
    )


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CaptureFailedError(7, "it broke"), grpc.StatusCode.ABORTED),
        (TargetEndedError(7, "it ended"), grpc.StatusCode.ABORTED),
        (NoWayInError(7, "no"), grpc.StatusCode.FAILED_PRECONDITION),
    ],
)
async def test_a_driver_s_error_reaches_the_caller(stub, bench, error, code):
    """Reason and sentence arrive as they were raised."""
    bench.driver.error = error

    failure = await refused(stub.Capture(REQUEST))

    assert (failure.code, failure.reason, failure.message) == (code, error.reason, str(error))


async def test_a_refusal_carries_its_numbers(stub, bench):
    """HEADROOM tells a program what is needed and what there is."""
    bench.driver.heap = HeapFigures(used_bytes=1 << 50)

    failure = await refused(stub.Capture(REQUEST))

    assert (failure.code, failure.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        Reason.HEADROOM,
    )
    assert int(failure.metadata["needed_bytes"]) > int(failure.metadata["available_bytes"])


async def test_a_busy_pod_tells_when_to_come_back(stub, bench):
    """RESOURCE_EXHAUSTED has a RetryInfo."""
    bench.driver.gate.clear()
    first = stub.Capture(REQUEST)
    await first.read()

    other = agents_pb2.CaptureRequest(request_id="r-2", target_id="t-1")
    failure = await refused(stub.Capture(other))

    assert (failure.code, failure.reason) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        Reason.CAPTURE_IN_PROGRESS,
    )
    assert failure.retry_after_seconds and failure.retry_after_seconds >= 1
    bench.driver.gate.set()


async def test_an_unforeseen_error_ends_the_call_only(stub, bench):
    """A mistake of ours is UNKNOWN for that call; the next one works."""
    bench.driver.error = ZeroDivisionError("ours")
    assert (await refused(stub.Capture(REQUEST))).code is grpc.StatusCode.UNKNOWN

    bench.driver.error = None
    assert (await stub.capture()).id


async def test_a_cancelled_call_leaves_its_capture_to_be_joined(stub, bench):
    """The capture goes on when its caller is cut off, and a new call finds it."""
    bench.driver.gate.clear()
    first = stub.Capture(REQUEST)
    await first.read()
    first.cancel()
    bench.driver.gate.set()

    assert (await stub.capture()).request_id == "r-1"
    assert bench.driver.taken == 1


async def test_many_cancelled_calls_leave_no_task(stub, bench):
    """Streams, watches and captures that are cut off leave nothing behind."""
    snapshot = await stub.capture()
    before = len(asyncio.all_tasks())
    for _ in range(60):
        calls = [
            stub.Stream(agents_pb2.StreamRequest(snapshot_id=snapshot.id)),
            stub.Watch(agents_pb2.WatchRequest(target_id="t-1")),
            stub.Capture(REQUEST),
        ]
        for call in calls:
            await call.read()
            call.cancel()
    await asyncio.sleep(0.3)

    assert len(asyncio.all_tasks()) <= before + 2
    assert len(os.listdir("/proc/self/fd")) < 200


@pytest.mark.parametrize("token", ["", "wrong"])
async def test_a_caller_without_the_token_gets_nothing(stub, token):
    """Every call needs the token."""
    for name in ("GetAgent", "ListTargets", "Capture", "Stream", "Watch", "Discard"):
        method = getattr(stub.stub, name)
        message = {
            "GetAgent": agents_pb2.GetAgentRequest(),
            "ListTargets": agents_pb2.AgentServiceListTargetsRequest(),
            "Capture": REQUEST,
            "Stream": agents_pb2.StreamRequest(),
            "Watch": agents_pb2.WatchRequest(),
            "Discard": agents_pb2.DiscardRequest(),
        }[name]
        failure = await refused(method(message, metadata=bearer(token)))
        assert failure.code is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"request_id": ""}, "request_id"),
        ({"request_id": "x" * 129}, "request_id"),
        ({"session_id": "x" * 129}, "session_id"),
        ({"phase": "x" * 65}, "phase"),
        ({"kind": 99}, "kind"),
        ({"way": 99}, "way"),
    ],
)
def test_a_field_of_no_use_is_refused(fields, named):
    """The border says which field is wrong."""
    with pytest.raises(BadRequestError, match=f"cannot use .*{named}"):
        capture_spec(agents_pb2.CaptureRequest(**{"request_id": "r", **fields}))


def test_a_request_is_decoded():
    """Every field of a request means what it says."""
    spec = capture_spec(
        agents_pb2.CaptureRequest(
            request_id="r",
            target_id="t",
            kind=common_pb2.SNAPSHOT_KIND_HEAP,
            way=common_pb2.CAPTURE_WAY_ATTACH,
            force=True,
            session_id="s",
            phase="after",
            max_pause_millis=5,
            timeout_millis=1500,
        )
    )

    assert (spec.way, spec.force, spec.timeout_seconds) == (Way.ATTACH, True, 1.5)
    assert (spec.session_id, spec.phase, spec.max_pause_millis) == ("s", "after", 5)
    default = capture_spec(agents_pb2.CaptureRequest(request_id="r"))
    assert (default.way, default.timeout_seconds) == (None, 1800)


async def test_record_profile_fills_in_the_defaults(stub, bench):
    """A request without options is recorded with the usual ones; stopping ends it."""
    bench.profiler.gate.clear()
    request = agents_pb2.RecordProfileRequest(
        request_id="r-9", target_id="t-1", kind=common_pb2.PROFILE_KIND_TYPES
    )
    call = stub.RecordProfile(request)
    events = []
    async for event in call:
        events.append(event)
        await stub.StopRecording(agents_pb2.StopRecordingRequest(request_id="r-9"))
    assert events[-1].artifact.profile_kind == common_pb2.PROFILE_KIND_TYPES

    spec = record_spec(request)
    assert spec.options.duration_seconds == 0
    assert (spec.options.frames, spec.options.max_size_bytes) == (16, 100 * 1024 * 1024)
    request.kind = common_pb2.PROFILE_KIND_ALLOCATIONS
    assert record_spec(request).options.duration_seconds == 30


@pytest.mark.parametrize(
    "fields",
    [
        {"request_id": ""},
        {"kind": common_pb2.PROFILE_KIND_UNSPECIFIED},
        {"options": profiles_pb2.ProfileOptions(duration_millis=3_600_001)},
        {"options": profiles_pb2.ProfileOptions(frames=129)},
    ],
)
def test_a_useless_recording_request_is_refused(fields):
    """Each with the field that is wrong."""
    usual = {"request_id": "r", "target_id": "t-1", "kind": common_pb2.PROFILE_KIND_TYPES}
    with pytest.raises(BadRequestError):
        record_spec(agents_pb2.RecordProfileRequest(**{**usual, **fields}))


async def test_sources_are_resolved_in_the_target_s_files(stub, bench, tmp_path):
    """A place of a bundle comes back as its original; one without a map comes back empty."""
    app = tmp_path / "app"
    app.mkdir()
    (app / "a.js").write_text("x()\n//# sourceMappingURL=a.js.map\n")
    source_map = {"version": 3, "sources": ["../src/a.ts"], "mappings": "AAIE"}
    (app / "a.js.map").write_text(json.dumps(source_map))
    places = [agents_pb2.SourcePlace(script=f"{app}/{name}", line=1, column=1) for name in "ab"]
    places[0].script += ".js"
    answer = await stub.ResolveSources(
        agents_pb2.ResolveSourcesRequest(target_id="t-1", places=places)
    )

    original = agents_pb2.SourcePlace(script=f"{tmp_path}/src/a.ts", line=5, column=3)
    assert list(answer.originals) == [original, agents_pb2.SourcePlace()]


async def test_too_many_places_are_refused(stub):
    """A request that would read for minutes is refused with the limit."""
    places = [agents_pb2.SourcePlace(script="/a.js", line=1, column=1)] * 1001
    request = agents_pb2.ResolveSourcesRequest(target_id="t-1", places=places)
    failure = await refused(stub.ResolveSources(request))

    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "at most 1000 places" in failure.message
