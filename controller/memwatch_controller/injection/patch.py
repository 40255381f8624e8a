"""From a pod to the JSON patch (RFC 6902) that adds the agent to it. Pure, and harmless twice.

Only what is needed is touched, arrays are added to and never replaced, and a pod that has the
agent's names already is left as it is. What cannot be done is told, and the pod starts without it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from memwatch_controller.cluster.isolation_gate import CONDITION, LABEL, has_gate
from memwatch_controller.injection.parts import (
    AGENT,
    HOOKS,
    RUN,
    SPOOL,
    PodFacts,
    Settings,
    agent_container,
    hooks_container,
    volumes,
)
from memwatch_controller.injection.wishes import INJECTED, Wish

Pod = Mapping[str, Any]
Patch = list[dict[str, Any]]

#: Where the hooks lie in a service's container.
HOOKS_PATH = "/opt/memwatch-hooks"
RUN_PATH = "/run/memwatch"

NODE_OPTIONS = f"--require={HOOKS_PATH}/node/memwatch-hook.cjs"
PYTHONPATH = f"{HOOKS_PATH}/python/bootstrap:{HOOKS_PATH}/python"

_SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
_MIRROR = "kubernetes.io/config.mirror"


@dataclass(frozen=True)
class Plan:
    """What is done to a pod.

    Attributes:
        patch: the operations; none where nothing is done.
        refusal: why nothing is done though the pod asks; empty where it is done or there already.
        warnings: what could not be done of it, for the person who makes the pod.
    """

    patch: Patch = field(default_factory=list)
    refusal: str = ""
    warnings: tuple[str, ...] = ()


def plan(pod: Pod, wish: Wish, settings: Settings) -> Plan:
    """The patch of a pod that asks for the agent."""
    spec = pod.get("spec") or {}
    if has_agent(spec):
        return Plan()
    if refusal := obstacle(pod, wish):
        return Plan(refusal=refusal)
    chosen, _ = _chosen(pod, spec, wish)
    facts = _facts(pod, spec, chosen)
    warnings: list[str] = []
    patch = [
        *_volumes(spec, wish, settings),
        *_containers(spec, wish, settings, facts),
        *_services(spec, wish, chosen, facts, settings, warnings),
        *_pod(pod, spec, wish, settings, chosen),
        *_gate(pod, spec, wish, settings, warnings),
    ]
    if facts.user is None:
        warnings.append(
            "memwatch: the pod does not say which user its containers run as; the agent runs as "
            "its image's, and reaches a service only of the same user: set runAsUser"
        )
    return Plan(patch, "", tuple(warnings))


def obstacle(pod: Pod, wish: Wish) -> str:
    """Why a pod that asks for the agent cannot have it; empty where it can."""
    spec = pod.get("spec") or {}
    return _chosen(pod, spec, wish)[1] or _obstacle(pod, spec, wish)


def has_agent(spec: Mapping[str, Any]) -> bool:
    """Whether the pod has been patched, or somebody wrote an agent into it."""
    listed = [*_list(spec, "initContainers"), *_list(spec, "containers")]
    return any(container.get("name") in (AGENT, HOOKS) for container in listed)


def _chosen(pod: Pod, spec: Mapping[str, Any], wish: Wish) -> tuple[list[int], str]:
    """Indexes of the containers that are meant, and why there are none."""
    names = [str(container.get("name")) for container in _list(spec, "containers")]
    if not names:
        return [], "the pod has no containers"
    if wish.containers:
        missing = [name for name in wish.containers if name not in names]
        if missing:
            return [], f"there is no container {', '.join(missing)}; there is {', '.join(names)}"
        return [names.index(name) for name in wish.containers], ""
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    main = annotations.get(_DEFAULT_CONTAINER, names[0])
    return [names.index(main) if main in names else 0], ""


def _obstacle(pod: Pod, spec: Mapping[str, Any], wish: Wish) -> str:
    """Why a pod cannot have the agent; empty where it can."""
    if _MIRROR in ((pod.get("metadata") or {}).get("annotations") or {}):
        return "it mirrors a static pod, which only its node's files can change"
    if spec.get("hostNetwork"):
        return "it uses its node's network, where the agent's ports are taken by one pod only"
    if ((spec.get("os") or {}).get("name") or "linux") != "linux":
        return "it runs on another system than Linux"
    names = {str(volume.get("name")) for volume in _list(spec, "volumes")}
    taken = names & {HOOKS, RUN, SPOOL}
    if taken:
        return f"it has a volume of its own called {', '.join(sorted(taken))}"
    if not wish.hook and spec.get("shareProcessNamespace") is False:
        return "it forbids a shared process namespace, which attaching needs; preload the hook"
    return ""


def _facts(pod: Pod, spec: Mapping[str, Any], chosen: Sequence[int]) -> PodFacts:
    """What the agent's container has to match."""
    containers = _list(spec, "containers")
    pod_context = spec.get("securityContext") or {}
    own = containers[chosen[0]].get("securityContext") or {}
    labels = (pod.get("metadata") or {}).get("labels") or {}
    service = labels.get("app.kubernetes.io/name") or labels.get("app") or ""
    return PodFacts(
        user=own.get("runAsUser", pod_context.get("runAsUser")),
        group=own.get("runAsGroup", pod_context.get("runAsGroup")),
        service=str(service),
        labels={str(key): str(value) for key, value in labels.items()},
    )


