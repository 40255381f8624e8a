"""What a pod asks for by its annotations. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PREFIX = "memwatch.dev/"
INJECT = f"{PREFIX}inject"
CONTAINERS = f"{PREFIX}containers"
RUNTIME = f"{PREFIX}runtime"
HOOK = f"{PREFIX}hook"
RESOURCES = f"{PREFIX}resources-"
ISOLATE = f"{PREFIX}isolate"

#: What the webhook writes; its presence means that a pod has been through it.
INJECTED = f"{PREFIX}injected"

RUNTIMES = ("auto", "node", "python")

_TRUE = ("true", "yes", "on", "1", "enabled")
_FALSE = ("false", "no", "off", "0", "disabled")
_QUANTITY = re.compile(r"\d{1,12}(\.\d{1,3})?(m|k|Ki|M|Mi|G|Gi|T|Ti)?")

#: By annotation: where in the agent's resources it goes; `spool` sizes its volume.
_RESOURCES: Mapping[str, tuple[str, str]] = {
    "cpu-request": ("requests", "cpu"),
    "cpu-limit": ("limits", "cpu"),
    "memory-request": ("requests", "memory"),
    "memory-limit": ("limits", "memory"),
    "spool": ("spool", "size"),
}


class WishError(ValueError):
    """An annotation that cannot be followed.

    Attributes:
        annotation, value: which, and what it says.
        cause: why not, with the next step.
    """

    def __init__(self, annotation: str, value: str, cause: str) -> None:
        super().__init__(annotation, value, cause)
        self.annotation = annotation
        self.value = value
        self.cause = cause

    def __str__(self) -> str:
        return f"cannot follow annotation {self.annotation} '{self.value[:80]}': {self.cause}"


@dataclass(frozen=True)
class Wish:
    """What is to be added.

    Attributes:
        containers: names of the containers whose services are captured; empty: the main one.
        runtime: whose hook is loaded: `node`, `python`, or `auto` for both.
        hook: whether the hook is preloaded; else the agent attaches, and the pod's containers
            share a process namespace for that.
        resources: changes of the agent's resources: `requests`, `limits`, `spool`.
        gate: whether the pod gets a readiness gate, to be taken out of its service by.
    """

    containers: tuple[str, ...] = ()
    runtime: str = "auto"
    hook: bool = True
    resources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    gate: bool = False


def wish_of(pod: Mapping[str, Any]) -> Wish | None:
    """What a pod asks for; None where it asks for nothing.

    Raises:
        WishError: it asks for something that does not exist.
    """
    annotations = _annotations(pod)
    if not _flag(annotations, INJECT, default=False):
        return None
    runtime = annotations.get(RUNTIME, "auto").strip().lower()
    if runtime not in RUNTIMES:
        raise WishError(RUNTIME, runtime, f"it is none of {', '.join(RUNTIMES)}")
    named = [name.strip() for name in annotations.get(CONTAINERS, "").split(",")]
    return Wish(
        containers=tuple(dict.fromkeys(name for name in named if name)),
        runtime=runtime,
        hook=_flag(annotations, HOOK, default=True),
        resources=_resources(annotations),
        gate=_gate(annotations),
    )


def _gate(annotations: Mapping[str, str]) -> bool:
    wished = annotations.get(ISOLATE, "").strip().lower()
    if wished not in ("", "readiness"):
        raise WishError(ISOLATE, wished, 'write "readiness", or leave it out')
    return bool(wished)


def _annotations(pod: Mapping[str, Any]) -> Mapping[str, str]:
    found = (pod.get("metadata") or {}).get("annotations") or {}
    return {str(key): str(value) for key, value in found.items()}


def _flag(annotations: Mapping[str, str], name: str, *, default: bool) -> bool:
    if name not in annotations:
        return default
    value = annotations[name].strip().lower()
    if value not in _TRUE + _FALSE:
        raise WishError(name, annotations[name], 'write "true" or "false"')
    return value in _TRUE


def _resources(annotations: Mapping[str, str]) -> Mapping[str, Mapping[str, str]]:
    changes: dict[str, dict[str, str]] = {}
    for name, value in annotations.items():
        if not name.startswith(RESOURCES):
            continue
        place = _RESOURCES.get(name.removeprefix(RESOURCES))
        if place is None:
            known = ", ".join(RESOURCES + key for key in _RESOURCES)
            raise WishError(name, value, f"there is no such annotation; there are {known}")
        if not _QUANTITY.fullmatch(value.strip()):
            raise WishError(name, value, "it is no quantity; write for example 100m or 128Mi")
        changes.setdefault(place[0], {})[place[1]] = value.strip()
    return changes
