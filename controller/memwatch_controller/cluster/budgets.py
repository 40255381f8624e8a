"""The liveness budgets of targets, read from the cluster before a capture."""

import structlog

from memwatch_controller import model
from memwatch_controller.cluster.errors import ClusterError
from memwatch_controller.cluster.lookup import Lookup
from memwatch_controller.cluster.probes import budget_of
from memwatch_controller.model import PauseBudget

_log = structlog.get_logger()


class Budgets:
    """Tells how long a target may stand still."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def of(self, target: model.Target) -> PauseBudget | None:
        """The budget of a target's liveness probe; None where there is none, or it is not known.

        A cluster that does not answer is no reason to give a capture up: the log has it.
        """
        if not target.pod or not target.namespace:
            return None
        try:
            pod = await self._lookup.pod(target.pod, target.namespace)
        except ClusterError as error:
            _log.warning("capture without a look at its probes", cause=str(error))
            return None
        if target.pod_uid and pod.uid != target.pod_uid:
            return None
        found = budget_of(pod, target.container_id)
        if found is None:
            return None
        words = f"the liveness probe of container '{found.container}' kills it after {found}"
        return PauseBudget(found.sure_millis, words)