def _volumes(spec: Mapping[str, Any], wish: Wish, settings: Settings) -> Iterator[dict[str, Any]]:
    if not _list(spec, "volumes"):
        yield _add("/spec/volumes", [])
    for volume in volumes(wish, settings):
        yield _add("/spec/volumes/-", volume)


def _containers(
    spec: Mapping[str, Any], wish: Wish, settings: Settings, facts: PodFacts
) -> Iterator[dict[str, Any]]:
    """The hooks before everything else, the agent right after them or among the containers."""
    first = [hooks_container(settings, facts)] if wish.hook else []
    agent = agent_container(wish, settings, facts)
    if settings.native_sidecar:
        first.append(agent)
    else:
        yield _add("/spec/containers/-", agent)
    if first and not _list(spec, "initContainers"):
        yield _add("/spec/initContainers", [])
    for number, container in enumerate(first):
        yield _add(f"/spec/initContainers/{number}", container)


def _services(
    spec: Mapping[str, Any],
    wish: Wish,
    chosen: Sequence[int],
    facts: PodFacts,
    settings: Settings,
    warnings: list[str],
) -> Iterator[dict[str, Any]]:
    """The hook in each container that is meant."""
    if not wish.hook:
        return
    for index in chosen:
        container = _list(spec, "containers")[index]
        path = f"/spec/containers/{index}"
        yield from _mounts(container, path)
        yield from _environment(container, path, _wanted(wish, facts), warnings)


def _wanted(wish: Wish, facts: PodFacts) -> Mapping[str, tuple[str, str]]:
    """By variable: what goes in front, and what joins it with what is there; "" keeps that."""
    wanted = {"MEMWATCH_HOOK_DIR": (RUN_PATH, "")}
    if facts.service:
        wanted["MEMWATCH_SERVICE_NAME"] = (facts.service, "")
    if wish.runtime in ("auto", "node"):
        wanted["NODE_OPTIONS"] = (NODE_OPTIONS, " ")
    if wish.runtime in ("auto", "python"):
        wanted["PYTHONPATH"] = (PYTHONPATH, ":")
    return wanted


def _mounts(container: Mapping[str, Any], path: str) -> Iterator[dict[str, Any]]:
    if not _list(container, "volumeMounts"):
        yield _add(f"{path}/volumeMounts", [])
    hooks = {"name": HOOKS, "mountPath": HOOKS_PATH, "readOnly": True}
    yield _add(f"{path}/volumeMounts/-", hooks)
    yield _add(f"{path}/volumeMounts/-", {"name": RUN, "mountPath": RUN_PATH})


def _environment(
    container: Mapping[str, Any],
    path: str,
    wanted: Mapping[str, tuple[str, str]],
    warnings: list[str],
) -> Iterator[dict[str, Any]]:
    there = _list(container, "env")
    if not there:
        yield _add(f"{path}/env", [])
    names = [variable.get("name") for variable in there]
    for name, (value, joint) in wanted.items():
        if name not in names:
            yield _add(f"{path}/env/-", {"name": name, "value": value})
            continue
        index = len(names) - 1 - names[::-1].index(name)  # the last one of a name counts
        if "valueFrom" in there[index]:
            warnings.append(
                f"memwatch: {name} of container {container.get('name')} comes from elsewhere "
                f"(valueFrom); add {value} to it there, or the hook is not loaded"
            )
        elif joint:
            old = str(there[index].get("value") or "")
            joined = f"{value}{joint}{old}" if old else value
            yield {"op": "add", "path": f"{path}/env/{index}/value", "value": joined}


def _pod(
    pod: Pod, spec: Mapping[str, Any], wish: Wish, settings: Settings, chosen: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """What is said of the pod as a whole."""
    if not wish.hook and not spec.get("shareProcessNamespace"):
        yield _add("/spec/shareProcessNamespace", True)
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    ours = ",".join(volume["name"] for volume in volumes(wish, settings))
    evicted = annotations.get(_SAFE_TO_EVICT)
    yield _annotate(INJECTED, settings.version)
    yield _annotate(_SAFE_TO_EVICT, f"{evicted},{ours}" if evicted else ours)
    if not settings.native_sidecar and _DEFAULT_CONTAINER not in annotations:
        yield _annotate(_DEFAULT_CONTAINER, _list(spec, "containers")[chosen[0]]["name"])


def _gate(
    pod: Pod, spec: Mapping[str, Any], wish: Wish, settings: Settings, warnings: list[str]
) -> Iterator[dict[str, Any]]:
    """The readiness gate, and the label by which those who look after it find the pod."""
    if not wish.gate:
        return
    if not settings.gates:
        warnings.append(
            "memwatch: readiness gates are switched off in this cluster's webhook; the pod starts "
            "without, and cannot be isolated by readiness"
        )
        return
    if not has_gate(pod):
        if not _list(spec, "readinessGates"):
            yield _add("/spec/readinessGates", [])
        yield _add("/spec/readinessGates/-", {"conditionType": CONDITION})
    if not (pod.get("metadata") or {}).get("labels"):
        yield _add("/metadata/labels", {})
    yield _add(f"/metadata/labels/{LABEL.replace('/', '~1')}", "true")


def _annotate(name: str, value: str) -> dict[str, Any]:
    escaped = name.replace("~", "~0").replace("/", "~1")
    return _add(f"/metadata/annotations/{escaped}", value)


def _add(path: str, value: Any) -> dict[str, Any]:
    return {"op": "add", "path": path, "value": value}


def _list(holder: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    return holder.get(name) or []
