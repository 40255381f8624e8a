"""Targets by the names of the cluster: which processes a pod, a workload or a selector means."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from memwatch_controller.cluster.errors import NoClusterError
from memwatch_controller.cluster.lookup import Lookup
from memwatch_controller.cluster.picking import Manned, NoAgentError, choose, manned
from memwatch_controller.errors import AmbiguousTargetError, TargetNotFoundError
from memwatch_controller.model import PodPick, Selector, SessionPlan, Target, Workload
from memwatch_controller.selection import candidate


class Known(Protocol):
    """The targets that agents report; the registry is one."""

    def find(self, selector: Selector, *, include_absent: bool) -> list[Target]:
        """The targets that match, by service and id."""

    def usable(self, found: Sequence[Target]) -> list[Target]:
        """Those of some targets that can be captured; at least one, or the error of the best.

        Raises:
            ControllerError: none can.
        """


class ClusterTargets:
    """Finds the processes of a plan that names an object of the cluster."""

    def __init__(self, lookup: Lookup | None, known: Known) -> None:
        """`lookup`: None where there is no cluster: pods are then known by their agents alone."""
        self._lookup = lookup
        self._known = known

    async def pick(self, plan: SessionPlan) -> list[Target]:
        """The processes that are meant: one, or one with the newest pod's, or all.

        Raises:
            NoClusterError: only a cluster could say which pods those are.
            NoAgentError: pods run, and no agent sees a process in them.
            AmbiguousTargetError: one pod was named, and has several processes.
            ControllerError: it cannot be found, or not be captured.
        """
        selector = plan.selector
        assert selector.workload is not None
        if self._lookup is None:
            return self._by_name(selector, selector.workload)
        kind, name = selector.workload.kind, selector.workload.name
        pods = await self._lookup.pods_of(kind, name, selector.namespace)
        seen = self._known.find(Selector(runtime=selector.runtime), include_absent=True)
        found = self._capturable(manned(pods, seen, selector.container))
        if not found:
            what = f"{kind} '{name}'"
            raise NoAgentError(what, pods[0].namespace, [pod.name for pod in pods])
        if kind == "pod" and plan.pick is PodPick.ANY and not plan.fleet:
            return [_only(selector, found[0].targets)]
        usual = PodPick.ALL if plan.fleet else PodPick.FATTEST
        return choose(found, plan.pick or usual, plan.beside_newest)

    def _capturable(self, found: Sequence[Manned]) -> list[Manned]:
        """The pods with what of them can be captured; where that is nothing, the best's error."""
        every = [target for one in found for target in one.targets]
        if not every:
            return []
        usable = {target.id for target in self._known.usable(every)}
        kept = (
            replace(one, targets=tuple(t for t in one.targets if t.id in usable)) for one in found
        )
        return [one for one in kept if one.targets]

    def _by_name(self, selector: Selector, workload: Workload) -> list[Target]:
        """A pod's one process, by the name that its agent tells."""
        if workload.kind != "pod":
            raise NoClusterError(
                "the controller knows no API server", f"find {workload.kind} '{workload.name}'"
            )
        here = Selector(namespace=selector.namespace, runtime=selector.runtime)
        found = [t for t in self._known.find(here, include_absent=True) if t.pod == workload.name]
        if not found:
            every = self._known.find(Selector(), include_absent=True)
            raise TargetNotFoundError(f"pod '{workload.name}'", len(every))
        return [_only(selector, self._known.usable(found))]


def _only(selector: Selector, targets: Sequence[Target]) -> Target:
    """The one process of a pod.

    Raises:
        AmbiguousTargetError: it has several.
    """
    if len(targets) > 1:
        assert selector.workload is not None
        named = f"pod '{selector.workload.name}'"
        raise AmbiguousTargetError(named, [candidate(target) for target in targets])
    return targets[0]
