"""The containers and volumes that are added to a pod. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from memwatch_controller.injection.wishes import Wish

AGENT = "memwatch-agent"
HOOKS = "memwatch-hooks"
RUN = "memwatch-run"
SPOOL = "memwatch-spool"

STATE_DIR = "/var/lib/memwatch"

GRPC_PORT = 9465
METRICS_PORT = 9464

#: The hooks for all interpreters take a tenth of it.
HOOKS_SIZE = "64Mi"
#: Heap dumps of Python services on their way to the agent, besides the sockets.
RUN_SIZE = "2Gi"

#: A label's value is no secret, but a thousand labels are no environment variable.
MAX_LABELS = 20


@dataclass(frozen=True)
class Settings:
    """What the cluster's administrator chose.

    Attributes:
        version: memwatch's, written into the pod.
        agent_image, init_image, pull_policy: what is added.
        controller: the address that agents register with.
        token_secret, token_key: the secret of the pod's own namespace that holds the token.
        native_sidecar: whether the server has sidecar containers (Kubernetes 1.29 and later).
        requests, limits: the agent's usual resources.
        spool_size: room for snapshots on their way.
        fallback_user: the uid where a pod names none; None: the image's.
        gates: whether pods may have a readiness gate, which this webhook then looks after.
    """

    version: str
    agent_image: str
    init_image: str
    controller: str
    pull_policy: str = "IfNotPresent"
    token_secret: str = "memwatch-token"
    token_key: str = "token"
    native_sidecar: bool = True
    requests: Mapping[str, str] = field(default_factory=lambda: {"cpu": "10m", "memory": "96Mi"})
    limits: Mapping[str, str] = field(default_factory=lambda: {"memory": "256Mi"})
    spool_size: str = "4Gi"
    fallback_user: int | None = None
    gates: bool = False


@dataclass(frozen=True)
class PodFacts:
    """What the added containers have to match: the service's user, and what it is called."""

    user: int | None
    group: int | None
    service: str
    labels: Mapping[str, str]


def volumes(wish: Wish, settings: Settings) -> list[dict[str, Any]]:
    """The volumes that are added, each with a limit."""
    spool = wish.resources.get("spool", {}).get("size", settings.spool_size)
    sizes = {SPOOL: spool}
    if wish.hook:
        sizes = {HOOKS: HOOKS_SIZE, RUN: RUN_SIZE, SPOOL: spool}
    return [{"name": name, "emptyDir": {"sizeLimit": size}} for name, size in sizes.items()]


def hooks_container(settings: Settings, facts: PodFacts) -> dict[str, Any]:
    """The init container that copies the hooks into their volume."""
    return {
        "name": HOOKS,
        "image": settings.init_image,
        "imagePullPolicy": settings.pull_policy,
        "args": ["/hooks"],
        "volumeMounts": [{"name": HOOKS, "mountPath": "/hooks"}],
        "resources": {
            "requests": {"cpu": "10m", "memory": "32Mi"},
            "limits": {"memory": "128Mi"},
        },
        "securityContext": _restricted(settings, facts),
    }


def agent_container(wish: Wish, settings: Settings, facts: PodFacts) -> dict[str, Any]:
    """The agent: a sidecar that neither delays nor fails the service."""
    mounts = [{"name": SPOOL, "mountPath": STATE_DIR}]
    if wish.hook:
        mounts.append({"name": RUN, "mountPath": "/run/memwatch"})
    container: dict[str, Any] = {
        "name": AGENT,
        "image": settings.agent_image,
        "imagePullPolicy": settings.pull_policy,
        "args": ["--stay"],
        "env": _environment(settings, facts),
        "ports": [
            {"name": "memwatch-grpc", "containerPort": GRPC_PORT},
            {"name": "memwatch-http", "containerPort": METRICS_PORT},
        ],
        "volumeMounts": mounts,
        "resources": {
            "requests": {**settings.requests, **wish.resources.get("requests", {})},
            "limits": {**settings.limits, **wish.resources.get("limits", {})},
        },
        "securityContext": _restricted(settings, facts),
    }
    if settings.native_sidecar:
        container["restartPolicy"] = "Always"
        # The service waits for it, so it says yes after a few seconds whatever happens; and no
        # readiness probe, which would take the service out of rotation with the agent.
        container["startupProbe"] = {
            "exec": {"command": ["/opt/memwatch/bin/python", "-m", "memwatch_agent.started"]},
            "periodSeconds": 1,
            "timeoutSeconds": 5,
            "failureThreshold": 120,
        }
    return container


def place_fields() -> list[dict[str, Any]]:
    """The environment that tells an agent its pod and node; also of one that is attached."""
    fields = {
        "POD_NAME": "metadata.name",
        "POD_NAMESPACE": "metadata.namespace",
        "POD_UID": "metadata.uid",
        "POD_IP": "status.podIP",
        "NODE_NAME": "spec.nodeName",
    }
    return [
        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
        for name, path in fields.items()
    ]


def _environment(settings: Settings, facts: PodFacts) -> list[dict[str, Any]]:
    told = place_fields()
    values = {
        "MEMWATCH_AGENT_LISTEN": f"0.0.0.0:{GRPC_PORT}",
        "MEMWATCH_AGENT_ADVERTISE": f"$(POD_IP):{GRPC_PORT}",
        "MEMWATCH_AGENT_METRICS_LISTEN": f"0.0.0.0:{METRICS_PORT}",
        "MEMWATCH_AGENT_CONTROLLER": settings.controller,
        "MEMWATCH_AGENT_STATE_DIR": f"{STATE_DIR}/agent",
        "MEMWATCH_AGENT_LABELS": labels_text(facts.labels),
        "MEMWATCH_HOOK_DIR": "/run/memwatch",
        "MEMWATCH_SERVICE_NAME": facts.service,
    }
    told += [{"name": name, "value": value} for name, value in values.items() if value]
    secret = {"name": settings.token_secret, "key": settings.token_key, "optional": True}
    return [*told, {"name": "MEMWATCH_TOKEN", "valueFrom": {"secretKeyRef": secret}}]


def labels_text(labels: Mapping[str, str]) -> str:
    """Labels as the agent takes them; those that a comma or an equals sign would break are left."""
    plain = [
        f"{key}={value}"
        for key, value in sorted(labels.items())
        if not set(key + value) & set(",=") and "$(" not in value
    ]
    return ",".join(plain[:MAX_LABELS])


def _restricted(settings: Settings, facts: PodFacts) -> dict[str, Any]:
    """What the restricted Pod Security Standard asks for, and the service's user."""
    user = facts.user if facts.user is not None else settings.fallback_user
    context: dict[str, Any] = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
        "runAsNonRoot": user != 0,
    }
    if user is not None:
        context["runAsUser"] = user
    if facts.group is not None:
        context["runAsGroup"] = facts.group
    return context
