"""The agent's stream to the controller: register, then a heartbeat at the controller's interval.

The stream is made again for as long as the agent lives, after a back-off that grows and is
spread at random so that a fleet does not come back in one instant.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
import structlog

from memwatch_proto.status import from_rpc_error
from memwatch_proto.v1 import (
    agents_pb2,
    findings_pb2,
    registry_pb2,
    registry_pb2_grpc,
    snapshots_pb2,
    targets_pb2,
)

FIRST_BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 30.0

#: A refused token does not get better by asking often.
REFUSED_BACKOFF_SECONDS = 60.0

#: The controller answers every message; one that is silent for so long is not there.
ANSWER_SECONDS = 20.0

#: Bounds on what a controller may ask for.
MIN_INTERVAL_SECONDS, MAX_INTERVAL_SECONDS = 0.2, 300.0

_REFUSED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)

_log = structlog.get_logger(__name__)


class Silent(Exception):  # noqa: N818
    """The controller did not answer in time."""

    def __str__(self) -> str:
        return f"the controller did not answer within {ANSWER_SECONDS:g} s"


class Backoff:
    """How long to wait before the next try."""

    def __init__(self, random: Callable[[], float]) -> None:
        """`random` returns a number from 0 up to 1."""
        self._random = random
        self._next = FIRST_BACKOFF_SECONDS

    def reset(self) -> None:
        """The last try went well."""
        self._next = FIRST_BACKOFF_SECONDS

    def seconds(self, refused: bool) -> float:
        """Between half of the back-off and all of it; the back-off then doubles."""
        base = REFUSED_BACKOFF_SECONDS if refused else self._next
        self._next = min(self._next * 2, MAX_BACKOFF_SECONDS)
        return base * (1 + self._random()) / 2


class Link:
    """Keeps the agent registered with one controller."""

    def __init__(
        self,
        channel: Callable[[], grpc.aio.Channel],
        metadata: Sequence[tuple[str, str]],
        about: Callable[[], Awaitable[agents_pb2.Agent]],
        targets: Callable[[], Awaitable[Sequence[targets_pb2.Target]]],
        backoff: Backoff,
        recorded: Callable[[], Sequence[snapshots_pb2.Snapshot]] = tuple,
        findings: Callable[[], Sequence[findings_pb2.Finding]] = tuple,
    ) -> None:
        """Where to register, and what to say.

        Args:
            channel: opens a new channel to the controller.
            metadata: the call's metadata, such as the token.
            about: tells who the agent is now.
            targets: looks for targets and samples them.
            backoff: how long to wait between tries.
            recorded: the profiles that services recorded by themselves.
            findings: what the detector sees now.
        """
        self._channel = channel
        self._metadata = tuple(metadata)
        self._about = about
        self._targets = targets
        self._backoff = backoff
        self._recorded = recorded
        self._findings = findings
        self.connected = False
        self.connects = 0

    async def run(self) -> None:
        """Stays registered until cancelled."""
        while True:
            refused = False
            try:
                await self._connect()
            except grpc.aio.AioRpcError as error:
                failure = from_rpc_error(error)
                refused = failure.code in _REFUSED
                _log.warning("link lost", code=failure.code.name, cause=failure.message)
            except (Silent, OSError) as error:
                _log.warning("link lost", cause=str(error))
            except Exception:  # noqa: BLE001 the outermost loop of this task: it must go on
                _log.exception("link broke")
            finally:
                self.connected = False
            await asyncio.sleep(self._backoff.seconds(refused))

    async def _connect(self) -> None:
        """One stream, until it ends or breaks."""
        async with self._channel() as channel:
            stub = registry_pb2_grpc.RegistryServiceStub(channel)
            call = stub.Connect(metadata=self._metadata)
            try:
                await self._talk(call)
            finally:
                call.cancel()

    async def _talk(self, call: Any) -> None:
        agent, targets = await self._about(), await self._targets()
        register = registry_pb2.Register(agent=agent, targets=targets)
        answer = await _exchange(call, registry_pb2.ConnectRequest(register=register))
        if not answer.HasField("registered"):
            raise Silent
        self.connected = True
        self.connects += 1
        self._backoff.reset()
        _log.info("registered", controller_version=answer.registered.controller_version)
        seconds = answer.registered.heartbeat_interval_millis / 1000
        seconds = min(max(seconds, MIN_INTERVAL_SECONDS), MAX_INTERVAL_SECONDS)
        while True:
            await asyncio.sleep(seconds)
            targets = await self._targets()
            heartbeat = registry_pb2.Heartbeat(
                targets=targets, recorded=self._recorded(), findings=self._findings()
            )
            await _exchange(call, registry_pb2.ConnectRequest(heartbeat=heartbeat))


async def _exchange(
    call: Any, request: registry_pb2.ConnectRequest
) -> registry_pb2.ConnectResponse:
    """Says one thing and waits for the answer.

    Raises:
        Silent: no answer came.
        grpc.aio.AioRpcError: the call has failed.
    """
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            with contextlib.suppress(asyncio.InvalidStateError):  # the call is over: read says why
                await call.write(request)
            answer = await call.read()
    except TimeoutError as error:
        raise Silent from error
    if answer is grpc.aio.EOF:
        raise Silent
    assert isinstance(answer, registry_pb2.ConnectResponse)
    return answer
