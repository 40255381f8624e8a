"""The ephemeral container that brings an agent into a running pod. Pure.

Kubernetes allows it less than a container of the pod: no resources, no ports, no probes, no
volumes of its own. So its memory is taken from the pod's, and its spool lies on its own writable
layer, unless the pod has a spool for it already.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memwatch_controller.cluster.pods import Pod
from memwatch_controller.errors import ControllerError
from memwatch_controller.injection.parts import (
    AGENT,
    RUN,
    SPOOL,
    STATE_DIR,
    labels_text,
    place_fields,
)

#: Names of our ephemeral containers begin so; a number follows, for a name is never free again.
PREFIX = "memwatch-attached"

#: The first port that an attached agent listens on: another than a sidecar's.
FIRST_PORT = 9475
PORTS = 20

#: The most of a node's disk that a spool may take …
SPOOL_BYTES = 2 * 1024**3
#: … and of what the pod's containers may write before the kubelet evicts it.
SPOOL_SHARE = 4

RUN_PATH = "/run/memwatch"

DEFAULT_KEEP_MILLIS = 3600_000
MAX_KEEP_MILLIS = 7 * 24 * 3600_000

_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)\s*([kKMGTPE]i?|m)?")
_UNITS = {"": 1.0, "m": 0.001, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
_UNITS |= {f"{letter}i": 1024.0**power for power, letter in enumerate("KMGTPE", 1)}


class CannotAttachError(ControllerError):
    """No agent can be put into a pod.

    Attributes:
        pod, namespace: which. cause: why, with the next step.
    """

    reason = "CANNOT_ATTACH"

    def __init__(self, pod: str, namespace: str, cause: str) -> None:
        self.pod = pod
        self.namespace = namespace
        self.cause = cause

    @property
    def facts(self) -> Mapping[str, str]:
        """The pod."""
        return {"pod": self.pod, "namespace": self.namespace}

    def __str__(self) -> str:
        return (
            f"cannot attach an agent to pod '{self.pod}' in namespace '{self.namespace}': "
            f"{self.cause}"
        )


@dataclass(frozen=True)
class Attaching:
    """What an attached agent is like, as the administrator chose.

    Attributes:
        image: the agent's; empty: attaching is switched off.
        controller: this controller's address, as pods reach it.
        token_secret, token_key: the secret of the pod's namespace that holds the token.
    """

    image: str = ""
    pull_policy: str = "IfNotPresent"
    controller: str = ""
    token_secret: str = "memwatch-token"
    token_key: str = "token"


@dataclass(frozen=True)
class Wish:
    """What somebody asks for.

    Attributes:
        container: name of the pod's container; empty: the main one.
        user: the uid to run as; None: what the pod says.
        keep_millis: how long the agent lives at most.
    """

    container: str = ""
    user: int | None = None
    keep_millis: int = DEFAULT_KEEP_MILLIS


@dataclass(frozen=True)
class Plan:
    """What is done to a pod: one more ephemeral container, and what to know about it."""

    container: Mapping[str, Any]
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """The ephemeral container's name."""
        return str(self.container["name"])

    @property
    def patch(self) -> dict[str, Any]:
        """The strategic merge patch of `pods/ephemeralcontainers`."""
        return {"spec": {"ephemeralContainers": [dict(self.container)]}}


def plan(pod: Pod, wish: Wish, settings: Attaching) -> Plan:
    """The ephemeral container of a pod.

    Raises:
        CannotAttachError: the pod does not run, or has no such container.
    """
    target = _target(pod, wish)
    name = _free_name(pod)
    number = int(name.rpartition("-")[2])
    mounts = _mounts(pod)
    notes = [] if SPOOL in mounts else [_SPOOL_NOTE]
    notes.append(_memory_note(pod))
    context = _security(pod, target, wish)
    if "runAsUser" not in context:
        notes.append(
            "the pod does not say which user its containers run as, so the agent runs as its "
            "image's; if it sees its process and may not enter it, say which: --user UID"
        )
    container: dict[str, Any] = {
        "name": name,
        "image": settings.image,
        "imagePullPolicy": settings.pull_policy,
        "targetContainerName": str(target["name"]),
        "args": [f"--end-after={wish.keep_millis // 1000}"],
        "env": _environment(pod, target, settings, number, _spool_bytes(pod)),
        "securityContext": context,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if mounts:
        container["volumeMounts"] = [
            {"name": volume, "mountPath": path} for volume, path in mounts.items()
        ]
    return Plan(container, tuple(notes))


_SPOOL_NOTE = (
    f"its spool lies on its own writable layer ({STATE_DIR}), for ephemeral containers cannot "
    "bring a volume: it is lost with the pod, and counts to the pod's ephemeral storage"
)


def _memory_note(pod: Pod) -> str:
    limits = [(c.get("resources") or {}).get("limits") or {} for c in pod.services]
    if all("memory" in limit for limit in limits):
        return "ephemeral containers have no limits: its 60 to 100 MiB count to the pod's memory"
    return "ephemeral containers have no limits: its 60 to 100 MiB are the node's"


def _target(pod: Pod, wish: Wish) -> Mapping[str, Any]:
    if not pod.is_running:
        phase = (pod.object.get("status") or {}).get("phase") or "unknown"
        ending = "it is being ended" if phase == "Running" else f"its phase is {phase}"
        raise CannotAttachError(pod.name, pod.namespace, f"{ending}; choose one that runs")
    if "kubernetes.io/config.mirror" in pod.annotations:
        cause = "it mirrors a static pod, which takes no ephemeral containers"
        raise CannotAttachError(pod.name, pod.namespace, cause)
    named = wish.container or pod.main_container
    for container in pod.services:
        if container.get("name") == named:
            return container
    known = ", ".join(str(container.get("name")) for container in pod.services)
    cause = f"it has no container '{named}'; there is {known}: pass -c"
    raise CannotAttachError(pod.name, pod.namespace, cause)


def attached_names(pod: Pod, target: str = "") -> Sequence[str]:
    """The names of our ephemeral containers in a pod (beside one container), ended ones too."""
    names = (
        str(one.get("name"))
        for one in pod.spec.get("ephemeralContainers") or ()
        if not target or one.get("targetContainerName") == target
    )
    return [name for name in names if re.fullmatch(rf"{PREFIX}-\d+", name)]


def _free_name(pod: Pod) -> str:
    numbers = [int(name.rpartition("-")[2]) for name in attached_names(pod)]
    return f"{PREFIX}-{max(numbers, default=0) + 1}"


def _mounts(pod: Pod) -> Mapping[str, str]:
    """The injected volumes that the pod has: the hooks' sockets, and a spool."""
    names = {str(volume.get("name")) for volume in pod.spec.get("volumes") or ()}
    ours = {RUN: RUN_PATH, SPOOL: STATE_DIR}
    return {name: path for name, path in ours.items() if name in names}


def has_agent(pod: Pod) -> bool:
    """Whether the pod has the sidecar."""
    found = [*(pod.spec.get("containers") or ()), *(pod.spec.get("initContainers") or ())]
    return any(container.get("name") == AGENT for container in found)


def _security(pod: Pod, target: Mapping[str, Any], wish: Wish) -> dict[str, Any]:
    """What the restricted Pod Security Standard asks for, and the service's user and group."""
    whole, own = pod.spec.get("securityContext") or {}, target.get("securityContext") or {}
    user = own.get("runAsUser", whole.get("runAsUser")) if wish.user is None else wish.user
    group = own.get("runAsGroup", whole.get("runAsGroup"))
    context: dict[str, Any] = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
        "runAsNonRoot": user != 0,
    }
    if user is not None:
        context["runAsUser"] = user
    if group is not None:
        context["runAsGroup"] = group
    return context


