"""Takes every look, each with a limit of its own, and tells what was found."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Protocol

from memwatch_controller.cluster import resources
from memwatch_controller.cluster.client import Client
from memwatch_controller.cluster.errors import (
    ClusterError,
    ClusterForbiddenError,
    ClusterNotFoundError,
)
from memwatch_controller.cluster.pods import Pod
from memwatch_controller.cluster.rights import RIGHTS, Right, rights_of
from memwatch_controller.cluster.uninjected import uninjected
from memwatch_controller.diagnosis import checks, cluster_checks, webhook
from memwatch_controller.diagnosis.checks import Check, State, check
from memwatch_controller.model import Agent, Millis, Selector, Target

#: One look; a cluster that does not answer must not keep the others.
LOOK_SECONDS = 15.0

#: Rights that are asked for at once.
_AT_ONCE = 8


class Known(Protocol):
    """What agents report; the registry is one."""

    def agents(self) -> list[Agent]:
        """All agents."""

    def connected(self) -> list[Agent]:
        """The agents that have a stream."""

    def find(self, selector: Selector, *, include_absent: bool) -> list[Target]:
        """The targets that match."""


class Diagnosis:
    """The use case of `memwatchctl doctor`."""

    def __init__(
        self,
        known: Known,
        ready: Callable[[], Awaitable[str]],
        client: Client | None,
        webhook_name: str,
        excluded: Collection[str],
        version: str,
        now: Callable[[], Millis],
        namespaces: Sequence[str] = (),
    ) -> None:
        """Made of what is looked at.

        Args:
            known: agents and targets.
            ready: why the controller cannot work; empty where it can.
            client: of the cluster; None where there is none.
            webhook_name: of the MutatingWebhookConfiguration.
            excluded: namespaces that the webhook leaves alone.
            version: the controller's.
            now: the clock.
            namespaces: the only ones that the controller may read; none: all.
        """
        self._namespaces = tuple(namespaces)
        self._known = known
        self._ready = ready
        self._client = client
        self._webhook_name = webhook_name
        self._excluded = excluded
        self._version = version
        self._now = now

    async def checks(self, namespace: str) -> list[Check]:
        """Every look, of one namespace where it is named."""
        connected = [a for a in self._known.connected() if namespace in ("", a.namespace)]
        targets = self._known.find(Selector(namespace=namespace), include_absent=False)
        found = [
            checks.of_store(await self._ready()),
            checks.of_agents(self._known.agents(), connected),
            checks.of_versions(connected, self._version),
            checks.of_targets(targets),
            checks.of_headroom(targets),
            checks.of_clocks(targets),
        ]
        if self._client is None:
            message = "the controller works in no cluster, so there is none to look at"
            return [*found, check("cluster", State.SKIPPED, message)]
        return [*found, *await self._of_cluster(self._client, namespace, targets)]

    async def _of_cluster(
        self, client: Client, namespace: str, targets: Sequence[Target]
    ) -> list[Check]:
        first = await _bounded("cluster", self._version_of(client))
        if first[0].state is State.FAILED:
            return first
        places = [namespace] if namespace else self._namespaces or [""]
        looks = await asyncio.gather(
            *(_bounded("rights", self._rights(client, place)) for place in places),
            _bounded("webhook", self._webhook(client)),
            *(_bounded("pods", self._pods(client, place, targets)) for place in places),
        )
        return [*first, *(one for look in looks for one in look)]

    async def _version_of(self, client: Client) -> list[Check]:
        version = await client.version()
        return [check("cluster", State.OK, f"the API server is {version}")]

    async def _rights(self, client: Client, namespace: str) -> list[Check]:
        """Asks the API server for each right of each mode."""
        limit = asyncio.Semaphore(_AT_ONCE)
        service = await self._webhook_service(client)

        async def held(right: Right, verb: str) -> tuple[tuple[Right, str], bool]:
            place, name = namespace if right.resource.namespaced else "", ""
            if right.resource is resources.WEBHOOKS:
                name = self._webhook_name
            if right.own_namespace:
                if not service:  # no webhook that is known: nothing to read in our namespace
                    return (right, verb), True
                place, name = client.namespace, service
            async with limit:
                return (right, verb), await client.may(
                    verb, right.resource, place, right.subresource, name
                )

        asked = [
            held(Right(one.resource, one.verbs, one.subresource, one.own_namespace), verb)
            for one in rights_of(cluster_checks.OWN_MODES)
            for verb in one.verbs
        ]
        answers = {_key(right, verb): yes for (right, verb), yes in await asyncio.gather(*asked)}
        table = {
            (right, verb): answers[_key(right, verb)]
            for mode in cluster_checks.OWN_MODES
            for right in RIGHTS[mode]
            for verb in right.verbs
        }
        return [cluster_checks.of_rights(table, namespace)]

    async def _webhook_service(self, client: Client) -> str:
        """Name of the service that the webhook's configuration names; empty where it is unknown."""
        try:
            config = await client.get(resources.WEBHOOKS, self._webhook_name)
        except (ClusterNotFoundError, ClusterForbiddenError):
            return ""
        called = ((config.get("webhooks") or [{}])[0].get("clientConfig")) or {}
        return str((called.get("service") or {}).get("name") or "")

    async def _webhook(self, client: Client) -> list[Check]:
        """Whether the webhook answers, and how long its certificate lasts."""
        try:
            config = await client.get(resources.WEBHOOKS, self._webhook_name)
        except ClusterNotFoundError:
            message = f"there is no webhook '{self._webhook_name}': no pod gets an agent by itself"
            return [check("webhook", State.WARNING, message, "switch it on in the chart")]
        except ClusterForbiddenError:
            message = "the controller may not read the webhook's configuration"
            return [check("webhook", State.SKIPPED, message, "switch modes.watchdog on")]
        try:
            expiry = await webhook.expiry_at(await webhook.place_of(client, config))
        except webhook.WebhookError as error:
            message = f"the webhook cannot be called: {error}; pods start without an agent"
            step = "see the webhook's pods and log; NetworkPolicies must let the API server in"
            return [check("webhook", State.FAILED, message, step)]
        now = datetime.fromtimestamp(self._now() / 1000, UTC)
        return [
            check("webhook", State.OK, "it answers, with a certificate of its caBundle"),
            cluster_checks.of_certificate(expiry, now),
        ]

    async def _pods(self, client: Client, namespace: str, targets: Sequence[Target]) -> list[Check]:
        """Pods without the agent that they ask for, and probes."""
        listed = await client.list(resources.PODS, namespace)
        pods = [Pod(one) for one in listed.items]
        running = [pod for pod in pods if pod.is_running]
        lacking = uninjected(running, self._excluded)
        missing = [f"{name}: {why}" for name, why in lacking.items()]
        return [
            cluster_checks.of_injection(missing, len(running), self._excluded),
            cluster_checks.of_probes(running, targets),
        ]


def _key(right: Right, verb: str) -> tuple[str, str, bool, str]:
    return right.resource.group, right.name, right.own_namespace, verb


async def _bounded(name: str, look: Awaitable[list[Check]]) -> list[Check]:
    """A look with its limit; what it could not see is a check too."""
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            return await look
    except ClusterError as error:
        return [check(name, State.FAILED, str(error))]
    except TimeoutError:
        message = f"the API server did not answer within {LOOK_SECONDS:.0f} s"
        return [check(name, State.FAILED, message, "see whether it is reachable from here")]
