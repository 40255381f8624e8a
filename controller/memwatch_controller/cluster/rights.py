"""Which rights each mode needs in the cluster: the table that the chart's roles must equal. Pure.

A mode that is switched off leaves no rule behind. Nothing here may read a Secret of a service's
namespace, or run a command in a container.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from memwatch_controller.cluster import resources
from memwatch_controller.cluster.resources import Resource


class Mode(StrEnum):
    """What an administrator switches on.

    Attributes:
        LOOKUP: targets by the names of pods and workloads; probe budgets.
        ATTACH: the agent put into a running pod as an ephemeral container.
        READINESS: a pod taken out of rotation by its readiness gate.
        DETACH: a pod taken out of its workload by a label, and ended afterwards.
        WATCHDOG: pods found that should have the agent and do not.
        CERTIFICATES: the webhook's own certificate, made and renewed (the webhook's account).
    """

    LOOKUP = "lookup"
    ATTACH = "attach"
    READINESS = "readiness"
    DETACH = "detach"
    WATCHDOG = "watchdog"
    CERTIFICATES = "certificates"


@dataclass(frozen=True)
class Right:
    """Verbs on one resource.

    Attributes:
        resource: the kind of object.
        verbs: in the words of roles.
        subresource: such as `ephemeralcontainers`; empty: the object itself.
        own_namespace: whether only memwatch's own namespace is meant, not the services'.
    """

    resource: Resource
    verbs: tuple[str, ...]
    subresource: str = ""
    own_namespace: bool = False

    @property
    def name(self) -> str:
        """As roles have it: `pods/status`."""
        plural = self.resource.plural
        return f"{plural}/{self.subresource}" if self.subresource else plural


_READ = ("get", "list", "watch")

#: What is read to find a service's pods and what it may lose of them.
_WORKLOADS = (
    Right(resources.PODS, _READ),
    Right(resources.DEPLOYMENTS, ("get", "list")),
    Right(resources.REPLICA_SETS, ("get", "list")),
    Right(resources.STATEFUL_SETS, ("get", "list")),
    Right(resources.DAEMON_SETS, ("get", "list")),
    Right(resources.JOBS, ("get", "list")),
)

#: What says how many pods of a service may be missing, and who counts it out.
_ROTATION = (
    *_WORKLOADS,
    Right(resources.DISRUPTION_BUDGETS, ("get", "list")),
    Right(resources.ENDPOINT_SLICES, _READ),
    Right(resources.SERVICES, ("get", "list")),
)

RIGHTS: dict[Mode, tuple[Right, ...]] = {
    Mode.LOOKUP: _WORKLOADS,
    Mode.ATTACH: (
        Right(resources.PODS, _READ),
        Right(resources.PODS, ("patch",), "ephemeralcontainers"),
    ),
    Mode.READINESS: (*_ROTATION, Right(resources.PODS, ("patch",), "status")),
    Mode.DETACH: (
        *_ROTATION,
        Right(resources.PODS, ("patch",)),
        Right(resources.PODS, ("delete",)),
    ),
    Mode.WATCHDOG: (
        Right(resources.PODS, _READ),
        Right(resources.NAMESPACES, _READ),
        Right(resources.WEBHOOKS, ("get",)),
        Right(resources.SERVICES, ("get",), own_namespace=True),
    ),
    Mode.CERTIFICATES: (
        Right(resources.SECRETS, ("get", "create", "update"), own_namespace=True),
        Right(resources.WEBHOOKS, ("get", "patch")),
    ),
}


@dataclass(frozen=True)
class Rules:
    """RBAC rules, by the role that they belong to.

    Attributes:
        services: for a Role in each namespace of services, or for a ClusterRole.
        own: for a Role in memwatch's namespace.
        cluster: for a ClusterRole: they are of kinds that lie in no namespace.
    """

    services: tuple[dict[str, Any], ...]
    own: tuple[dict[str, Any], ...]
    cluster: tuple[dict[str, Any], ...]


def rights_of(modes: Collection[Mode]) -> tuple[Right, ...]:
    """Every right of some modes, each once, with the verbs of all of them."""
    verbs: dict[tuple[Resource, str, bool], dict[str, None]] = {}
    for mode in Mode:
        for right in RIGHTS[mode] if mode in modes else ():
            key = (right.resource, right.subresource, right.own_namespace)
            verbs.setdefault(key, {}).update(dict.fromkeys(right.verbs))
    return tuple(Right(key[0], tuple(said), key[1], key[2]) for key, said in verbs.items())


def rules_of(modes: Collection[Mode]) -> Rules:
    """The rules of some modes, one a resource, in the order of the table."""
    rights = rights_of(modes)
    return Rules(
        services=_rules([r for r in rights if r.resource.namespaced and not r.own_namespace]),
        own=_rules([r for r in rights if r.own_namespace]),
        cluster=_rules([r for r in rights if not r.resource.namespaced]),
    )


def _rules(rights: Sequence[Right]) -> tuple[dict[str, Any], ...]:
    return tuple(
        {
            "apiGroups": [right.resource.group],
            "resources": [right.name],
            "verbs": list(right.verbs),
        }
        for right in rights
    )
