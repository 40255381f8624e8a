"""Looks every few minutes for pods that should have the agent and do not; counts and logs them."""

from collections.abc import Collection, Sequence

import structlog

from memwatch_controller.cluster import resources
from memwatch_controller.cluster.client import Client
from memwatch_controller.cluster.errors import ClusterError
from memwatch_controller.cluster.pods import Pod
from memwatch_controller.cluster.uninjected import uninjected
from memwatch_controller.rounds import rounds

#: A rollout takes minutes, and nobody waits for this.
INTERVAL_SECONDS = 300.0

#: Pods that one line of the log names.
MAX_LOGGED = 20

_log = structlog.get_logger()


class Watchdog:
    """Counts pods without the agent that they ask for.

    Attributes:
        missing: how many the last look found; None before the first, and where it failed.
    """

    def __init__(
        self, client: Client, excluded: Collection[str], namespaces: Sequence[str] = ()
    ) -> None:
        """Made of where it looks.

        Args:
            client: of the cluster.
            excluded: namespaces that the webhook leaves alone.
            namespaces: of services, the only ones that may be read; none: all.
        """
        self._client = client
        self._namespaces = namespaces
        self._excluded = excluded
        self._told: frozenset[str] = frozenset()
        self.missing: int | None = None

    async def run(self) -> None:
        """Looks, for ever."""
        await rounds("look for pods without their agent", self.look, INTERVAL_SECONDS)

    async def look(self) -> None:
        """Looks once; what was not missing at the last look is logged."""
        try:
            listed = [
                one
                for namespace in self._namespaces or ("",)
                for one in (await self._client.list(resources.PODS, namespace)).items
            ]
        except ClusterError as error:
            self.missing = None
            _log.info("cannot look for pods without their agent", cause=str(error))
            return
        found = uninjected([Pod(one) for one in listed], self._excluded)
        names = frozenset(found)
        self.missing = len(names)
        if news := sorted(names - self._told):
            told = {name: found[name] for name in news[:MAX_LOGGED]}
            _log.warning("pods ask for the agent and lack it", pods=told, of=len(news))
        self._told = names
