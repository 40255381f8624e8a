"""Talks gRPC to an agent, as the command line's private mode does."""

import uuid
from collections.abc import Callable, Iterator

import grpc

from memwatch_proto.auth import bearer
from memwatch_proto.v1 import agents_pb2, agents_pb2_grpc, snapshots_pb2, targets_pb2
from memwatchctl.client import DEADLINE_SECONDS, open_channel, token_of, translated
from memwatchctl.contexts import Connection
from memwatchctl.errors import CallError


class Agent:
    """The calls of an agent that the command line makes."""

    def __init__(self, connection: Connection) -> None:
        self._address = connection.controller
        self._metadata = bearer(token_of(connection))
        self._channel = open_channel(connection)
        self._stub = agents_pb2_grpc.AgentServiceStub(self._channel)

    def __enter__(self) -> "Agent":
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def targets(self) -> list[targets_pb2.Target]:
        """Every process that it sees."""
        request = agents_pb2.AgentServiceListTargetsRequest()
        try:
            answer = self._stub.ListTargets(
                request, timeout=DEADLINE_SECONDS, metadata=self._metadata
            )
        except grpc.RpcError as error:
            raise translated(error, self._address) from error
        return list(answer.targets)

    def capture(
        self,
        request: agents_pb2.CaptureRequest,
        on_progress: Callable[[agents_pb2.CaptureProgress], None],
    ) -> snapshots_pb2.Snapshot:
        """Takes a snapshot into the agent's spool.

        Raises:
            CallError: the agent refused, or the capture failed.
        """
        request.request_id = request.request_id or str(uuid.uuid4())
        try:
            for event in self._stub.Capture(request, metadata=self._metadata):
                if event.HasField("snapshot"):
                    return event.snapshot
                on_progress(event.progress)
        except grpc.RpcError as error:
            raise translated(error, self._address) from error
        raise CallError("INTERNAL", "cannot take snapshot: the agent ended without one")

    def stream(self, snapshot_id: str, offset: int) -> Iterator[snapshots_pb2.Chunk]:
        """The stored bytes of a snapshot from an offset."""
        request = agents_pb2.StreamRequest(snapshot_id=snapshot_id, offset_bytes=offset)
        try:
            yield from self._stub.Stream(request, metadata=self._metadata)
        except grpc.RpcError as error:
            raise translated(error, self._address) from error
