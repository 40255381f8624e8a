"""The kinds of Kubernetes objects that the controller uses, and where each is in the API. Pure."""

import re
from dataclasses import dataclass
from urllib.parse import quote

#: Names of objects and namespaces: what may stand in a path. Kubernetes' own rules are
#: narrower for most kinds; roles may hold colons and capitals.
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._:-]{0,251}[A-Za-z0-9])?")


@dataclass(frozen=True)
class Resource:
    """One kind of object.

    Attributes:
        group: API group; empty for the core one.
        version: of the group.
        plural: the word in paths and roles.
        kind: the word in objects.
        namespaced: whether its objects lie in namespaces.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As objects say it: `apps/v1`, or `v1` of the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The path of an object, a subresource of it, or (without a name) of all.

        Raises:
            ValueError: a name that no object can have, and no path may hold.
        """
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root]
        if namespace and self.namespaced:
            parts += ["namespaces", _checked(namespace)]
        parts.append(self.plural)
        if name:
            parts.append(_checked(name))
        if subresource:
            parts.append(_checked(subresource))
        return "/".join(parts)


def is_name(text: str) -> bool:
    """Whether a text can be the name of an object."""
    return _NAME.fullmatch(text) is not None


def _checked(text: str) -> str:
    if not is_name(text):
        raise ValueError(f"{text[:80]!r} is no name of a Kubernetes object")
    return quote(text, safe="")


PODS = Resource("", "v1", "pods", "Pod")
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
SERVICES = Resource("", "v1", "services", "Service")
SECRETS = Resource("", "v1", "secrets", "Secret")
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
EVENTS = Resource("", "v1", "events", "Event")
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
REPLICA_SETS = Resource("apps", "v1", "replicasets", "ReplicaSet")
STATEFUL_SETS = Resource("apps", "v1", "statefulsets", "StatefulSet")
DAEMON_SETS = Resource("apps", "v1", "daemonsets", "DaemonSet")
JOBS = Resource("batch", "v1", "jobs", "Job")
CRON_JOBS = Resource("batch", "v1", "cronjobs", "CronJob")
DISRUPTION_BUDGETS = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
EVICTIONS = Resource("policy", "v1", "evictions", "Eviction")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
WEBHOOKS = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "mutatingwebhookconfigurations",
    "MutatingWebhookConfiguration",
    namespaced=False,
)
ACCESS_REVIEWS = Resource(
    "authorization.k8s.io",
    "v1",
    "selfsubjectaccessreviews",
    "SelfSubjectAccessReview",
    namespaced=False,
)

ALL = (
    PODS,
    NAMESPACES,
    NODES,
    SERVICES,
    SECRETS,
    CONFIG_MAPS,
    EVENTS,
    ENDPOINT_SLICES,
    DEPLOYMENTS,
    REPLICA_SETS,
    STATEFUL_SETS,
    DAEMON_SETS,
    JOBS,
    CRON_JOBS,
    DISRUPTION_BUDGETS,
    LEASES,
    WEBHOOKS,
    ACCESS_REVIEWS,
)
