"""From the name of an object of the cluster to its pods."""

from collections.abc import Mapping, Sequence
from typing import Any

from memwatch_controller.cluster import resources
from memwatch_controller.cluster.client import Client
from memwatch_controller.cluster.errors import (
    ClusterError,
    ClusterForbiddenError,
    ClusterNotFoundError,
)
from memwatch_controller.cluster.pods import Pod, owner_of
from memwatch_controller.cluster.resources import Resource
from memwatch_controller.errors import AmbiguousTargetError, InvalidArgumentError

#: The kinds that a person may name, in the words of SessionPlan.
KINDS: Mapping[str, Resource] = {
    "pod": resources.PODS,
    "deployment": resources.DEPLOYMENTS,
    "statefulset": resources.STATEFUL_SETS,
    "daemonset": resources.DAEMON_SETS,
    "replicaset": resources.REPLICA_SETS,
    "job": resources.JOBS,
}
SELECTOR = "selector"


class Lookup:
    """Finds pods."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def pods_of(self, kind: str, name: str, namespace: str) -> list[Pod]:
        """The pods of an object that run, by name.

        Args:
            kind: one of `KINDS`, or `selector`, whose name is a label selector.
            name: the object's.
            namespace: where; empty: wherever there is one of that name.

        Raises:
            ClusterNotFoundError: there is no such object, or it has no running pods.
            AmbiguousTargetError: several namespaces have one of that name.
            InvalidArgumentError: there is no such kind.
            ClusterError: the API server refuses or does not answer.
        """
        if kind == SELECTOR:
            found = await self._listed(resources.PODS, namespace, labels=name)
            pods = [Pod(one) for one in found]
        elif kind == "pod":
            pods = [Pod(await self._one(resources.PODS, name, namespace))]
        elif kind in KINDS:
            pods = await self._owned(await self._one(KINDS[kind], name, namespace))
        else:
            known = ", ".join([*KINDS, SELECTOR])
            raise InvalidArgumentError("find pods", f"kind '{kind[:80]}' is none of {known}")
        running = sorted((pod for pod in pods if pod.is_running), key=lambda pod: pod.name)
        if not running:
            what = f"find pods of {kind} '{name}'{_where(namespace)}"
            cause = f"none runs; {len(pods)} are there" if pods else "it has none"
            raise ClusterNotFoundError(what, f"{cause}; see kubectl get pods{_flag(namespace)}")
        return running

    async def pod(self, name: str, namespace: str) -> Pod:
        """One pod, running or not.

        Raises:
            ClusterError: there is none, or it cannot be read.
        """
        return Pod(await self._client.get(resources.PODS, name, namespace))

    async def _one(self, resource: Resource, name: str, namespace: str) -> dict[str, Any]:
        """The one object of a name, in any namespace where none is said."""
        if namespace:
            return await self._client.get(resource, name, namespace)
        if not resources.is_name(name):
            raise InvalidArgumentError("find pods", f"{name[:80]!r} is no name of an object")
        found = await self._listed(resource, "", fields=f"metadata.name={name}")
        if not found:
            cause = f"no namespace has a {resource.kind} of that name"
            raise ClusterNotFoundError(f"find {resource.plural} '{name}'", cause)
        if len(found) > 1:
            places = [f"-n {one['metadata'].get('namespace')}" for one in found]
            raise AmbiguousTargetError(f"{resource.kind} '{name}'", places)
        return dict(found[0])

    async def _listed(
        self, resource: Resource, namespace: str, labels: str = "", fields: str = ""
    ) -> Sequence[Mapping[str, Any]]:
        try:
            return (await self._client.list(resource, namespace, labels, fields)).items
        except ClusterForbiddenError as error:
            if namespace:
                raise
            cause = "the controller may not look into all namespaces; name one: -n NAMESPACE"
            raise ClusterError(error.doing, cause) from error

    async def _owned(self, found: Mapping[str, Any]) -> list[Pod]:
        """The pods whose controller is an object, or (of a Deployment) its ReplicaSets."""
        about, spec = found["metadata"], found.get("spec") or {}
        namespace, owners = str(about.get("namespace")), {str(about.get("uid"))}
        labels = selector_text(spec.get("selector") or {})
        if found.get("kind") == resources.DEPLOYMENTS.kind:
            sets = await self._client.list(resources.REPLICA_SETS, namespace, labels)
            owners = {
                str(one["metadata"].get("uid")) for one in sets.items if owner_of(one)[2] in owners
            }
        pods = await self._client.list(resources.PODS, namespace, labels)
        return [Pod(one) for one in pods.items if owner_of(one)[2] in owners]


def selector_text(selector: Mapping[str, Any]) -> str:
    """A LabelSelector of an object as the query of a list has it. Pure."""
    terms = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or ():
        key, operator = expression.get("key"), expression.get("operator")
        values = ",".join(expression.get("values") or ())
        terms.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": f"{key}",
                "DoesNotExist": f"!{key}",
            }.get(str(operator), f"{key}")
        )
    return ",".join(terms)


def _where(namespace: str) -> str:
    return f" in namespace '{namespace}'" if namespace else ""


def _flag(namespace: str) -> str:
    return f" -n {namespace}" if namespace else " -A"
