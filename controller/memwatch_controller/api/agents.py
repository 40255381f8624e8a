"""Calls agents: the controller's end of AgentService, one long-lived channel for each address."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import grpc

from memwatch_controller import model
from memwatch_controller.api import convert_profiles
from memwatch_controller.api import convert_snapshots as convert
from memwatch_controller.errors import AgentError
from memwatch_controller.profile import Artifact, Recording, RecordOrder
from memwatch_controller.snapshots.ports import Piece
from memwatch_proto import status
from memwatch_proto.auth import bearer
from memwatch_proto.chunks import CHUNK_BYTES, ChunkError, checked_data
from memwatch_proto.keepalive import CHANNEL_OPTIONS
from memwatch_proto.v1 import agents_pb2, agents_pb2_grpc

#: A chunk and its frame; a larger message is refused before it is read.
_MAX_MESSAGE_BYTES = CHUNK_BYTES + 64 * 1024

#: Calls of one answer; an agent answers them from memory.
_CALL_SECONDS = 15.0

#: A source map of 64 MB takes about 5 s to read.
_SOURCES_SECONDS = 40.0

#: A stream that is silent for so long counts as cut: its sender reads a local file.
_SILENCE_SECONDS = 60.0

_OPTIONS: Sequence[tuple[str, int]] = (
    *CHANNEL_OPTIONS,
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    # Our own retries wait; a channel must not wait much longer than they do.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Two channels of one address must not share a broken connection.
    ("grpc.use_local_subchannel_pool", 1),
)

#: What a cut way looks like; anything else is the agent's own word.
_TRANSIENT = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.ABORTED,
}


class AgentChannels:
    """Agents by address. Belongs to the loop it is used in; close it at the end.

    Args:
        token: the bearer token that agents share with us; "" where they need none.
        credentials: TLS; None for plain connections. Unix sockets are always plain.
    """

    def __init__(self, token: str, credentials: grpc.ChannelCredentials | None = None) -> None:
        self._metadata = bearer(token)
        self._credentials = credentials
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def close(self) -> None:
        """Closes every channel."""
        channels, self._channels = list(self._channels.values()), {}
        await asyncio.gather(*(channel.close() for channel in channels))

    async def forget(self, address: str) -> None:
        """Closes the channel of an address that no agent has any more."""
        channel = self._channels.pop(address, None)
        if channel is not None:
            await channel.close()

    async def capture(
        self, address: str, order: model.CaptureOrder
    ) -> AsyncGenerator[model.CaptureProgress | model.Snapshot]:
        """Events of a capture; the last is the snapshot, not yet checked.

        Raises:
            AgentError: the agent's own answer, or `transient` where the way was cut.
        """
        call = self._stub(address).Capture(convert.order_to_pb(order), metadata=self._metadata)
        try:
            async for event in call:
                if event.HasField("snapshot"):
                    yield convert.snapshot_from_pb(event.snapshot)
                    return
                yield convert.progress_from_pb(event.progress)
        except grpc.RpcError as error:
            raise agent_error(address, error) from error
        finally:
            call.cancel()

    async def record(
        self, address: str, order: RecordOrder
    ) -> AsyncGenerator[Recording | Artifact]:
        """Events of a recording; the last is the artifact, not yet checked.

        Raises:
            AgentError: the agent's own answer, or `transient` where the way was cut.
        """
        request = convert_profiles.order_to_pb(order)
        call = self._stub(address).RecordProfile(request, metadata=self._metadata)
        try:
            async for event in call:
                if event.HasField("artifact"):
                    yield convert_profiles.artifact_from_pb(event.artifact)
                    return
                yield convert_profiles.recording_from_pb(event.progress)
        except grpc.RpcError as error:
            raise agent_error(address, error) from error
        finally:
            call.cancel()

    async def stop_recording(self, address: str, request_id: str) -> None:
        """Ends a recording before its time.

        Raises:
            AgentError: the agent does not answer.
        """
        request = agents_pb2.StopRecordingRequest(request_id=request_id)
        try:
            await self._stub(address).StopRecording(
                request, metadata=self._metadata, timeout=_CALL_SECONDS
            )
        except grpc.RpcError as error:
            raise agent_error(address, error) from error

    async def stream(self, address: str, snapshot_id: str, offset: int) -> AsyncGenerator[Piece]:
        """The stored bytes of a spooled snapshot from `offset` on, each piece checked.

        Raises:
            AgentError: the agent's own answer; `transient` where the way was cut, was
                silent, or a checksum was wrong.
        """
        request = agents_pb2.StreamRequest(snapshot_id=snapshot_id, offset_bytes=offset)
        call = self._stub(address).Stream(request, metadata=self._metadata)
        try:
            while True:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    chunk = await call.read()
                if chunk is grpc.aio.EOF:
                    return
                data = checked_data(chunk, offset)
                offset += len(data)
                yield Piece(offset - len(data), data, bool(chunk.sha256))
        except grpc.RpcError as error:
            raise agent_error(address, error) from error
        except (TimeoutError, ChunkError) as error:
            raise _cut(address, str(error) or f"silent for {_SILENCE_SECONDS:.0f} s") from error
        finally:
            call.cancel()

    async def spooled(self, address: str) -> list[model.Snapshot]:
        """The finished snapshots that an agent holds.

        Raises:
            AgentError: it does not answer.
        """
        try:
            agent = await self._stub(address).GetAgent(
                agents_pb2.GetAgentRequest(), metadata=self._metadata, timeout=_CALL_SECONDS
            )
        except grpc.RpcError as error:
            raise agent_error(address, error) from error
        return [convert.snapshot_from_pb(snapshot) for snapshot in agent.spooled]

    async def resolve_sources(
        self, address: str, target_id: str, places: Sequence[model.SourcePlace]
    ) -> list[model.SourcePlace | None]:
        """The originals of places in a target's scripts; None where no source map tells one.

        Raises:
            AgentError: it does not answer, or knows no such target.
        """
        request = agents_pb2.ResolveSourcesRequest(
            target_id=target_id,
            places=[
                agents_pb2.SourcePlace(script=p.script, line=p.line, column=p.column)
                for p in places
            ],
        )
        try:
            answer = await self._stub(address).ResolveSources(
                request, metadata=self._metadata, timeout=_SOURCES_SECONDS
            )
        except grpc.RpcError as error:
            raise agent_error(address, error) from error
        return [
            model.SourcePlace(p.script, p.line, p.column) if p.script else None
            for p in answer.originals
        ]

    async def discard(self, address: str, snapshot_id: str) -> None:
        """Lets an agent drop a snapshot.

        Raises:
            AgentError: it does not answer, or says no.
        """
        request = agents_pb2.DiscardRequest(snapshot_id=snapshot_id)
        try:
            await self._stub(address).Discard(
                request, metadata=self._metadata, timeout=_CALL_SECONDS
            )
        except grpc.RpcError as error:
            raise agent_error(address, error) from error

    async def end(self, address: str) -> None:
        """Ends an agent that was attached to a running pod.

        Raises:
            AgentError: it does not answer, or is a sidecar.
        """
        try:
            await self._stub(address).EndAgent(
                agents_pb2.EndAgentRequest(), metadata=self._metadata, timeout=_CALL_SECONDS
            )
        except grpc.RpcError as error:
            raise agent_error(address, error) from error

    def _stub(self, address: str) -> Any:
        channel = self._channels.get(address)
        if channel is None:
            channel = self._open(address)
            self._channels[address] = channel
        return agents_pb2_grpc.AgentServiceStub(channel)

    def _open(self, address: str) -> grpc.aio.Channel:
        if self._credentials is None or address.startswith("unix:"):
            return grpc.aio.insecure_channel(address, options=_OPTIONS)
        return grpc.aio.secure_channel(address, self._credentials, options=_OPTIONS)


def agent_error(address: str, error: grpc.RpcError) -> AgentError:
    """What a failed call to an agent means here."""
    failure = status.from_rpc_error(error)
    own_words = failure.message.startswith("cannot ")
    if failure.code in _TRANSIENT and not own_words:
        return _cut(address, failure.message)
    return AgentError(
        failure.reason,
        failure.code.name,
        failure.message if own_words else f"cannot use the agent at '{address}': {failure.message}",
        transient=failure.code in _TRANSIENT - {grpc.StatusCode.ABORTED},
        retry_after_seconds=failure.retry_after_seconds,
        metadata=failure.metadata,
    )


def _cut(address: str, why: str) -> AgentError:
    return AgentError(
        status.Reason.TARGET_UNREACHABLE,
        grpc.StatusCode.UNAVAILABLE.name,
        f"cannot reach the agent at '{address}': {why}; check that it runs and that its "
        "--advertise address can be reached from the controller",
        transient=True,
        metadata={"address": address},
    )
