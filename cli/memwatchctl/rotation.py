"""Takes a container out of the rotation and puts it back, on a real engine.

A container's own name moves with a rename. Its aliases move by leaving the network and coming
back with the same address, a moment in which the kernel only delays what its peers send; no
connection is lost. Every step can be done again: it looks at what is there first, so that the
same code undoes what a kill -9 left half-way. Decision 0055.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from memwatchctl import replacement, sockets
from memwatchctl.engines import ROLE
from memwatchctl.errors import EngineError, TargetError
from memwatchctl.ledger import Held
from memwatchctl.replacement import Endpoint
from memwatchctl.text import printable

if TYPE_CHECKING:
    from docker import DockerClient

ISOLATION = "dev.memwatch.isolation"

#: Between two looks at something that is waited for.
_POLL_SECONDS = 0.25

#: A service that neither listens nor says that it is well is believed after so long.
QUIET_SECONDS = 10.0


@dataclass(frozen=True)
class Pair:
    """A container and what replaces it, as the ledger keeps them.

    Attributes:
        change_id: the ledger's entry.
        engine_id: whose containers they are.
        original, name: the id and the name of the container that is captured.
        aside_name: its name while it is out of the rotation.
        replacement: the name of the other one.
        endpoints: where the original was.
        allow_cut: whether connections may be cut where a network keeps no address.
    """

    change_id: str
    engine_id: str
    original: str
    name: str
    aside_name: str
    replacement: str
    endpoints: tuple[Endpoint, ...]
    allow_cut: bool = False

    def to_plain(self) -> Mapping[str, Any]:
        """For the ledger."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Pair":
        """Of the ledger."""
        places = [
            Endpoint(**{**place, "aliases": tuple(place["aliases"])})
            for place in plain["endpoints"]
        ]
        return cls(**{**plain, "endpoints": tuple(places)})


class _Addresses(TypedDict):
    """What a container gets in a network; None lets the engine choose."""

    ipv4_address: str | None
    ipv6_address: str | None


@dataclass(frozen=True)
class Patience:
    """How long is waited.

    Attributes:
        ready_seconds: until the replacement is ready.
        drain_seconds: until the last request to one that left the rotation has ended.
    """

    ready_seconds: float = 120.0
    drain_seconds: float = 10.0


