"""Looks after the readiness gates: says True where nobody keeps a pod out, again and again.

It has no memory that matters: everything is in the pods. It runs in every replica of the webhook,
which adds the gates, and any one of them is enough.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from memwatch_controller.cluster import isolation_gate as gate
from memwatch_controller.cluster import resources
from memwatch_controller.cluster.client import Client, PatchKind
from memwatch_controller.cluster.errors import (
    ClusterConflictError,
    ClusterError,
    ClusterNotFoundError,
)
from memwatch_controller.rounds import rounds

#: How often pods that are kept out are looked at: so late at most does one come back.
TICK_SECONDS = 2.0

#: Before the API server is asked again after an error.
_PAUSE_SECONDS = 2.0

_SELECTOR = f"{gate.LABEL}=true"

_log = structlog.get_logger()


class Gates:
    """Keeps every gate of a namespace (none: of all) True that nobody holds False."""

    def __init__(
        self,
        client: Client,
        now: Callable[[], int],
        namespace: str = "",
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._now = now
        self._namespace = namespace
        self._sleep = sleep
        self._held: dict[str, dict[str, Any]] = {}

    async def run(self) -> None:
        """Never returns."""
        while True:
            try:
                await self._watch()
            except ClusterError as error:
                _log.warning("readiness gates cannot be watched", cause=str(error))
                await self._sleep(_PAUSE_SECONDS)
            except Exception:  # noqa: BLE001  outermost of a task: pods wait for their gates
                _log.exception("cannot watch readiness gates")
                await self._sleep(_PAUSE_SECONDS)

    async def look(self) -> str:
        """Looks at all pods that have the gate, once; the version to watch on from.

        Raises:
            ClusterError: they cannot be listed.
        """
        listing = await self._client.list(resources.PODS, self._namespace, _SELECTOR)
        self._held = {}
        for pod in listing.items:
            await self._see(pod)
        return listing.resource_version

    async def tick(self) -> None:
        """Opens the gates whose time is over."""
        for pod in list(self._held.values()):
            await self._see(pod)

    async def _watch(self) -> None:
        since = await self.look()
        ticking = asyncio.ensure_future(self._keep_ticking())
        try:
            watching = self._client.watch(resources.PODS, self._namespace, since, _SELECTOR)
            async for event in watching:
                if event.kind == "DELETED":
                    self._held.pop(str(event.object["metadata"]["uid"]), None)
                elif event.kind in ("ADDED", "MODIFIED"):
                    await self._see(event.object)
        finally:
            ticking.cancel()

    async def _keep_ticking(self) -> None:
        await self._sleep(TICK_SECONDS)
        await rounds("open readiness gates", self.tick, TICK_SECONDS, self._sleep)

    async def _see(self, pod: Any) -> None:
        """Opens a pod's gate where nobody holds it, and remembers it where somebody does."""
        uid = str(pod["metadata"]["uid"])
        self._held.pop(uid, None)
        if gate.needs_true(pod, self._now()):
            if not await self._open(pod):
                self._held[uid] = pod  # once more at the next tick
        elif (gate.condition_of(pod) or {}).get("status") == "False":
            self._held[uid] = pod

    async def _open(self, pod: Any) -> bool:
        """Says True, unless the pod has changed since it was seen; whether that is settled."""
        about = pod["metadata"]
        body = gate.in_rotation(self._now())
        body["metadata"] = {"resourceVersion": about["resourceVersion"]}
        try:
            await self._client.patch(
                resources.PODS,
                about["name"],
                body,
                about["namespace"],
                kind=PatchKind.STRATEGIC,
                subresource="status",
            )
        except (ClusterConflictError, ClusterNotFoundError):
            return True  # a newer event of it is on its way
        except ClusterError as error:
            _log.warning("readiness gate stays shut", pod=about["name"], cause=str(error))
            return False
        return True
