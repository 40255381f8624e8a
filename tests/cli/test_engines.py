"""What a helper container is made with, and whose it is; a real engine: tests/e2e/docker."""

import os
import socket
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch_proto.v1 import common_pb2, targets_pb2
from memwatchctl import containers, engines
from memwatchctl.engines import Owner
from memwatchctl.errors import EngineError, TargetError


def container(number="4f5e1a", name="shop", status="running", user="", top=None, labels=None):
    """As the docker package describes one."""
    attrs = {"Config": {"User": user}, "State": {"Pid": 41}}
    return SimpleNamespace(
        id=number,
        short_id=number,
        name=name,
        status=status,
        attrs=attrs,
        labels=labels or {},
        top=lambda ps_args: {"Processes": top or []},
    )


def client(*found):
    """An engine with these containers."""
    return SimpleNamespace(containers=SimpleNamespace(list=lambda **_: list(found)))


def test_helper_may_nothing():
    """A helper has the service's user and namespaces, no capability, no writable root, a limit."""
    owner = Owner("boot", 1, 2)
    made = engines.settings("4f5e", "1000:1000", "image", "unix:/here/agent.sock", owner)

    assert made["user"] == "1000:1000"
    assert (made["pid_mode"], made["network_mode"]) == ("container:4f5e", "container:4f5e")
    assert made["cap_drop"] == ["ALL"]
    assert made["security_opt"] == ["no-new-privileges"]
    assert made["read_only"]
    assert made["auto_remove"]
    assert made["mem_limit"] == 256 * 2**20
    assert "--end-with-input" in made["command"]
    assert Owner.parse(made["labels"][engines.OWNER]) == owner


def test_owner_that_lives():
    """This process has not ended; a pid that is no more has; of another host nobody can tell."""
    own = Owner.of_this_process()
    assert not own.has_ended()
    assert Owner(own.boot_id, own.pid, own.start_ticks + 1).has_ended()
    assert not Owner("another host's boot", 999_999, 1).has_ended()


@given(st.text())
def test_label_of_any_text(text):
    """A label that somebody else wrote is an owner or none, and never an error."""
    owner = Owner.parse(text)
    assert owner is None or str(owner).count("/") == 2


def test_container_by_prefix_and_name():
    """A prefix of the id or the whole name means a container; helpers and ended ones never."""
    helper = container("4f5e99", labels={engines.ROLE: "helper"})
    ended = container("4f5eff", "old", "exited")
    shop, other = container(), container("77aa", "web")

    assert engines.find(client(helper, ended, shop, other), "4F5E") is shop
    assert engines.find(client(shop, other), "web") is other


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ((), "the Docker engine has no such container"),
        ((container("4f5e1"), container("4f5e2")), "several match: 4f5e1 (shop, running), 4f5e2"),
        ((container(status="paused"),), "it does not run: 4f5e1a (shop, paused)"),
    ],
)
def test_container_that_is_not_meant(found, said):
    """None, several, or one that does not run: each is told with what there is."""
    with pytest.raises(TargetError, match="cannot capture '4f5e'") as told:
        engines.find(client(*found), "4f5e")
    assert said in str(told.value)


@pytest.mark.parametrize(
    ("user", "top", "expected"),
    [
        ("", None, "0:0"),
        ("1000", None, "1000:1000"),
        ("1000:50", None, "1000:50"),
        ("node", [["40", "0", "0"], ["41", "1000", "33"]], "1000:33"),
    ],
)
def test_user(user, top, expected):
    """A numeric user is taken as it is; a name is what the first process runs as."""
    assert engines.user_of(container(user=user, top=top)) == expected


def test_user_that_is_not_told():
    """An engine without `ps` cannot tell the uid of a name: no helper is started as root."""
    with pytest.raises(TargetError, match="does not tell which user"):
        engines.user_of(container(user="node"))


def test_frames():
    """What an engine sends is taken apart by stream, in whatever pieces it comes."""
    here, there = socket.socketpair()
    with here, there:
        there.sendall(b"\x01\0\0\0\0\0\0\x05hel")
        there.sendall(b"lo\x02\0\0\0\0\0\0\x02no\x01\0\0\0\0\0\0\x09cut")
        there.shutdown(socket.SHUT_WR)
        said = list(engines.frames(here))
    assert b"".join(data for stream, data in said if stream == 1) == b"hellocut"
    assert [data for stream, data in said if stream == 2] == [b"no"]


def test_fattest():
    """Of several processes of a container the one with most memory is meant."""
    sizes = (10, 30, 20)
    made = [
        targets_pb2.Target(id=f"t-{n}", memory=common_pb2.MemorySample(rss_bytes=n)) for n in sizes
    ]
    assert containers.fattest(made).id == "t-30"


def test_no_engine(monkeypatch):
    """Where no engine answers, the address and the next step are told."""
    monkeypatch.setenv("DOCKER_HOST", f"unix:///nonexistent-{os.getpid()}.sock")
    with pytest.raises(EngineError, match="DOCKER_HOST"), engines.engine():
        pass
