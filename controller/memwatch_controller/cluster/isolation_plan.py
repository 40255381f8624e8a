"""How a pod can leave its service without anybody missing it, or why it cannot; pure.

Decided from the API's own objects: the pod, what owns it, the budgets and the services that
select it. A refusal tells the numbers that it was decided by. Decision 0056.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memwatch_controller.cluster.isolation_gate import CONDITION, has_gate
from memwatch_controller.errors import ControllerError
from memwatch_controller.isolation import Plan
from memwatch_controller.model import IsolationMode

Object = Mapping[str, Any]

#: The label that tells the pods of one ReplicaSet from those of the workload's others.
HASH = "pod-template-hash"

#: What an absent `maxUnavailable` of a Deployment means.
_DEFAULT_UNAVAILABLE = "25%"


class IsolationRefusedError(ControllerError):
    """A pod that cannot leave its service without being missed.

    Attributes:
        pod, namespace, mode: what was asked.
        cause: why not, with the numbers.
        numbers: the same for programs.
    """

    reason = "ISOLATION_REFUSED"

    def __init__(
        self,
        namespace: str,
        pod: str,
        mode: IsolationMode,
        cause: str,
        numbers: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(namespace, pod, mode, cause)
        self.namespace = namespace
        self.pod = pod
        self.mode = mode
        self.cause = cause
        self.numbers = dict(numbers or {})

    @property
    def facts(self) -> Mapping[str, str]:
        """The numbers of the refusal."""
        return {
            "namespace": self.namespace,
            "pod": self.pod,
            "mode": self.mode.value,
            **{name: str(value) for name, value in self.numbers.items()},
        }

    def __str__(self) -> str:
        return (
            f"cannot isolate pod '{self.pod}' in namespace '{self.namespace}' by "
            f"'{self.mode.value}': {self.cause}"
        )


@dataclass(frozen=True)
class Facts:
    """What the API server says about a pod.

    Attributes:
        pod: the pod.
        owner: the ReplicaSet, StatefulSet … that controls it; None: nobody does.
        deployment: what controls the ReplicaSet; None: nobody does.
        services: the services of its namespace.
        budgets: the PodDisruptionBudgets of its namespace.
    """

    pod: Object
    owner: Object | None = None
    deployment: Object | None = None
    services: Sequence[Object] = ()
    budgets: Sequence[Object] = ()


def plan(facts: Facts, mode: IsolationMode) -> Plan:
    """How the pod leaves.

    Raises:
        IsolationRefusedError: it must not, and why.
    """
    _check_pod(facts, mode)
    if mode is IsolationMode.READINESS:
        return _readiness(facts)
    if mode is IsolationMode.DETACH:
        return _detach(facts)
    assert mode is IsolationMode.AUTO, mode
    try:
        return _detach(facts)
    except IsolationRefusedError as detach:
        try:
            return _readiness(facts)
        except IsolationRefusedError as readiness:
            cause = f"detach: {detach.cause}; readiness: {readiness.cause}"
            numbers = {**detach.numbers, **readiness.numbers}
            raise _refused(facts, mode, cause, numbers) from readiness


def steps(made: Plan, drain_seconds: float) -> list[str]:
    """What will be done, for people. Pure."""
    drain = f"wait until no EndpointSlice has it ready, and {drain_seconds:g} s more"
    pod = f"pod {made.namespace}/{made.pod}"
    if made.mode is IsolationMode.READINESS:
        return [
            f"{pod}: status.conditions[{CONDITION}]: True -> False",
            drain,
            "capture",
            f"{pod}: status.conditions[{CONDITION}]: False -> True",
        ]
    return [
        *(f"{pod}: metadata.labels.{k}: {v} -> absent" for k, v in made.off_workload.items()),
        f"wait until ReplicaSet '{made.owner}' has {made.replicas} ready pods without it",
        *(f"{pod}: metadata.labels.{k}: {v} -> absent" for k, v in made.off_services.items()),
        drain,
        "capture",
        f"{pod}: delete, once its time to live is over",
    ]


def _check_pod(facts: Facts, mode: IsolationMode) -> None:
    """Sees that the pod serves now.

    Raises:
        IsolationRefusedError: it does not.
    """
    if facts.pod["metadata"].get("deletionTimestamp"):
        raise _refused(facts, mode, "it is being deleted")
    if not is_ready(facts.pod):
        raise _refused(facts, mode, "it is not Ready, and so not in its service's rotation")


def _readiness(facts: Facts) -> Plan:
    mode = IsolationMode.READINESS
    if not has_gate(facts.pod):
        cause = (
            f"it has no readiness gate '{CONDITION}', which only a new pod can get: annotate the "
            "workload's template with memwatch.dev/isolate=readiness, or use detach"
        )
        raise _refused(facts, mode, cause)
    services = selecting(facts)
    if not services:
        raise _refused(facts, mode, "no service selects it, so there is no rotation to leave")
    owner = facts.owner
    kind = owner["kind"] if owner else ""
    if owner is None or kind not in ("ReplicaSet", "StatefulSet"):
        raise _refused(facts, mode, f"{_owned_by(owner)}: nothing serves in its place")
    wanted, ready = replicas(owner), _ready(owner)
    if ready < 2:
        cause = f"{ready} of {wanted} pods of {kind} '{_name(owner)}' are Ready, and 2 are needed"
        raise _refused(facts, mode, cause, {"ready": ready, "replicas": wanted, "needed": 2})
    _check_budgets(facts, mode)
    _check_unavailable(facts, mode)
    return Plan(mode, *_identity(facts), services=services)


def _check_budgets(facts: Facts, mode: IsolationMode) -> None:
    """Sees that every disruption budget allows one pod to be missing.

    Raises:
        IsolationRefusedError: one does not.
    """
    labels = facts.pod["metadata"].get("labels") or {}
    for budget in facts.budgets:
        if not selects(budget["spec"].get("selector"), labels):
            continue
        status = budget.get("status") or {}
        allowed = int(status.get("disruptionsAllowed") or 0)
        if allowed < 1:
            healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
            cause = (
                f"PodDisruptionBudget '{_name(budget)}' allows {allowed} disruptions "
                f"({healthy} healthy, {desired} desired)"
            )
            numbers = {"allowed": allowed, "healthy": healthy, "desired": desired}
            raise _refused(facts, mode, cause, numbers)


def _check_unavailable(facts: Facts, mode: IsolationMode) -> None:
    """Sees that the workload may miss one pod more by its own settings.

    Raises:
        IsolationRefusedError: it may not.
    """
    workload = facts.deployment or facts.owner
    assert workload is not None
    wanted, ready = replicas(workload), _ready(workload)
    most, said = _max_unavailable(workload, wanted)
    missing = max(0, wanted - ready)
    if missing + 1 > most:
        cause = (
            f"{workload['kind']} '{_name(workload)}' may miss {most} of {wanted} pods "
            f"(maxUnavailable {said}), {missing} are missing now, and this would be one more"
        )
        numbers = {"max_unavailable": most, "replicas": wanted, "missing": missing}
        raise _refused(facts, mode, cause, numbers)


def _max_unavailable(workload: Object, wanted: int) -> tuple[int, str]:
    """How many pods a workload may miss, and how it says so."""
    if workload["kind"] == "Deployment":
        strategy = workload["spec"].get("strategy") or {}
        if strategy.get("type") == "Recreate":
            return wanted, "not said: Recreate"
        said = (strategy.get("rollingUpdate") or {}).get("maxUnavailable", _DEFAULT_UNAVAILABLE)
        return share(said, wanted), str(said)
    if workload["kind"] == "StatefulSet":
        strategy = workload["spec"].get("updateStrategy") or {}
        said = (strategy.get("rollingUpdate") or {}).get("maxUnavailable", 1)
        return max(1, share(said, wanted)), str(said)
    return 1, "not said: a ReplicaSet alone"


def share(said: int | str, wanted: int) -> int:
    """A number, or a percentage of a workload's replicas rounded down, as rollouts count it."""
    if isinstance(said, int):
        return said
    return math.floor(int(said.removesuffix("%")) * wanted / 100)


