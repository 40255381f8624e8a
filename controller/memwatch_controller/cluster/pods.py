"""What memwatch reads of a pod: ten facts out of an object of the API. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from memwatch_controller.model import Millis

#: Containers of ours in somebody's pod; their probes and processes are nobody's service.
OURS = ("memwatch-agent", "memwatch-hooks", "memwatch-attached")

_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


@dataclass(frozen=True)
class Pod:
    """A pod as the API server has it.

    Attributes:
        object: the whole of it.
    """

    object: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its name."""
        return str(self._about.get("name") or "")

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return str(self._about.get("namespace") or "")

    @property
    def uid(self) -> str:
        """Its uid: a successor of the same name has another."""
        return str(self._about.get("uid") or "")

    @property
    def created(self) -> Millis:
        """When it was created; 0 where that cannot be read."""
        return time_of(str(self._about.get("creationTimestamp") or ""))

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""
        return self._about.get("labels") or {}

    @property
    def annotations(self) -> Mapping[str, str]:
        """Its annotations."""
        return self._about.get("annotations") or {}

    @property
    def is_running(self) -> bool:
        """Whether its containers run, and it is not being ended."""
        phase = (self.object.get("status") or {}).get("phase")
        return phase == "Running" and "deletionTimestamp" not in self._about

    @property
    def spec(self) -> Mapping[str, Any]:
        """What it is to be."""
        return self.object.get("spec") or {}

    @property
    def owner(self) -> tuple[str, str, str]:
        """Kind, name and uid of its controller; empty where it has none."""
        return owner_of(self.object)

    @property
    def services(self) -> Sequence[Mapping[str, Any]]:
        """Its containers that are not ours, and run for as long as the pod does."""
        sidecars = [
            container
            for container in self.spec.get("initContainers") or ()
            if container.get("restartPolicy") == "Always"
        ]
        found = [*(self.spec.get("containers") or ()), *sidecars]
        return [container for container in found if container.get("name") not in OURS]

    @property
    def main_container(self) -> str:
        """The container that is meant where none is named."""
        names = [str(container.get("name")) for container in self.services]
        named = self.annotations.get(_DEFAULT_CONTAINER, "")
        return named if named in names else next(iter(names), "")

    def container_of(self, container_id: str) -> str:
        """Name of the container with an id as agents tell it; empty where none has it."""
        for status in self._statuses():
            if container_id and _bare(status) == container_id:
                return str(status.get("name") or "")
        return ""

    def container_id(self, name: str) -> str:
        """The id of a container as agents tell it; empty where it has not started."""
        found = (_bare(status) for status in self._statuses() if status.get("name") == name)
        return next(found, "")

    def _statuses(self) -> Iterator[Mapping[str, Any]]:
        status = self.object.get("status") or {}
        for name in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
            yield from status.get(name) or ()

    @property
    def _about(self) -> Mapping[str, Any]:
        return self.object.get("metadata") or {}


def owner_of(found: Mapping[str, Any]) -> tuple[str, str, str]:
    """Kind, name and uid of an object's controller; empty where it has none."""
    for owner in (found.get("metadata") or {}).get("ownerReferences") or ():
        if owner.get("controller"):
            return str(owner.get("kind")), str(owner.get("name")), str(owner.get("uid"))
    return "", "", ""


def time_of(text: str) -> Millis:
    """A time of the API (RFC 3339); 0 where it is none."""
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        return 0


def _bare(status: Mapping[str, Any]) -> str:
    """`containerd://4f5e…` without the runtime's name."""
    return str(status.get("containerID") or "").rpartition("//")[2]
