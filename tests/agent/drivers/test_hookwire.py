"""`drivers/hookwire.py`: the agent's half of the hook wire, pinned by golden bytes."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch_agent.drivers import hookwire as wire

VECTORS = json.loads(
    (Path(__file__).resolve().parents[2] / "vectors" / "hook_wire.json").read_text()
)["frames"]
HELLO = next(bytes.fromhex(v["hex"]) for v in VECTORS if v["name"] == "hello")


def by_name(name: str) -> bytes:
    """The golden bytes of one frame."""
    return next(bytes.fromhex(v["hex"]) for v in VECTORS if v["name"] == name)


def greeted(command: str = "") -> wire.Connection:
    """A connection that has seen HELLO, with a request running where one is named."""
    connection = wire.Connection()
    list(connection.receive(HELLO))
    if command:
        connection.request(command)
    return connection


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_golden_bytes_are_written(vector):
    """Every frame of version 1 is written as it was when it was released."""
    type_ = wire.FrameType(vector["type"])
    if "json" in vector:
        written = wire.json_frame(type_, vector["json"])
    else:
        written = wire.frame(type_, bytes.fromhex(vector["data_hex"]))

    assert written.hex() == vector["hex"]


def test_golden_bytes_are_read():
    """Every frame that a hook sends is understood as it was when it was released."""
    connection = greeted("heap")
    sent = b"".join(by_name(name) for name in ("progress", "data", "result"))
    progress, data, result = connection.receive(sent)

    assert progress == wire.Progress("walking", 123, 456)
    assert data == wire.Data(b"hello")
    assert isinstance(result, wire.Result)
    assert result.result["notes"] == ["é"]
    failed = list(greeted("x").receive(by_name("error")))
    assert failed == [
        wire.Failed("UNKNOWN_COMMAND", "cannot run command 'x': this hook does not know it")
    ]


def test_hello_is_understood():
    """HELLO says who answers and what it can do."""
    (hello,) = wire.Connection().receive(HELLO)

    assert hello == wire.Hello(
        1, "0.1.0", "python", "3.11.7", 4711, 123456, "shop", ("info", "stats", "gc", "heap")
    )


def test_a_request_is_the_golden_one():
    """The first request of a connection has id 1 and the golden bytes."""
    assert greeted().request("heap", {"gc": True}) == by_name("request")
    assert wire.Connection().cancel() == by_name("cancel")


@given(
    payloads=st.lists(st.binary(max_size=300), max_size=8),
    cuts=st.lists(st.integers(1, 50), min_size=1, max_size=200),
)
def test_frames_survive_any_cutting(payloads, cuts):
    """However the stream is cut, the same frames come out, and nothing is left."""
    stream = b"".join(wire.frame(wire.FrameType.DATA, payload) for payload in payloads)
    reader, at = wire.FrameReader(), 0
    got: list[tuple[int, bytes]] = []
    for size in cuts:
        got += reader.feed(stream[at : at + size])
        at += size
    got += reader.feed(stream[at:])

    assert got == [(wire.FrameType.DATA, payload) for payload in payloads]
    assert not reader.pending


@given(data=st.binary(max_size=400), greet=st.booleans())
def test_no_bytes_at_all_raise_anything_else(data, greet):
    """Random bytes give events or a WireError."""
    connection = greeted("heap") if greet else wire.Connection()
    with contextlib.suppress(wire.WireError):
        list(connection.receive(data))


@pytest.mark.parametrize(
    "data",
    [
        wire.frame(wire.FrameType.DATA, b"x"),
        wire.json_frame(wire.FrameType.HELLO, {"protocol": "1"}),
        wire.frame(wire.FrameType.HELLO, b"[]"),
        wire.frame(wire.FrameType.HELLO, b"[" * 60_000),
        wire.frame(wire.FrameType.HELLO, b"{\xff}"),
        b"\x7f\xff\xff\xff\x04",
        (wire.MAX_PAYLOAD_BYTES + 1).to_bytes(4, "big") + b"\x04",
        (wire.MAX_JSON_BYTES + 1).to_bytes(4, "big") + b"\x01",
    ],
    ids=lambda data: repr(data[:30]),
)
def test_a_hostile_greeting_is_a_wire_error(data):
    """What is not HELLO, or longer than allowed, ends the connection before it is stored."""
    with pytest.raises(wire.WireError):
        list(wire.Connection().receive(data))


def test_data_without_a_request_is_a_wire_error():
    """Bytes that nobody asked for are not taken for a snapshot."""
    with pytest.raises(wire.WireError, match="without a request"):
        list(greeted().receive(by_name("data")))


def test_an_answer_to_a_request_that_never_was_is_a_wire_error():
    """Ids count up: a higher one is a lie."""
    with pytest.raises(wire.WireError, match="never sent"):
        list(greeted().receive(by_name("result")))


def test_the_last_word_on_a_former_request_is_ignored():
    """A CANCELLED that crosses the next request does not end that one."""
    connection = greeted("heap")
    list(connection.receive(by_name("result")))
    connection.request("stats")

    assert list(connection.receive(by_name("error"))) == []
    second = wire.json_frame(wire.FrameType.RESULT, {"id": 2, "result": {"a": 1}})
    assert list(connection.receive(second)) == [wire.Result({"a": 1})]


def test_unknown_frames_and_fields_are_ignored():
    """A newer hook may say more than this agent knows."""
    connection = greeted("heap")
    newer = wire.json_frame(
        wire.FrameType.PROGRESS, {"id": 1, "stage": "s", "done": 1, "total": 0, "new": []}
    )

    assert list(connection.receive(b"\x00\x00\x00\x01\x63x" + newer)) == [wire.Progress("s", 1, 0)]


def test_two_requests_at_once_are_a_mistake_of_the_caller():
    """One request runs at a time on a connection."""
    with pytest.raises(RuntimeError):
        greeted("heap").request("stats")
    with pytest.raises(RuntimeError):
        wire.Connection().request("stats")
