"""RegistryService over gRPC: one stream for each agent."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any

import structlog

from memwatch_controller import model
from memwatch_controller.api import convert
from memwatch_controller.api.convert_findings import finding_from_pb
from memwatch_controller.api.convert_profiles import artifacts_from_pb
from memwatch_controller.api.convert_snapshots import snapshot_from_pb
from memwatch_controller.api.status import streaming
from memwatch_controller.errors import ControllerError, InvalidArgumentError, ReplacedError
from memwatch_controller.finding import Finding
from memwatch_controller.profile import Artifact
from memwatch_controller.registry import Link, Registry
from memwatch_proto import __version__
from memwatch_proto.v1 import common_pb2, registry_pb2, registry_pb2_grpc, snapshots_pb2

#: An agent that opens a stream says who it is at once.
_FIRST_MESSAGE_SECONDS = 30.0

#: Told what a registering agent holds in its spool, and where to dial it.
OnSpooled = Callable[[str, Sequence[model.Snapshot]], Awaitable[None]]

#: Told the profiles that an agent holds: its id, where to dial it, and what they are.
OnRecorded = Callable[[str, str, Sequence[Artifact]], Awaitable[None]]

#: Told all that an agent's detector sees now.
OnFindings = Callable[[str, Sequence[Finding]], None]

_log = structlog.get_logger()


class RegistryServicer(registry_pb2_grpc.RegistryServiceServicer):
    """Answers RegistryService; registry.proto says what it promises."""

    def __init__(
        self,
        registry: Registry,
        on_spooled: OnSpooled,
        on_recorded: OnRecorded,
        on_findings: OnFindings,
    ) -> None:
        self._registry = registry
        self._on_findings = on_findings
        self._on_spooled = on_spooled
        self._on_recorded = on_recorded
        self._tasks: set[asyncio.Task[None]] = set()

    @streaming
    async def Connect(  # noqa: N802
        self, requests: AsyncIterator[registry_pb2.ConnectRequest], _context: Any
    ) -> AsyncIterator[registry_pb2.ConnectResponse]:
        """One agent's stream: registered, then acknowledged, until it ends or is replaced."""
        register = await _first(requests)
        link = self._register(register)
        try:
            yield registry_pb2.ConnectResponse(
                registered=registry_pb2.Registered(
                    heartbeat_interval_millis=self._registry.heartbeat_millis,
                    controller_version=__version__,
                )
            )
            async for heartbeat in _until_replaced(requests, link):
                targets = [convert.target_from_pb(target) for target in heartbeat.targets]
                self._registry.heartbeat(link, targets)
                found = [finding_from_pb(finding) for finding in heartbeat.findings]
                self._on_findings(link.agent_id, [one for one in found if one])
                if heartbeat.recorded:
                    agent = convert.agent_from_pb(register.agent)
                    self._in_background(self._tell_spooled(agent, heartbeat.recorded))
                yield registry_pb2.ConnectResponse(ack=registry_pb2.HeartbeatAck())
        finally:
            self._registry.disconnect(link)

    def _register(self, register: registry_pb2.Register) -> Link:
        agent = convert.agent_from_pb(register.agent)
        targets = [convert.target_from_pb(target) for target in register.targets]
        link = self._registry.register(agent, targets)
        if register.agent.spooled:
            self._in_background(self._tell_spooled(agent, register.agent.spooled))
        return link

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell_spooled(
        self, agent: model.Agent, spooled: Sequence[snapshots_pb2.Snapshot]
    ) -> None:
        heaps = [one for one in spooled if one.kind != common_pb2.SNAPSHOT_KIND_PROFILE]
        try:
            await self._on_spooled(agent.address, [snapshot_from_pb(heap) for heap in heaps])
            await self._on_recorded(agent.id, agent.address, artifacts_from_pb(spooled))
        except ControllerError as error:
            _log.warning("an agent's spool could not be looked after", cause=str(error))


async def _first(
    requests: AsyncIterator[registry_pb2.ConnectRequest],
) -> registry_pb2.Register:
    """The first message, which must say who the agent is.

    Raises:
        InvalidArgumentError: it does not come, or says something else.
    """
    doing = "register an agent"
    try:
        async with asyncio.timeout(_FIRST_MESSAGE_SECONDS):
            first = await anext(requests)
    except (StopAsyncIteration, TimeoutError) as error:
        raise InvalidArgumentError(doing, "no message came; send 'register' first") from error
    if not first.HasField("register"):
        raise InvalidArgumentError(doing, "the first message is not 'register'; send that first")
    return first.register


async def _until_replaced(
    requests: AsyncIterator[registry_pb2.ConnectRequest], link: Link
) -> AsyncIterator[registry_pb2.Heartbeat]:
    """The heartbeats of a stream.

    Raises:
        ReplacedError: the agent has a newer stream, or was silent for too long.
        InvalidArgumentError: a message is no heartbeat.
    """
    task = asyncio.current_task()
    assert task is not None
    # Cancelling the read costs nothing until it happens; waiting for two things at each
    # message was measured to cost as much as the rest of a heartbeat.
    link.on_replaced = task.cancel
    if link.replaced:
        raise ReplacedError(link.agent_id)
    try:
        async for message in requests:
            if not message.HasField("heartbeat"):
                cause = "a later message is not 'heartbeat'; register once for each stream"
                raise InvalidArgumentError("take in what an agent says", cause)
            yield message.heartbeat
    except asyncio.CancelledError:
        if not link.replaced:
            raise
        task.uncancel()
        raise ReplacedError(link.agent_id) from None
    finally:
        link.on_replaced = lambda: None