def _detach(facts: Facts) -> Plan:
    mode = IsolationMode.DETACH
    owner = facts.owner
    if owner is None or owner["kind"] != "ReplicaSet":
        raise _refused(facts, mode, f"{_owned_by(owner)}: no replacement would be started")
    wanted, ready = replicas(owner), _ready(owner)
    if ready < wanted or wanted < 1:
        cause = (
            f"{ready} of {wanted} pods of ReplicaSet '{_name(owner)}' are Ready, and all must be"
        )
        raise _refused(facts, mode, cause, {"ready": ready, "replicas": wanted})
    labels = dict(facts.pod["metadata"].get("labels") or {})
    off_workload = _off_workload(facts, owner, labels)
    if not off_workload:
        cause = (
            f"every label by which ReplicaSet '{_name(owner)}' selects it is its services' too: it "
            "would leave them before its replacement serves"
        )
        raise _refused(facts, mode, cause)
    services = selecting(facts)
    return Plan(
        mode,
        *_identity(facts),
        off_workload=off_workload,
        off_services=_off_services(facts, labels),
        owner=_name(owner),
        owner_uid=str(owner["metadata"]["uid"]),
        replicas=wanted,
        services=services,
    )


def _off_workload(facts: Facts, owner: Object, labels: Mapping[str, str]) -> dict[str, str]:
    """A label that the ReplicaSet looks for and no service does; empty where there is none."""
    wanted = (owner["spec"].get("selector") or {}).get("matchLabels") or {}
    taken: set[str] = set()
    for service in facts.services:
        selector = service["spec"].get("selector") or {}
        if _selects_by(selector, labels):
            taken |= selector.keys()
    names = [name for name in (HASH, *sorted(wanted)) if name in wanted and name in labels]
    return {name: labels[name] for name in [n for n in names if n not in taken][:1]}


