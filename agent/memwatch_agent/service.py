"""AgentService: decodes a call, asks the part that knows, encodes the answer; nothing else."""

import asyncio
import contextlib
import itertools
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import grpc

from memwatch_agent.attempts import PauseMode
from memwatch_agent.captures import Captures
from memwatch_agent.drivers.base import Way
from memwatch_agent.drivers.errors import DriverError
from memwatch_agent.drivers.profiling import ProfileKind, ProfileOptions
from memwatch_agent.errors import (
    AgentError,
    BadRequestError,
    OffsetOutOfRangeError,
    TargetNotFoundError,
    failure,
)
from memwatch_agent.figures import Figures
from memwatch_agent.recording import KINDS, RecordSpec
from memwatch_agent.recordings import Recordings
from memwatch_agent.sources import MAX_PLACES, originals_of
from memwatch_agent.spool import Spool
from memwatch_agent.taking import CaptureSpec
from memwatch_agent.targets import Roster
from memwatch_proto.chunks import read_chunks
from memwatch_proto.status import to_status
from memwatch_proto.v1 import agents_pb2, agents_pb2_grpc, common_pb2, snapshots_pb2

#: A sample takes up to a few milliseconds of the agent's CPU.
MIN_WATCH_MILLIS = 100
DEFAULT_WATCH_MILLIS = 1_000

DEFAULT_TIMEOUT_MILLIS = 30 * 60 * 1000

#: Chunks that are read at once: handing over to a thread costs about as much as reading one.
READ_CHUNKS = 4

#: A name for a request; see common.proto.
MAX_REQUEST_ID_CHARS = 128
MAX_PHASE_CHARS = 64

#: A recording holds a connection and slows its service down; see ProfileOptions.
MAX_RECORD_SECONDS = 3600
MAX_FRAMES = 128

#: What a hook traces at most; see CaptureRequest.
MAX_TRACE_FRAMES = 64
MAX_TRACE_MILLIS = 26 * 3600 * 1000

#: Where a kind's own is not the usual one: types are looked at once.
DEFAULT_SECONDS = {ProfileKind.TYPES: 0.0}

#: All that V8 notes of a sampled stack.
DEFAULT_FRAMES = {ProfileKind.SAMPLING: MAX_FRAMES}

_WAYS = {
    common_pb2.CAPTURE_WAY_UNSPECIFIED: None,
    common_pb2.CAPTURE_WAY_HOOK: Way.HOOK,
    common_pb2.CAPTURE_WAY_ATTACH: Way.ATTACH,
}
_PROFILE_KINDS = {number: kind for kind, number in KINDS.items()}
_PAUSES = {
    common_pb2.PAUSE_MODE_UNSPECIFIED: PauseMode.AUTO,
    common_pb2.PAUSE_MODE_AUTO: PauseMode.AUTO,
    common_pb2.PAUSE_MODE_NEVER: PauseMode.NEVER,
    common_pb2.PAUSE_MODE_BLOCKING: PauseMode.BLOCKING,
}
_KINDS = (common_pb2.SNAPSHOT_KIND_UNSPECIFIED, common_pb2.SNAPSHOT_KIND_HEAP)

_Context = grpc.aio.ServicerContext[Any, Any]


@contextlib.asynccontextmanager
async def _translated(context: _Context) -> AsyncIterator[None]:
    """Ends the call with the status of an error that the block raises."""
    try:
        yield
    except (AgentError, DriverError) as error:
        await context.abort_with_status(to_status(failure(error)))