def _environment(
    pod: Pod, target: Mapping[str, Any], settings: Attaching, number: int, spool_bytes: int
) -> list[dict[str, Any]]:
    port = FIRST_PORT + (number - 1) % PORTS
    told = place_fields()
    service = pod.labels.get("app.kubernetes.io/name") or pod.labels.get("app") or ""
    values = {
        "MEMWATCH_AGENT_LISTEN": f"0.0.0.0:{port}",
        "MEMWATCH_AGENT_ADVERTISE": f"$(POD_IP):{port}",
        "MEMWATCH_AGENT_METRICS_LISTEN": "off",
        "MEMWATCH_AGENT_CONTROLLER": settings.controller,
        "MEMWATCH_AGENT_STATE_DIR": f"{STATE_DIR}/attached-{number}",
        "MEMWATCH_AGENT_LABELS": labels_text(pod.labels),
        "MEMWATCH_AGENT_SPOOL_QUOTA": str(spool_bytes),
        "MEMWATCH_SERVICE_NAME": service or str(target["name"]),
    }
    if RUN in _mounts(pod):
        values["MEMWATCH_HOOK_DIR"] = RUN_PATH
    told += [{"name": name, "value": value} for name, value in values.items() if value]
    secret = {"name": settings.token_secret, "key": settings.token_key}
    return [*told, {"name": "MEMWATCH_TOKEN", "valueFrom": {"secretKeyRef": secret}}]


def _spool_bytes(pod: Pod) -> int:
    """Room for snapshots: a quarter of what the pod may write, for more gets it evicted."""
    if SPOOL in _mounts(pod):
        for volume in pod.spec.get("volumes") or ():
            size = (volume.get("emptyDir") or {}).get("sizeLimit")
            if volume.get("name") == SPOOL and size:
                return min(SPOOL_BYTES, round(bytes_of(str(size)) / 2))
    limits = [
        bytes_of(str(limit))
        for container in pod.services
        if (limit := ((container.get("resources") or {}).get("limits") or {}).get(_DISK))
    ]
    return min(SPOOL_BYTES, round(sum(limits) / SPOOL_SHARE)) if limits else SPOOL_BYTES


_DISK = "ephemeral-storage"


def bytes_of(quantity: str) -> float:
    """Bytes of a quantity such as `512Mi`; 0 where it is none."""
    match = _QUANTITY.fullmatch(quantity.strip())
    return float(match[1]) * _UNITS[match[2] or ""] if match else 0.0


def obstacle(pod: Pod, name: str) -> str:
    """Why an ephemeral container of a pod will not run; empty while it may still come. Pure."""
    for status in (pod.object.get("status") or {}).get("ephemeralContainerStatuses") or ():
        if status.get("name") != name:
            continue
        state = status.get("state") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated")
        if str(waiting.get("reason")) in _HOPELESS:
            return _WORDS.format(waiting.get("reason"), str(waiting.get("message") or "")[:300])
        if ended:
            told = str(ended.get("message") or ended.get("reason") or "").strip()[-300:]
            return f"the agent ended at once with exit code {ended.get('exitCode')}: {told}"
    return ""


_HOPELESS = (
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
)
_WORDS = (
    "its kubelet cannot start the agent ({}: {}); see the image and its pull policy "
    "(--attach-image), and whether the namespace has the token's secret (--attach-token-secret)"
)
