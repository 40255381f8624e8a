"""An agent without processes: serves AgentService over real gRPC, and lies on demand."""

import asyncio
import contextlib
import hashlib
import io
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field

import grpc
import zstandard

from memwatch_proto.auth import TokenInterceptor
from memwatch_proto.chunks import read_chunks
from memwatch_proto.keepalive import SERVER_OPTIONS
from memwatch_proto.status import Failure, Reason, to_status
from memwatch_proto.v1 import agents_pb2, agents_pb2_grpc, common_pb2, snapshots_pb2

Chunks = Callable[[snapshots_pb2.Snapshot, bytes, int], Iterable[snapshots_pb2.Chunk]]


def honest_chunks(
    snapshot: snapshots_pb2.Snapshot, stored: bytes, offset: int
) -> Iterable[snapshots_pb2.Chunk]:
    """The chunks that a real agent sends."""
    return read_chunks(io.BytesIO(stored), offset, len(stored), snapshot.stored_sha256)


@dataclass
class FakeAgent(agents_pb2_grpc.AgentServiceServicer):
    """What it was told to serve, and what it was asked.

    Attributes:
        raw: the heap of its only target, or bytes for each request id.
        chunks: how it answers `Stream`; replaced by tests that lie.
        announce: changes a snapshot's metadata before it is sent.
        failure: what `Capture` answers instead.
        hold: keeps captures from finishing until it is set.
        captures: request ids for which a snapshot was really taken.
        abandoned: requests whose call was cancelled while it was held.
        calls: names of the calls.
        stops: request ids of recordings that were asked to end.
        freed: set when something was discarded.
        forgets: whether it knows nothing of recordings it is asked to join.
        originals: what source maps tell, by script and line.
    """

    raw: bytes | Callable[[str], bytes] = b'{"snapshot":{}}'
    chunks: Chunks = honest_chunks
    announce: Callable[[snapshots_pb2.Snapshot], None] = lambda snapshot: None
    failure: Failure | None = None
    hold: asyncio.Event | None = None
    captures: list[str] = field(default_factory=list)
    abandoned: list[agents_pb2.CaptureRequest] = field(default_factory=list)
    discarded: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    stops: list[str] = field(default_factory=list)
    forgets: bool = False
    freed: asyncio.Event = field(default_factory=asyncio.Event)
    originals: dict[tuple[str, int], agents_pb2.SourcePlace] = field(default_factory=dict)
    spool: dict[str, tuple[snapshots_pb2.Snapshot, bytes]] = field(default_factory=dict)

    async def GetAgent(self, request, context):  # noqa: N802
        """Who it is, and what it holds."""
        return agents_pb2.Agent(
            id="a-fake", version="0", spooled=[snapshot for snapshot, _ in self.spool.values()]
        )

    async def Capture(self, request, context) -> AsyncIterator[agents_pb2.CaptureEvent]:  # noqa: N802
        """Takes the snapshot once for each request id."""
        self.calls.append("Capture")
        yield agents_pb2.CaptureEvent(
            progress=agents_pb2.CaptureProgress(stage=agents_pb2.CAPTURE_STAGE_CAPTURING)
        )
        if self.hold is not None:
            try:
                await self.hold.wait()
            except asyncio.CancelledError:
                self.abandoned.append(request)
                raise
        if self.failure is not None:
            await context.abort_with_status(to_status(self.failure))
        yield agents_pb2.CaptureEvent(snapshot=self.take(request))

    async def RecordProfile(  # noqa: N802
        self, request: agents_pb2.RecordProfileRequest, context
    ) -> AsyncIterator[agents_pb2.RecordProfileEvent]:
        """Records once for each request id, until `hold` is set or the recording is stopped."""
        self.calls.append("RecordProfile+" if request.join_only else "RecordProfile")
        if self.failure is not None:
            await context.abort_with_status(to_status(self.failure))
        if request.join_only and self.forgets:
            failure = Failure(
                grpc.StatusCode.NOT_FOUND, Reason.PROFILE_LOST, "cannot join recording: unknown"
            )
            await context.abort_with_status(to_status(failure))
        progress = agents_pb2.RecordingProgress(stage=agents_pb2.RECORDING_STAGE_RECORDING)
        progress.start_time.GetCurrentTime()
        yield agents_pb2.RecordProfileEvent(progress=progress)
        while self.hold is not None and not self.hold.is_set():
            if request.request_id in self.stops:
                break
            await asyncio.sleep(0.01)
        yield agents_pb2.RecordProfileEvent(artifact=self.record(request))

    async def StopRecording(  # noqa: N802
        self, request: agents_pb2.StopRecordingRequest, context
    ) -> agents_pb2.StopRecordingResponse:
        """Ends a recording."""
        self.stops.append(request.request_id)
        return agents_pb2.StopRecordingResponse()

    async def ResolveSources(  # noqa: N802
        self, request: agents_pb2.ResolveSourcesRequest, context
    ) -> agents_pb2.ResolveSourcesResponse:
        """The originals that a test told, by script and line."""
        self.calls.append("ResolveSources")
        found = [self.originals.get((place.script, place.line)) for place in request.places]
        originals = [place or agents_pb2.SourcePlace() for place in found]
        return agents_pb2.ResolveSourcesResponse(originals=originals)

    async def Stream(self, request, context) -> AsyncIterator[snapshots_pb2.Chunk]:  # noqa: N802
        """The bytes from an offset."""
        self.calls.append(f"Stream@{request.offset_bytes}")
        found = next((s for s in self.spool.values() if s[0].id == request.snapshot_id), None)
        if found is None:
            failure = Failure(
                grpc.StatusCode.NOT_FOUND, Reason.NOT_FOUND, "cannot stream: no such snapshot"
            )
            await context.abort_with_status(to_status(failure))
            return
        for chunk in self.chunks(*found, request.offset_bytes):
            yield chunk

    async def EndAgent(self, request, context):  # noqa: N802
        self.calls.append("EndAgent")
        return agents_pb2.EndAgentResponse()

    async def ListTargets(self, request, context):  # noqa: N802
        """None."""
        return agents_pb2.AgentServiceListTargetsResponse()

    async def Watch(self, request, context):  # noqa: N802
        """Nothing."""
        return
        yield

    async def Discard(self, request, context) -> agents_pb2.DiscardResponse:  # noqa: N802
        """Forgets a snapshot."""
        self.discarded.append(request.snapshot_id)
        self.spool = {k: v for k, v in self.spool.items() if v[0].id != request.snapshot_id}
        self.freed.set()
        return agents_pb2.DiscardResponse()

    def record(self, request: agents_pb2.RecordProfileRequest) -> snapshots_pb2.Snapshot:
        """The artifact of a request, recorded now or earlier."""
        capture = agents_pb2.CaptureRequest(
            request_id=request.request_id, target_id=request.target_id
        )
        artifact = self.take(capture)
        artifact.kind = common_pb2.SNAPSHOT_KIND_PROFILE
        artifact.profile_kind = request.kind
        artifact.content_type = "application/json"
        artifact.file_name = "profile_pid1_0_types_1970-01-01T00-00-00-000Z.json"
        artifact.end_time.GetCurrentTime()
        return artifact

    def take(self, request: agents_pb2.CaptureRequest) -> snapshots_pb2.Snapshot:
        """The snapshot of a request, taken now or earlier."""
        if request.request_id not in self.spool:
            self.captures.append(request.request_id)
            raw = self.raw if isinstance(self.raw, bytes) else self.raw(request.request_id)
            stored = zstandard.ZstdCompressor(level=1).compress(raw)
            snapshot = snapshots_pb2.Snapshot(
                id=f"n-{hashlib.sha256(request.request_id.encode() + raw).hexdigest()[:16]}",
                request_id=request.request_id,
                target_id=request.target_id,
                session_id=request.session_id,
                phase=request.phase,
                raw_size_bytes=len(raw),
                raw_sha256=hashlib.sha256(raw).hexdigest(),
                stored_size_bytes=len(stored),
                stored_sha256=hashlib.sha256(stored).hexdigest(),
                file_name="session_pid1_0_before_1970-01-01T00-00-00-000Z.heapsnapshot",
            )
            snapshot.capture_time.GetCurrentTime()
            self.announce(snapshot)
            self.spool[request.request_id] = (snapshot, stored)
        return self.spool[request.request_id][0]


@contextlib.asynccontextmanager
async def serving(
    agent: FakeAgent, address: str = "127.0.0.1:0", token: str = ""
) -> AsyncIterator[int]:
    """Serves the agent for the length of the block; its port (0 on a Unix socket)."""
    guards = [TokenInterceptor(token)] if token else []
    server = grpc.aio.server(options=SERVER_OPTIONS, interceptors=guards)
    agents_pb2_grpc.add_AgentServiceServicer_to_server(agent, server)
    port = server.add_insecure_port(address)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)