class Rotation:
    """Two containers that take turns under one name."""

    def __init__(
        self,
        client: "DockerClient",
        held: Held,
        pair: Pair,
        patience: Patience,
        probe_image: str,
        note: Callable[[str], None],
    ) -> None:
        self._api = client.api
        self._held = held
        self._pair = pair
        self._patience = patience
        self._probe = sockets.Probe(client, probe_image)
        self._note = note
        self.is_aside = False

    def start(self, body: Mapping[str, Any]) -> None:
        """Makes the replacement and waits until it is ready; nobody calls it yet.

        Raises:
            EngineError: the engine refused, or it did not get ready.
        """
        name = self._pair.replacement
        self._begin(f"create container '{name}'")
        with _refused(f"the replacement '{name}' was refused"):
            self._api.create_container_from_config(dict(body), name)  # type: ignore[no-untyped-call]
            self._join_networks(name)
        self._begin(f"start container '{name}'")
        with _refused(f"the replacement '{name}' does not start"):
            self._api.start(name)
        self._wait_ready(name)

    def aside(self) -> None:
        """The replacement takes over; the original is out of the rotation, and drained."""
        pair = self._pair
        with _refused("the rotation cannot be changed"):
            self._call(pair.replacement, with_names=True)
            self._rename(pair.aside_name)
            self._call(pair.original, with_names=False)
        self._drain(pair.original, f"'{pair.name}'")
        self.is_aside = True

    def back(self) -> None:
        """The original is called again, under all its names; the replacement is not."""
        pair = self._pair
        with _refused("the rotation cannot be put back"):
            self._check_original()
            self._call(pair.original, with_names=True)
            self._rename(pair.name)
            if self._status(pair.replacement) != "gone":
                self._call(pair.replacement, with_names=False)
        self.is_aside = False

    def finish(self) -> Mapping[str, str]:
        """Puts everything back and removes the replacement; the addresses that stay fixed.

        Raises:
            EngineError: the engine refused; nothing that is needed was taken away.
        """
        pair = self._pair
        if self._status(pair.original) == "gone":
            self._note(f"the original of '{pair.name}' is gone; its replacement serves on")
            with _refused("the replacement cannot be named"):
                self._begin(f"rename '{pair.replacement}' to '{pair.name}'")
                self._api.rename(pair.replacement, pair.name)
            return {}
        self.back()
        if self._status(pair.replacement) != "gone":
            if self._status(pair.replacement) == "running":
                self._drain(pair.replacement, f"'{pair.replacement}'")
            self._begin(f"remove container '{pair.replacement}'")
            with _refused("the replacement cannot be removed"):
                self._api.remove_container(pair.replacement, force=True, v=True)
        return self._fixed()

    def _join_networks(self, name: str) -> None:
        """Connects what is not started to all networks; learns whether they keep addresses."""
        for place in self._pair.endpoints:
            self._leave(name, place.network)
            if not self._pair.allow_cut:
                self._try_address(name, place)
                self._leave(name, place.network)
            self._api.connect_container_to_network(name, place.network)

    def _leave(self, name: str, network: str) -> None:
        if self._place(name, network) is not None:
            self._api.disconnect_container_from_network(name, network)

    def _try_address(self, name: str, place: Endpoint) -> None:
        """Sees that the engine lets a container keep its address in a network.

        Raises:
            replacement.IsolationError: it does not.
        """
        import docker

        try:
            self._api.connect_container_to_network(
                name, place.network, ipv4_address=place.address or None
            )
        except docker.errors.APIError as error:
            raise replacement.IsolationError(
                self._pair.name,
                [
                    f"network '{printable(place.network)}' has no subnet of its own, so that a "
                    "container cannot leave it and come back with its address; make it with "
                    "--subnet (compose: ipam), or accept with --allow-cut that connections open "
                    "at that moment break"
                ],
            ) from error

    def _call(self, container: str, with_names: bool) -> None:
        """Gives a container the original's names in all networks, or takes them away."""
        is_original = container == self._pair.original
        for place in self._pair.endpoints:
            wanted = place.aliases if with_names else ()
            if with_names and not is_original:
                wanted = (*wanted, self._pair.name)
            self._rejoin(container, place.network, wanted)

    def _rejoin(self, container: str, network: str, aliases: tuple[str, ...]) -> None:
        """Has a container called so in a network, and leaves it where it is."""
        here = self._place(container, network)
        if here is not None and set(here.aliases) == set(aliases):
            return
        known = {place.network: place for place in self._pair.endpoints}[network]
        if here is None and container != self._pair.original:
            known = Endpoint(network, ())
        address, address6 = _address_of(here, known)
        names = ", ".join(f"'{name}'" for name in aliases) or "nothing"
        self._begin(f"call '{container[:40]}' {names} in network '{network}'")
        if here is not None:
            self._api.disconnect_container_from_network(container, network)
        if self._pair.allow_cut:
            address, address6 = "", ""
        self._api.connect_container_to_network(
            container, network, aliases=list(aliases) or None, **self._keeping(address, address6)
        )

    @staticmethod
    def _keeping(address: str, address6: str) -> "_Addresses":
        return {"ipv4_address": address or None, "ipv6_address": address6 or None}

    def _rename(self, name: str) -> None:
        if replacement.name_of(self._inspect(self._pair.original)) != name:
            self._begin(f"rename '{self._pair.original[:12]}' to '{name}'")
            self._api.rename(self._pair.original, name)

    def _place(self, container: str, network: str) -> Endpoint | None:
        found = replacement.endpoints(self._inspect(container))
        return next((place for place in found if place.network == network), None)

    def _wait_ready(self, name: str) -> None:
        """Returns when the replacement is healthy, or listens where the original listens.

        Raises:
            EngineError: it ended, is unhealthy, or took too long.
        """
        deadline = time.monotonic() + self._patience.ready_seconds
        if replacement.has_healthcheck(self._inspect(name)):
            self._wait_healthy(name, deadline)
            return
        if wanted := self._probe.listening(self._pair.original):
            self._probe.wait_listening(name, wanted, self._patience.ready_seconds)
        else:
            self._wait_until(name, time.monotonic() + QUIET_SECONDS, lambda _: False)
        self._wait_until(name, deadline, lambda state: bool(state["Running"]))

    def _wait_healthy(self, name: str, deadline: float) -> None:
        def healthy(state: Mapping[str, Any]) -> bool:
            return bool(state["Health"]["Status"] == "healthy")

        if not self._wait_until(name, deadline, healthy):
            raise EngineError(
                f"the replacement '{name}' was not healthy after "
                f"{self._patience.ready_seconds:.0f} s; --ready-timeout waits longer"
            )

    def _wait_until(
        self, name: str, deadline: float, is_so: Callable[[Mapping[str, Any]], bool]
    ) -> bool:
        """Looks at a container's state until something is so; whether it came to be."""
        while True:
            state = self._inspect(name)["State"]
            if not state["Running"]:
                raise EngineError(f"the replacement '{name}' ended with {state['ExitCode']}")
            if is_so(state):
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_SECONDS)

    def _drain(self, container: str, named: str) -> None:
        """Waits until nobody is connected any more, at most for the drain time."""
        left = self._probe.drain(container, self._patience.drain_seconds)
        if left:
            self._note(
                f"{left} connections to {named} are still open after "
                f"{self._patience.drain_seconds:.0f} s, and go on"
            )

    def _check_original(self) -> None:
        """Sees that the original can serve again.

        Raises:
            EngineError: it does not run: the replacement must go on.
        """
        if self._status(self._pair.original) != "running":
            raise EngineError(
                f"the original of '{self._pair.name}' does not run any more; its replacement "
                f"'{self._pair.replacement}' serves on; start the original, then run "
                f"'memwatchctl isolate undo {self._pair.change_id}'"
            )

    def _status(self, container: str) -> str:
        with contextlib.suppress(_not_found()):
            return str(self._inspect(container)["State"]["Status"])
        return "gone"

    def _inspect(self, container: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._api.inspect_container(container)
        return found

    def _fixed(self) -> Mapping[str, str]:
        """Addresses that are fixed now and were not before."""
        now = replacement.endpoints(self._inspect(self._pair.original))
        return {place.network: place.address for place in now if place.fixed}

    def _begin(self, step: str) -> None:
        self._held.write(step)


def _address_of(here: Endpoint | None, known: Endpoint) -> tuple[str, str]:
    """What a container has, or had before it was cut off half-way."""
    return (
        (here.address, here.address6)
        if here is not None and here.address
        else (known.address, known.address6)
    )


def prepared(
    client: "DockerClient",
    container: Mapping[str, Any],
    change_id: str,
    wish: replacement.Wish,
    kept: Mapping[str, str],
) -> tuple[Pair, Mapping[str, Any]]:
    """What is to be done for a container, after everything was checked.

    Raises:
        replacement.IsolationError: it cannot be replaced.
    """
    places = replacement.endpoints(container, kept)
    networks = {place.network: client.api.inspect_network(place.network) for place in places}
    version = str(client.version()["ApiVersion"])
    replacement.check(container, networks, _neighbours(client, container), places, wish, version)
    name = replacement.name_of(container)
    pair = Pair(
        change_id,
        str(client.info()["ID"]),
        str(container["Id"]),
        name,
        f"{name}-{change_id}-aside",
        f"{name}-{change_id}",
        places,
        wish.allow_cut,
    )
    labels = {ROLE: "replacement", ISOLATION: change_id}
    first = next(p for p in places if p.network == container["HostConfig"]["NetworkMode"])
    return pair, replacement.body(container, first, labels)


def _neighbours(client: "DockerClient", container: Mapping[str, Any]) -> list[str]:
    """The containers that share a container's network; our own helpers are none."""
    mode = f"container:{container['Id']}"
    return [
        replacement.name_of(other.attrs)
        for other in client.containers.list(ignore_removed=True)
        if other.labels.get(ROLE) != "helper" and _network_mode(other.attrs) == mode
    ]


def _network_mode(container: Mapping[str, Any]) -> str:
    return str(container["HostConfig"].get("NetworkMode"))


@contextlib.contextmanager
def _refused(what: str) -> Iterator[None]:
    """Translates what the engine says no to."""
    import docker

    try:
        yield
    except docker.errors.NotFound as error:
        raise TargetError(f"cannot isolate: {what}: {error.explanation}") from error
    except docker.errors.APIError as error:
        raise EngineError(f"{what}: {error.explanation}") from error
    except (OSError, docker.errors.DockerException) as error:
        raise EngineError(f"{what}: {error}") from error


def _not_found() -> type[Exception]:
    import docker

    found: type[Exception] = docker.errors.NotFound
    return found


def steps(pair: Pair) -> list[str]:
    """What will be done, for people. Pure."""
    networks = ", ".join(f"'{printable(place.network)}'" for place in pair.endpoints)
    names = sorted({pair.name, *(alias for place in pair.endpoints for alias in place.aliases)})
    called = ", ".join(f"'{printable(name)}'" for name in names)
    return [
        f"create container '{pair.replacement}' with the image and settings of '{pair.name}'",
        f"start it in network {networks}, and wait until it is ready",
        f"call it {called}",
        f"rename '{pair.name}' to '{pair.aside_name}' and take its aliases off",
        "wait until nobody is connected to it, and capture it",
        f"give '{pair.name}' its name and aliases back, and remove '{pair.replacement}'",
    ]
