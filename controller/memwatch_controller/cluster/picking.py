"""Which processes of a workload's pods are captured. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from memwatch_controller.cluster.pods import Pod
from memwatch_controller.errors import ControllerError
from memwatch_controller.model import PodPick, Target

#: Pods that an error names; a workload may have thousands.
MAX_NAMED = 5


class NoAgentError(ControllerError):
    """Pods run, and no agent sees a process in them.

    Attributes:
        pods: their names.
    """

    reason = "NO_AGENT"

    def __init__(self, what: str, namespace: str, pods: Sequence[str]) -> None:
        self.what = what
        self.namespace = namespace
        self.pods = tuple(pods)

    @property
    def facts(self) -> Mapping[str, str]:
        """Namespace and pods."""
        return {"namespace": self.namespace, "pods": ",".join(self.pods[:MAX_NAMED])}

    def __str__(self) -> str:
        named = ", ".join(self.pods[:MAX_NAMED])
        more = f" and {len(self.pods) - MAX_NAMED} more" if len(self.pods) > MAX_NAMED else ""
        return (
            f"cannot capture {self.what}: no agent sees a process in {named}{more}; annotate the "
            'pod template with memwatch.dev/inject: "true" and roll it out, or put an agent into '
            f"a running pod: memwatchctl attach {self.pods[0]} -n {self.namespace}"
        )


@dataclass(frozen=True)
class Manned:
    """A pod with the processes in it that an agent sees."""

    pod: Pod
    targets: tuple[Target, ...]

    @property
    def fattest(self) -> Target:
        """The process that uses most memory; what is not measured counts as none."""
        return max(self.targets, key=used_bytes)


def used_bytes(target: Target) -> int:
    """Resident memory of a process in its newest sample; 0 where there is none."""
    return (target.memory.rss_bytes or 0) if target.memory else 0


def manned(pods: Sequence[Pod], targets: Sequence[Target], container: str) -> list[Manned]:
    """The pods in which agents see processes, by name; of one container where it is named."""
    by_pod: dict[str, list[Target]] = {}
    places = {(pod.namespace, pod.name): pod.uid for pod in pods}
    for target in targets:
        uid = target.pod_uid or places.get((target.namespace, target.pod), "")
        by_pod.setdefault(uid, []).append(target)
    found = []
    for pod in pods:
        seen = [t for t in by_pod.get(pod.uid, ()) if _is_in(pod, t, container)]
        if seen:
            found.append(Manned(pod, tuple(seen)))
    return found


def _is_in(pod: Pod, target: Target, container: str) -> bool:
    return not container or pod.container_of(target.container_id) == container


_BEST: Mapping[PodPick, Callable[[Manned], tuple[int, str]]] = {
    PodPick.OLDEST: lambda one: (-one.pod.created, one.pod.name),
    PodPick.NEWEST: lambda one: (one.pod.created, one.pod.name),
    PodPick.FATTEST: lambda one: (used_bytes(one.fattest), one.pod.name),
}


def choose(found: Sequence[Manned], pick: PodPick, beside_newest: bool) -> list[Target]:
    """The processes to capture: those of all pods, or the fattest one of the pod that is picked.

    With `beside_newest` the newest pod's comes last, where it is not among them anyway.
    """
    if pick is PodPick.ALL:
        return [target for one in found for target in one.targets]
    chosen = [max(found, key=_BEST[pick]).fattest]
    if beside_newest:
        newest = max(found, key=_BEST[PodPick.NEWEST]).fattest
        chosen += [newest] if newest.id != chosen[0].id else []
    return chosen
