"""Whether a container can be replaced: every reason against it, and what the other one is."""

import copy
from typing import Any

import pytest

from memwatchctl import replacement
from memwatchctl.replacement import IsolationError, Wish

ID = "0123456789ab" + "c" * 52
STRICT = Wish()
BRIDGE = {"shops": {"Driver": "bridge"}, "back": {"Driver": "bridge"}}


def container(**changes):
    """What the engine tells of a container that can be replaced; `changes` by dotted path."""
    found: Any = {
        "Id": ID,
        "Name": "/shop",
        "Image": "sha256:" + "1" * 64,
        "Config": {
            "Hostname": ID[:12],
            "Image": "shop:latest",
            "User": "1000",
            "Env": ["COLOUR=red"],
            "Labels": {"team": "shops", "com.docker.compose.project": "shops"},
            "Healthcheck": {"Test": ["CMD", "true"]},
        },
        "HostConfig": {
            "NetworkMode": "shops",
            "Memory": 1 << 28,
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "RestartPolicy": {"Name": "always"},
            "SecurityOpt": ["no-new-privileges"],
            "Binds": ["/srv/shop:/app:ro"],
            "AutoRemove": True,
        },
        "Mounts": [{"Type": "bind", "Source": "/srv/shop", "Destination": "/app", "RW": False}],
        "NetworkSettings": {
            "Ports": {"8080/tcp": None},
            "Networks": {
                "shops": {"Aliases": ["web", ID[:12]], "IPAddress": "10.0.0.2", "IPAMConfig": None},
                "back": {"Aliases": None, "IPAddress": "10.1.0.2", "IPAMConfig": {}},
            },
        },
    }
    found = copy.deepcopy(found)
    for path, value in changes.items():
        *parts, last = path.split("__")
        place = found
        for part in parts:
            place = place[part]
        place[last] = value
    return found


def reasons(made, wish=STRICT, networks=BRIDGE, neighbours=(), version="1.41", kept=None):
    """Why a container cannot be replaced; empty where it can."""
    places = replacement.endpoints(made, kept)
    try:
        replacement.check(made, networks, neighbours, places, wish, version)
    except IsolationError as error:
        return str(error)
    return ""


def test_plain_service_can_be_replaced():
    """Names in networks of its own, nothing published, nothing written: nothing is against it."""
    assert reasons(container()) == ""


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"HostConfig__NetworkMode": "host"}, "its network is 'host'"),
        ({"HostConfig__NetworkMode": "none"}, "its network is 'none'"),
        ({"HostConfig__NetworkMode": "container:abc"}, "its network is 'container:abc'"),
        ({"HostConfig__NetworkMode": "default"}, "the engine's default bridge"),
        (
            {"NetworkSettings__Ports": {"80/tcp": [{"HostPort": "80"}], "81/tcp": None}},
            "it publishes 80/tcp, and",
        ),
        (
            {"Mounts": [{"Type": "volume", "Name": "data", "Destination": "/data", "RW": True}]},
            "it writes to '/data'",
        ),
        ({"Config__MacAddress": "02:42:0a:00:00:02"}, "a fixed MAC address"),
        ({"Config__Labels": {"com.docker.swarm.service.id": "x"}}, "a swarm service owns it"),
        ({"HostConfig__Links": ["/db:/shop/db"]}, "--link"),
        (
            {"NetworkSettings__Networks__shops__IPAMConfig": {"IPv4Address": "10.0.0.2"}},
            "the fixed address 10.0.0.2 in network 'shops'",
        ),
    ],
)
def test_what_is_in_the_way(changes, why):
    """Each thing that two containers cannot share is refused by its name."""
    said = reasons(container(**changes))

    assert said.startswith("cannot replace container 'shop': ")
    assert why in said


def test_all_reasons_are_told_at_once():
    """Nobody has to come again and again to learn the next one."""
    made = container(
        NetworkSettings__Ports={"80/tcp": [{}]},
        Mounts=[{"Type": "bind", "Source": "/d", "Destination": "/d\n", "RW": True}],
    )

    said = reasons(made, neighbours=["proxy"], networks=BRIDGE | {"back": {"Driver": "macvlan"}})
    assert said.count(";") >= 3
    assert "\n" not in said
    assert "of driver 'macvlan'" in said
    assert "'proxy' shares its network" in said


def test_what_may_be_allowed():
    """Shared volumes are the user's to allow; an address that we fixed ourselves is no reason."""
    written = [{"Type": "volume", "Name": "data", "Destination": "/data", "RW": True}]
    fixed = {"NetworkSettings__Networks__shops__IPAMConfig": {"IPv4Address": "10.0.0.2"}}

    assert reasons(container(Mounts=written), Wish(share_volumes=True)) == ""
    assert reasons(container(**fixed), kept={"shops": "10.0.0.2"}) == ""
    assert reasons(container(**fixed), kept={"shops": "10.0.0.9"})


def test_hostname_that_newer_engines_resolve():
    """From API 1.44 on a hostname set by hand is a name that cannot be taken off."""
    made = container(Config__Hostname="shop.example")

    assert reasons(made, version="1.43") == ""
    assert "resolves its hostname 'shop.example'" in reasons(made, version="1.44")


def test_replacement_has_all_but_the_names():
    """Image by id, every setting, no alias, no compose labels, no hostname that means the other."""
    made = container()
    place = next(p for p in replacement.endpoints(made) if p.network == "shops")

    body = replacement.body(made, place, {"dev.memwatch.role": "replacement"})
    host = body["HostConfig"]
    assert (body["Image"], body["User"], body["Env"]) == (made["Image"], "1000", ["COLOUR=red"])
    assert body["Labels"] == {"team": "shops", "dev.memwatch.role": "replacement"}
    assert "Hostname" not in body
    assert body["Healthcheck"] == made["Config"]["Healthcheck"]
    assert host["AutoRemove"] is False
    kept = ("Memory", "ReadonlyRootfs", "CapDrop", "RestartPolicy", "SecurityOpt", "Binds")
    assert {name: host[name] for name in kept} == {name: made["HostConfig"][name] for name in kept}
    assert body["NetworkingConfig"] == {"EndpointsConfig": {"shops": {}}}
    assert place.aliases == ("web",)
    assert replacement.has_healthcheck(made)
    assert made == container(), "the engine's own document is left alone"


def test_volumes_without_a_name_are_shared_by_it():
    """Where sharing is allowed, an anonymous volume is the same one in both."""
    anonymous = {"Type": "volume", "Name": "f" * 64, "Destination": "/data", "RW": True}
    made = container(Mounts=[anonymous])

    body = replacement.body(made, replacement.endpoints(made)[1], {})
    assert body["HostConfig"]["Binds"] == ["/srv/shop:/app:ro", f"{'f' * 64}:/data"]
