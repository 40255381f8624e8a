"""The restricted Pod Security Standard, and what we ask of our own pods besides: a checker."""

from collections.abc import Iterator, Mapping
from typing import Any

_VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim"),
    *("projected", "secret"),
}
_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")


def violations(spec: Mapping[str, Any], names: str = "") -> list[str]:
    """What a pod's spec has against the standard; of containers whose names begin so, for one."""
    pod = spec.get("securityContext") or {}
    found = [] if names else list(_of_pod(spec))
    for where in _CONTAINERS:
        for container in spec.get(where) or []:
            if container["name"].startswith(names):
                found += [f"{container['name']}: {what}" for what in _of(container, pod)]
    return found


def _of_pod(spec: Mapping[str, Any]) -> Iterator[str]:
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(key):
            yield key
    for volume in spec.get("volumes") or []:
        kinds = set(volume) - {"name"}
        if not kinds <= _VOLUMES:
            yield f"volume {volume['name']} of kind {kinds}"
        if "emptyDir" in kinds and "sizeLimit" not in (volume["emptyDir"] or {}):
            yield f"volume {volume['name']} without a limit"
    if (spec.get("securityContext") or {}).get("sysctls"):
        yield "sysctls"


def _of(container: Mapping[str, Any], pod: Mapping[str, Any]) -> Iterator[str]:
    own = container.get("securityContext") or {}

    def told(key: str) -> Any:
        return own.get(key, pod.get(key))

    if own.get("allowPrivilegeEscalation") is not False:
        yield "may escalate its privileges"
    if own.get("privileged"):
        yield "privileged"
    capabilities = own.get("capabilities") or {}
    if capabilities.get("drop") != ["ALL"] or capabilities.get("add"):
        yield f"capabilities {capabilities}"
    if told("runAsNonRoot") is not True or told("runAsUser") == 0:
        yield "may run as root"
    if (told("seccompProfile") or {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "no seccomp profile"
    if any("hostPort" in port for port in container.get("ports") or []):
        yield "a port of the host"
    # Ours, besides the standard.
    if own.get("readOnlyRootFilesystem") is not True:
        yield "its root can be written"
    if not ((container.get("resources") or {}).get("limits") or {}).get("memory"):
        yield "no limit of memory"