class AgentService(agents_pb2_grpc.AgentServiceServicer):
    """The calls of proto/memwatch_proto/v1/agents.proto."""

    def __init__(
        self,
        about: Callable[[], Awaitable[agents_pb2.Agent]],
        roster: Roster,
        figures: Figures,
        captures: Captures,
        recordings: Recordings,
        spool: Spool,
        end: Callable[[], None] | None,
    ) -> None:
        """`about` tells who the agent is now; `end` ends it, None where its life is the pod's."""
        self._end = end
        self._about = about
        self._roster = roster
        self._figures = figures
        self._captures = captures
        self._recordings = recordings
        self._spool = spool

    async def GetAgent(  # noqa: N802
        self, request: agents_pb2.GetAgentRequest, context: _Context
    ) -> agents_pb2.Agent:
        """Who the agent is."""
        return await self._about()

    async def EndAgent(  # noqa: N802
        self, request: agents_pb2.EndAgentRequest, context: _Context
    ) -> agents_pb2.EndAgentResponse:
        """Ends an agent that was started for a while; the answer still goes out."""
        async with _translated(context):
            if self._end is None:
                cause = "this agent is no attached one (--end-after): its life is its pod's"
                raise BadRequestError("EndAgent", cause)
            self._end()
        return agents_pb2.EndAgentResponse()

    async def ListTargets(  # noqa: N802
        self, request: agents_pb2.AgentServiceListTargetsRequest, context: _Context
    ) -> agents_pb2.AgentServiceListTargetsResponse:
        """Every process that the agent sees."""
        async with _translated(context):
            await self._roster.refresh()
            targets = await self._figures.described()
        return agents_pb2.AgentServiceListTargetsResponse(targets=targets)

    async def Watch(  # noqa: N802
        self, request: agents_pb2.WatchRequest, context: _Context
    ) -> AsyncIterator[common_pb2.MemorySample]:
        """Memory samples of one target until the caller goes or the process ends."""
        seconds = max(request.interval_millis or DEFAULT_WATCH_MILLIS, MIN_WATCH_MILLIS) / 1000
        async with _translated(context):
            target = await self._roster.find(request.target_id)
            while True:
                sample = await self._figures.sample(target)
                if sample is None:
                    raise TargetNotFoundError(request.target_id)
                yield sample
                await asyncio.sleep(seconds)

    async def Capture(  # noqa: N802
        self, request: agents_pb2.CaptureRequest, context: _Context
    ) -> AsyncIterator[agents_pb2.CaptureEvent]:
        """Takes a snapshot, or joins the call that takes it."""
        async with _translated(context):
            events = self._captures.capture(capture_spec(request))
            async with contextlib.aclosing(events):
                async for event in events:
                    yield event

    async def RecordProfile(  # noqa: N802
        self, request: agents_pb2.RecordProfileRequest, context: _Context
    ) -> AsyncIterator[agents_pb2.RecordProfileEvent]:
        """Records a profile, or joins the call that records it."""
        async with _translated(context):
            events = self._recordings.record(record_spec(request))
            async with contextlib.aclosing(events):
                async for event in events:
                    yield event

    async def StopRecording(  # noqa: N802
        self, request: agents_pb2.StopRecordingRequest, context: _Context
    ) -> agents_pb2.StopRecordingResponse:
        """Ends a recording before its time."""
        self._recordings.stop(request.request_id)
        return agents_pb2.StopRecordingResponse()

    async def Stream(  # noqa: N802
        self, request: agents_pb2.StreamRequest, context: _Context
    ) -> AsyncIterator[snapshots_pb2.Chunk]:
        """The stored bytes of a snapshot."""
        async with _translated(context):
            file, snapshot = await asyncio.to_thread(self._spool.open, request.snapshot_id)
            with file:
                size, offset = snapshot.stored_size_bytes, request.offset_bytes
                if offset > size:
                    raise OffsetOutOfRangeError(snapshot.id, offset, size)
                chunks = read_chunks(file, offset, size, snapshot.stored_sha256)
                while some := await asyncio.to_thread(_some, chunks):
                    for chunk in some:
                        yield chunk

    async def Discard(  # noqa: N802
        self, request: agents_pb2.DiscardRequest, context: _Context
    ) -> agents_pb2.DiscardResponse:
        """Frees a snapshot's place in the spool."""
        async with _translated(context):
            await asyncio.to_thread(self._spool.discard, request.snapshot_id)
        return agents_pb2.DiscardResponse()

    async def ResolveSources(  # noqa: N802
        self, request: agents_pb2.ResolveSourcesRequest, context: _Context
    ) -> agents_pb2.ResolveSourcesResponse:
        """Where places of compiled scripts are in the original files."""
        async with _translated(context):
            if len(request.places) > MAX_PLACES:
                cause = f"at most {MAX_PLACES} places are looked up at once; ask for less"
                raise BadRequestError("places", cause)
            target = await self._roster.find(request.target_id)
            originals = await originals_of(target.found.root, request.places)
        return agents_pb2.ResolveSourcesResponse(originals=originals)


