"""Which container and which pod a process belongs to, from the text of its /proc files. Pure."""

import re
from dataclasses import dataclass

# Docker, containerd, CRI-O and podman end a cgroup's path with 64 hex digits, bare or between a
# prefix and ".scope". ECS on Fargate writes 32 and a counter.
_CONTAINER = re.compile(
    r"(?:^|[/:-])(?P<id>[0-9a-f]{64}|[0-9a-f]{32}-\d{6,12})(?:\.scope)?(?=$|/)", re.MULTILINE
)
_MONITOR = re.compile(r"(?:crio|libpod)-conmon-[0-9a-f]{64}(?:\.scope)?")
_UUID = r"[0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}"
_POD = re.compile(rf"pod(?P<uid>{_UUID}|[0-9a-f]{{32}})(?:\.slice)?(?=$|[/:])", re.MULTILINE)

# In a cgroup namespace of its own a process's path says nothing, but the files that the engine
# mounts into a container still name both.
_CONTAINER_MOUNT = re.compile(r"/(?:containers|overlay-containers)/(?P<id>[0-9a-f]{64})/")
_POD_MOUNT = re.compile(rf"/pods/(?P<uid>{_UUID})/")


@dataclass(frozen=True)
class Container:
    """Where a process runs; both are empty outside containers and pods."""

    container_id: str = ""
    pod_uid: str = ""


def container_of(cgroup: str, mountinfo: str = "") -> Container:
    """The container of a process, by its `cgroup` file and, failing that, its `mountinfo`."""
    cgroup = _MONITOR.sub("", cgroup)
    ids = [match["id"] for match in _CONTAINER.finditer(cgroup)]
    pod = _POD.search(cgroup) or _POD_MOUNT.search(mountinfo)
    if not ids and (mounted := _CONTAINER_MOUNT.search(mountinfo)):
        ids = [mounted["id"]]
    return Container(ids[-1] if ids else "", pod["uid"].replace("_", "-") if pod else "")
