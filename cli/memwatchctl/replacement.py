"""Whether a container can be replaced for a while without anybody noticing, and by what. Pure.

Everything is decided from what the engine tells of the container: what the replacement is made
with, by which names it is called, and the reasons why it must not be tried. Decision 0055.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memwatchctl.errors import CliError, ExitCode
from memwatchctl.text import printable

#: Names that only mean "the engine's own network", where no names resolve.
_NO_NAMES = ("default", "bridge")

#: Labels by which a tool finds what it started: a copy of them would make it count twice.
_TOOLS_LABELS = ("com.docker.compose.", "com.docker.stack.", "com.docker.swarm.")

#: From this version of the engine's API on a container's hostname is one of its names.
_HOSTNAME_RESOLVES = (1, 44)

_ANONYMOUS = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Endpoint:
    """A container's place in one network.

    Attributes:
        network: the network's name.
        aliases: what it is called there, besides its own name.
        address, address6: what it must keep while it is disconnected for a moment.
        fixed: whether the address was set by hand.
    """

    network: str
    aliases: tuple[str, ...]
    address: str = ""
    address6: str = ""
    fixed: bool = False


@dataclass(frozen=True)
class Wish:
    """What the user allows.

    Attributes:
        share_volumes: two containers may write to its volumes at the same time.
        allow_cut: connections may be cut where a network cannot keep an address.
    """

    share_volumes: bool = False
    allow_cut: bool = False


class IsolationError(CliError):
    """A container that cannot be replaced without harm.

    Attributes:
        name: which.
        reasons: why, one for each thing in the way.
    """

    code = ExitCode.REFUSED

    def __init__(self, name: str, reasons: Sequence[str]) -> None:
        super().__init__(name, tuple(reasons))
        self.name = name
        self.reasons = tuple(reasons)

    def __str__(self) -> str:
        return f"cannot replace container '{printable(self.name)}': {'; '.join(self.reasons)}"


def name_of(container: Mapping[str, Any]) -> str:
    """A container's name without the engine's slash."""
    return str(container["Name"]).removeprefix("/")


def endpoints(
    container: Mapping[str, Any], kept: Mapping[str, str] | None = None
) -> tuple[Endpoint, ...]:
    """Where a container is; `kept` has the addresses that an earlier replacement fixed."""
    places = container["NetworkSettings"]["Networks"] or {}
    return tuple(_endpoint(container, name, places[name], kept or {}) for name in sorted(places))


def _endpoint(
    container: Mapping[str, Any], network: str, place: Mapping[str, Any], kept: Mapping[str, str]
) -> Endpoint:
    short_id = str(container["Id"])[:12]
    aliases = tuple(a for a in place.get("Aliases") or () if a != short_id)
    fixed = (place.get("IPAMConfig") or {}).get("IPv4Address") or ""
    address = str(place.get("IPAddress") or "")
    return Endpoint(
        network,
        aliases,
        address,
        str(place.get("GlobalIPv6Address") or ""),
        bool(fixed) and fixed != kept.get(network),
    )


def check(
    container: Mapping[str, Any],
    networks: Mapping[str, Mapping[str, Any]],
    neighbours: Sequence[str],
    places: Sequence[Endpoint],
    wish: Wish,
    api_version: str,
) -> None:
    """Sees that a replacement can take over.

    `networks` are the engine's own documents by name, `neighbours` the containers that share
    its network.

    Raises:
        IsolationError: with every reason why not.
    """
    reasons = [
        *_network_reasons(container, networks, neighbours, places, api_version),
        *([] if wish.share_volumes else _volume_reasons(container)),
        *_manager_reasons(container),
    ]
    if reasons:
        raise IsolationError(name_of(container), reasons)


def _network_reasons(
    container: Mapping[str, Any],
    networks: Mapping[str, Mapping[str, Any]],
    neighbours: Sequence[str],
    places: Sequence[Endpoint],
    api_version: str,
) -> list[str]:
    host = container["HostConfig"]
    mode = str(host.get("NetworkMode") or "default")
    if mode in ("host", "none") or mode.startswith("container:"):
        return [f"its network is '{printable(mode)}', where two cannot have the same name"]
    if mode in _NO_NAMES:
        return [
            "its network is the engine's default bridge, where callers know it by its address; "
            "give service and callers a network of their own (docker network create)"
        ]
    found = [
        f"network '{printable(place.network)}' is of driver '{driver}', and only 'bridge' is known"
        for place in places
        if (driver := networks[place.network].get("Driver")) != "bridge"
    ]
    found += _address_reasons(container, places)
    ports = _published(container)
    if ports:
        found.append(
            f"it publishes {', '.join(ports)}, and one host port belongs to one container; "
            "put a proxy with the port before it"
        )
    if neighbours:
        shown = ", ".join(f"'{printable(name)}'" for name in neighbours)
        found.append(f"{shown} shares its network, and would be left behind")
    if host.get("Links"):
        found.append("it has --link entries, which the engine cannot copy")
    hostname = str(container["Config"].get("Hostname") or "")
    if _version(api_version) >= _HOSTNAME_RESOLVES and not _is_default_hostname(container):
        found.append(f"this engine also resolves its hostname '{printable(hostname)}'")
    return found


def _address_reasons(container: Mapping[str, Any], places: Sequence[Endpoint]) -> list[str]:
    found = [
        f"it has the fixed address {place.address} in network '{printable(place.network)}', "
        "which callers may use in place of its name"
        for place in places
        if place.fixed
    ]
    if container["Config"].get("MacAddress"):
        found.append("it has a fixed MAC address")
    return found


def _published(container: Mapping[str, Any]) -> list[str]:
    ports = container["NetworkSettings"].get("Ports") or {}
    return sorted(port for port, bound in ports.items() if bound)


def _volume_reasons(container: Mapping[str, Any]) -> list[str]:
    written = [
        str(mount["Destination"])
        for mount in container.get("Mounts") or ()
        if mount.get("RW") and mount.get("Type") in ("volume", "bind")
    ]
    if not written:
        return []
    shown = ", ".join(f"'{printable(path)}'" for path in sorted(written))
    return [
        f"it writes to {shown}, which two at once may spoil; --share-volumes allows it for "
        "services that are made for that"
    ]


def _manager_reasons(container: Mapping[str, Any]) -> list[str]:
    labels = container["Config"].get("Labels") or {}
    if "com.docker.swarm.service.id" in labels:
        return ["a swarm service owns it, and would not know of the replacement"]
    return []


def body(
    container: Mapping[str, Any], place: Endpoint, labels: Mapping[str, str]
) -> Mapping[str, Any]:
    """What the replacement is made with: all that the original has, but its names.

    It starts in the network of `place` alone, with no alias: nobody calls it yet.
    """
    config = dict(container["Config"])
    config["Image"] = container["Image"]  # the id: a tag may have moved on
    if _is_default_hostname(container):
        config.pop("Hostname", None)
    kept = (config.get("Labels") or {}).items()
    config["Labels"] = {k: v for k, v in kept if not k.startswith(_TOOLS_LABELS)} | dict(labels)
    host = dict(container["HostConfig"])
    host["AutoRemove"] = False
    host["NetworkMode"] = place.network
    host.pop("ContainerIDFile", None)
    host["Binds"] = [*(host.get("Binds") or ()), *_anonymous(container, host)]
    return {
        **config,
        "HostConfig": host,
        "NetworkingConfig": {"EndpointsConfig": {place.network: {}}},
    }


def _anonymous(container: Mapping[str, Any], host: Mapping[str, Any]) -> list[str]:
    """Volumes without a name of their own: only asked for where they may be shared."""
    named = {str(bind).split(":")[1] for bind in host.get("Binds") or () if ":" in str(bind)}
    named |= {str(mount.get("Target")) for mount in host.get("Mounts") or ()}
    return [
        f"{mount['Name']}:{mount['Destination']}{'' if mount.get('RW') else ':ro'}"
        for mount in container.get("Mounts") or ()
        if mount.get("Type") == "volume"
        and _ANONYMOUS.fullmatch(str(mount.get("Name")))
        and mount["Destination"] not in named
    ]


def _is_default_hostname(container: Mapping[str, Any]) -> bool:
    return container["Config"].get("Hostname") in ("", None, str(container["Id"])[:12])


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def has_healthcheck(container: Mapping[str, Any]) -> bool:
    """Whether the engine itself looks whether it is well."""
    test = (container["Config"].get("Healthcheck") or {}).get("Test") or []
    return bool(test) and test[0] != "NONE"