def _off_services(facts: Facts, labels: Mapping[str, str]) -> dict[str, str]:
    """One label of each service's selector; as few as a simple choice finds."""
    off: dict[str, str] = {}
    for service in facts.services:
        selector = service["spec"].get("selector") or {}
        if _selects_by(selector, labels) and not selector.keys() & off.keys():
            name = sorted(selector)[0]
            off[name] = labels[name]
    return off


def selecting(facts: Facts) -> tuple[str, ...]:
    """Names of the services that select the pod."""
    labels = facts.pod["metadata"].get("labels") or {}
    found = (s for s in facts.services if _selects_by(s["spec"].get("selector") or {}, labels))
    return tuple(_name(service) for service in found)


def _selects_by(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return bool(selector) and selector.items() <= labels.items()


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a label selector takes a pod; an absent one takes none, an empty one all."""
    if selector is None:
        return False
    wanted = (selector.get("matchLabels") or {}).items()
    return wanted <= labels.items() and all(
        _holds(rule, labels) for rule in selector.get("matchExpressions") or ()
    )


def _holds(rule: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = rule["key"], rule.get("values") or ()
    match rule["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels


def is_ready(pod: Object) -> bool:
    """Whether the kubelet says that it serves."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def controller_of(found: Object) -> Mapping[str, str] | None:
    """The reference to what controls an object."""
    owners = found["metadata"].get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), None)


def replicas(owner: Object) -> int:
    """How many pods a workload is to have; an absent number means one."""
    return int(owner["spec"].get("replicas", 1))


def _ready(owner: Object) -> int:
    return int((owner.get("status") or {}).get("readyReplicas") or 0)


def _owned_by(owner: Object | None) -> str:
    return f"{owner['kind']} '{_name(owner)}' owns it" if owner else "no workload owns it"


def _name(found: Object) -> str:
    return str(found["metadata"]["name"])


def _identity(facts: Facts) -> tuple[str, str, str]:
    about = facts.pod["metadata"]
    return str(about["namespace"]), str(about["name"]), str(about["uid"])


def _refused(
    facts: Facts, mode: IsolationMode, cause: str, numbers: Mapping[str, int] | None = None
) -> IsolationRefusedError:
    namespace, name, _ = _identity(facts)
    return IsolationRefusedError(namespace, name, mode, cause, numbers)