def _some(chunks: Iterator[snapshots_pb2.Chunk]) -> list[snapshots_pb2.Chunk]:
    """The next chunks; empty at the end."""
    return list(itertools.islice(chunks, READ_CHUNKS))


def capture_spec(request: agents_pb2.CaptureRequest) -> CaptureSpec:
    """What a request asks for.

    Raises:
        BadRequestError: a field is of no use.
    """
    _check_request_id(request.request_id)
    if len(request.session_id) > MAX_REQUEST_ID_CHARS or len(request.phase) > MAX_PHASE_CHARS:
        raise BadRequestError("session_id and phase", "they are too long; send memwatch's own")
    if request.kind not in _KINDS:
        raise BadRequestError("kind", f"this agent cannot take kind {request.kind}; ask for HEAP")
    if request.way not in _WAYS:
        raise BadRequestError("way", f"this agent knows no way {request.way}; leave it out")
    if request.trace_frames > MAX_TRACE_FRAMES or request.trace_millis > MAX_TRACE_MILLIS:
        cause = f"at most {MAX_TRACE_FRAMES} frames and {MAX_TRACE_MILLIS} ms are traced"
        raise BadRequestError("trace_frames", f"{cause}; ask for less")
    if request.pause not in _PAUSES:
        raise BadRequestError("pause", f"this agent knows no mode {request.pause}; leave it out")
    return CaptureSpec(
        request_id=request.request_id,
        target_id=request.target_id,
        way=_WAYS[request.way],
        force=request.force,
        session_id=request.session_id,
        phase=request.phase,
        max_pause_millis=request.max_pause_millis,
        pause=_PAUSES[request.pause],
        timeout_seconds=(request.timeout_millis or DEFAULT_TIMEOUT_MILLIS) / 1000,
        trace_frames=request.trace_frames,
        trace_seconds=math.ceil(request.trace_millis / 1000),
    )


def record_spec(request: agents_pb2.RecordProfileRequest) -> RecordSpec:
    """What a request asks for, with the defaults filled in.

    Raises:
        BadRequestError: a field is of no use.
    """
    _check_request_id(request.request_id)
    kind = _PROFILE_KINDS.get(request.kind)
    if kind is None:
        raise BadRequestError("kind", f"this agent records no kind {request.kind}; see GetAgent")
    given, usual = request.options, ProfileOptions()
    duration = given.duration_millis / 1000
    if duration > MAX_RECORD_SECONDS or given.frames > MAX_FRAMES:
        cause = f"at most {MAX_RECORD_SECONDS} s and {MAX_FRAMES} frames are recorded; ask for less"
        raise BadRequestError("options", cause)
    return RecordSpec(
        request_id=request.request_id,
        target_id=request.target_id,
        kind=kind,
        options=ProfileOptions(
            duration_seconds=duration or DEFAULT_SECONDS.get(kind, usual.duration_seconds),
            max_size_bytes=given.max_size_bytes or usual.max_size_bytes,
            frames=given.frames or DEFAULT_FRAMES.get(kind, usual.frames),
            native_traces=given.native_traces,
            python_allocator=given.python_allocator,
            aggregate=given.aggregate,
            sampling_interval_bytes=given.sampling_interval_bytes or usual.sampling_interval_bytes,
            collect_garbage=given.collect_garbage,
            force=request.force,
        ),
        join_only=request.join_only,
    )


def _check_request_id(request_id: str) -> None:
    if not 0 < len(request_id) <= MAX_REQUEST_ID_CHARS:
        raise BadRequestError(
            "request_id", f"it must have 1 to {MAX_REQUEST_ID_CHARS} characters; a UUID is usual"
        )
