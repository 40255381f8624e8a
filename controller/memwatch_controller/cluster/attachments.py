"""Puts agents into running pods, waits for them, and has them end."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from memwatch_controller.cluster import attaching, resources
from memwatch_controller.cluster.attaching import Attaching, CannotAttachError, Wish
from memwatch_controller.cluster.client import Client
from memwatch_controller.cluster.errors import ClusterError, NoClusterError
from memwatch_controller.cluster.pods import Pod
from memwatch_controller.errors import ControllerError, InvalidArgumentError, NotFoundError
from memwatch_controller.model import Agent, Millis, Selector, Target

DEFAULT_WAIT_MILLIS = 120_000
MAX_WAIT_MILLIS = 600_000

#: How often it is looked whether the agent has registered.
POLL_SECONDS = 0.5

#: How often the pod is asked meanwhile why it has not.
_POD_POLLS = 4

#: An agent that has registered sees its processes within this; a young one is listed from 2 s on.
_SETTLE_SECONDS = 6.0

_log = structlog.get_logger()


class Agents(Protocol):
    """The agents that are there; the registry is one."""

    def connected(self) -> list[Agent]:
        """The agents that have a stream."""

    def find(self, selector: Selector, *, include_absent: bool) -> list[Target]:
        """The targets that match."""

    def agent_address(self, agent_id: str) -> str:
        """Where to dial an agent; empty where it is not known."""


@dataclass(frozen=True)
class Attachment:
    """An agent in a pod.

    Attributes:
        patch: of the pod, as JSON; empty where the agent was there already.
        container: name of the ephemeral container.
        agent: the agent; None after a dry run.
        targets: the processes that it sees.
        notes: what to know about it.
    """

    patch: str
    container: str
    agent: Agent | None = None
    targets: tuple[Target, ...] = ()
    notes: tuple[str, ...] = ()


class OutOfPatienceError(ControllerError):
    """An attached agent has not registered in time."""

    reason = "DEADLINE_EXCEEDED"

    def __init__(self, pod: Pod, container: str, seconds: float, controller: str) -> None:
        self.pod = pod
        self.container = container
        self.seconds = seconds
        self.controller = controller

    def __str__(self) -> str:
        return (
            f"cannot attach an agent to pod '{self.pod.name}' in namespace "
            f"'{self.pod.namespace}': it has not registered within {self.seconds:g} s; see "
            f"kubectl logs {self.pod.name} -n {self.pod.namespace} -c {self.container}, and "
            f"whether the pod reaches the controller at '{self.controller}' (--attach-controller, "
            "NetworkPolicies)"
        )


class Attachments:
    """The use cases of attaching."""

    def __init__(
        self,
        client: Client | None,
        agents: Agents,
        end_agent: Callable[[str], Awaitable[None]],
        settings: Attaching,
        now: Callable[[], Millis],
    ) -> None:
        """`client`: None where there is no cluster. `end_agent` ends the agent of an address."""
        self._client = client
        self._agents = agents
        self._end_agent = end_agent
        self._settings = settings
        self._now = now

    async def attach(
        self, pod_name: str, namespace: str, wish: Wish, wait_millis: int, *, dry_run: bool
    ) -> Attachment:
        """An agent in a running pod; one that was attached there before and still runs, if any.

        Raises:
            NoClusterError: there is no cluster.
            CannotAttachError: the pod, its kubelet or its processes do not allow it.
            OutOfPatienceError: the agent has not registered in time.
            ControllerError: it cannot be done.
        """
        client = self._checked(wish, wait_millis)
        pod = Pod(await client.get(resources.PODS, pod_name, namespace))
        planned = attaching.plan(pod, wish, self._settings)
        if (there := self._attached(pod, planned)) and not dry_run:
            name, agent = there
            return self._seen(Attachment("", name, agent, (), ()), pod)
        known = {agent.id for agent in self._agents.connected()}
        await client.patch(
            resources.PODS,
            pod_name,
            planned.patch,
            namespace,
            subresource="ephemeralcontainers",
            dry_run=dry_run,
        )
        made = Attachment(json.dumps(planned.patch), planned.name, notes=planned.notes)
        if dry_run:
            return made
        _log.info("agent attached", pod=pod_name, namespace=namespace, container=planned.name)
        return await self._registered(made, pod, known, wait_millis / 1000)

    def _checked(self, wish: Wish, wait_millis: int) -> Client:
        if self._client is None:
            raise NoClusterError("the controller knows no API server", "attach an agent")
        for name in ("image", "controller"):
            if not getattr(self._settings, name):
                cause = f"the controller was started without --attach-{name}; set it in the chart"
                raise InvalidArgumentError("attach an agent", cause)
        if not 0 < wish.keep_millis <= attaching.MAX_KEEP_MILLIS:
            cause = "keep_millis is not within a week"
            raise InvalidArgumentError("attach an agent", cause)
        if not 0 < wait_millis <= MAX_WAIT_MILLIS:
            cause = "wait_millis is not within ten minutes"
            raise InvalidArgumentError("attach an agent", cause)
        return self._client

    def _attached(self, pod: Pod, planned: attaching.Plan) -> tuple[str, Agent] | None:
        """An agent that was attached to the same container and still runs, with its own's name."""
        running = {
            str(status.get("name"))
            for status in (pod.object.get("status") or {}).get("ephemeralContainerStatuses") or ()
            if (status.get("state") or {}).get("running")
        }
        target = str(planned.container["targetContainerName"])
        names = [name for name in attaching.attached_names(pod, target) if name in running]
        for agent in self._of_pod(pod):
            port = agent.address.rpartition(":")[2]
            for name in names:
                number = int(name.rpartition("-")[2])
                if port == str(attaching.FIRST_PORT + (number - 1) % attaching.PORTS):
                    return name, agent
        return None

    def _of_pod(self, pod: Pod) -> list[Agent]:
        place = (pod.namespace, pod.name)
        return [a for a in self._agents.connected() if (a.namespace, a.pod) == place]

    async def _registered(
        self, made: Attachment, pod: Pod, known: set[str], seconds: float
    ) -> Attachment:
        """Waits until the agent is there and sees its processes."""
        deadline, polls = asyncio.get_running_loop().time() + seconds, 0
        while asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(POLL_SECONDS)
            polls += 1
            found = [agent for agent in self._of_pod(pod) if agent.id not in known]
            if found:
                with_agent = Attachment(made.patch, made.container, found[0], (), made.notes)
                return await self._settled(with_agent, pod)
            if polls % _POD_POLLS == 0 and (cause := await self._obstacle(pod, made.container)):
                raise CannotAttachError(pod.name, pod.namespace, cause)
        if cause := await self._obstacle(pod, made.container):
            raise CannotAttachError(pod.name, pod.namespace, cause)
        raise OutOfPatienceError(pod, made.container, seconds, self._settings.controller)

    async def _obstacle(self, pod: Pod, container: str) -> str:
        assert self._client is not None
        try:
            newest = Pod(await self._client.get(resources.PODS, pod.name, pod.namespace))
        except ClusterError as error:
            return "" if error.transient else str(error)
        if newest.uid != pod.uid or not newest.is_running:
            return "it has ended meanwhile"
        return attaching.obstacle(newest, container)

    async def _settled(self, made: Attachment, pod: Pod) -> Attachment:
        """With its targets, for which a fresh agent takes a look or two."""
        deadline = asyncio.get_running_loop().time() + _SETTLE_SECONDS
        while True:
            seen = self._seen(made, pod)
            if any(target.ways for target in seen.targets):
                return seen
            if asyncio.get_running_loop().time() > deadline:
                break
            await asyncio.sleep(POLL_SECONDS)
        assert made.agent is not None
        await self.detach(made.agent.id)
        raise CannotAttachError(pod.name, pod.namespace, _no_way_in(seen.targets))

    def _seen(self, made: Attachment, pod: Pod) -> Attachment:
        assert made.agent is not None
        every = self._agents.find(Selector(), include_absent=False)
        mine = tuple(target for target in every if target.agent_id == made.agent.id)
        return Attachment(made.patch, made.container, made.agent, mine, made.notes)

    async def detach(self, agent_id: str) -> None:
        """Ends an attached agent; one that is gone is no error.

        Raises:
            NotFoundError: no agent has that id.
            ControllerError: it is a sidecar, or does not answer.
        """
        address = self._agents.agent_address(agent_id)
        if not address:
            raise NotFoundError("agent", agent_id)
        if agent_id in {agent.id for agent in self._agents.connected()}:
            await self._end_agent(address)


def _no_way_in(targets: Sequence[Target]) -> str:
    """Why an attached agent is of no use, in its own words."""
    if not targets:
        return (
            "the agent runs beside its container and sees no Node.js or Python process there; "
            "see whether the service is in another container (-c)"
        )
    first = targets[0]
    return f"process {first.pid} of it cannot be entered: {first.unavailable_reason}"
