"""The hook wire in bytes: pinned by the golden vectors, strict about limits."""

import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch_hook import wire

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/hook_wire.json").read_text())["frames"]


def vector(name):
    return next(entry for entry in VECTORS if entry["name"] == name)


@pytest.mark.parametrize("entry", VECTORS, ids=lambda entry: entry["name"])
def test_golden_frames_are_read(entry):
    """Every golden frame decodes to its type and payload."""
    [(kind, payload)] = wire.Decoder().feed(bytes.fromhex(entry["hex"]))
    assert kind == entry["type"]
    if "json" in entry:
        assert json.loads(payload) == entry["json"]
    else:
        assert payload.hex() == entry["data_hex"]


@pytest.mark.parametrize("entry", VECTORS, ids=lambda entry: entry["name"])
def test_golden_frames_are_written(entry):
    """Every golden frame is written byte for byte."""
    if "json" in entry:
        assert wire.message(entry["type"], entry["json"]).hex() == entry["hex"]
    else:
        assert wire.frame(entry["type"], bytes.fromhex(entry["data_hex"])).hex() == entry["hex"]


def test_helpers_write_the_golden_messages():
    """result, error and progress give the golden bytes."""
    result, error, progress = (vector(name)["json"] for name in ("result", "error", "progress"))
    assert wire.result(1, result["result"]).hex() == vector("result")["hex"]
    assert wire.error(1, error["reason"], error["message"]).hex() == vector("error")["hex"]
    assert wire.progress(1, "walking", 123, 456).hex() == vector("progress")["hex"]
    assert progress["done"] == 123


@given(
    st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=300)), max_size=8),
    st.integers(1, 50),
)
def test_frames_survive_any_cut(frames, step):
    """However the bytes are cut, the same frames come out."""
    data = b"".join(wire.frame(kind, payload) for kind, payload in frames)
    decoder = wire.Decoder()
    got = []
    for start in range(0, len(data), step):
        got += decoder.feed(data[start : start + step])
    assert got == frames


def test_a_frame_over_the_limit_is_refused_by_its_header():
    """A peer that announces too much is cut off before it sends it."""
    with pytest.raises(wire.WireError, match="1048577 bytes is announced, the limit is 1048576"):
        wire.Decoder().feed(struct.pack(">IB", (1 << 20) + 1, wire.DATA))


def test_a_request_is_read():
    """The golden request gives its id, command and options; unknown fields are ignored."""
    request = wire.parse_request(b'{"id":1,"command":"heap","options":{"gc":true},"new":0}')
    assert (request.id, request.command, request.options) == (1, "heap", {"gc": True})
    assert wire.parse_request(b'{"id":2,"command":"info"}').options == {}


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xff", b"[]", b'{"command":"info"}', b'{"id":true,"command":"gc"}', b"[" * 60000],
)
def test_what_is_no_request_breaks_the_protocol(payload):
    """Without an id there is nobody to answer: the connection is to be closed."""
    with pytest.raises(wire.WireError):
        wire.parse_request(payload)


@pytest.mark.parametrize(
    "body", [{"id": 1}, {"id": 1, "command": 5}, {"id": 1, "command": "gc", "options": []}]
)
def test_a_faulty_request_is_answered(body):
    """With an id it is a bad request, which is answered under that id."""
    with pytest.raises(wire.RequestError) as caught:
        wire.parse_request(json.dumps(body).encode())
    assert caught.value.reason == wire.BAD_REQUEST
    assert caught.value.request_id == 1


def test_a_request_over_the_json_limit_is_refused():
    """A JSON payload has at most 64 KiB."""
    body = json.dumps({"id": 1, "command": "x" * wire.MAX_JSON_BYTES}).encode()
    with pytest.raises(wire.WireError, match="the limit is 65536"):
        wire.parse_request(body)


def test_a_result_over_the_json_limit_becomes_an_error():
    """An answer that does not fit is said to be too long, not sent."""
    [(kind, payload)] = wire.Decoder().feed(wire.result(3, {"text": "x" * wire.MAX_JSON_BYTES}))
    assert kind == wire.ERROR
    assert json.loads(payload)["reason"] == wire.FAILED


def test_an_error_is_a_sentence():
    """Whatever the cause says, the message is cut to its limit."""
    [(_, payload)] = wire.Decoder().feed(wire.error(1, wire.FAILED, "x" * 10_000))
    assert len(json.loads(payload)["message"]) == wire.MAX_MESSAGE_CHARS


def test_lone_surrogates_do_not_break_a_message():
    """A name that is not Unicode (a file of Latin-1) is sent with a replacement."""
    [(_, payload)] = wire.Decoder().feed(wire.message(wire.RESULT, {"main": "a\udce9.py"}))
    assert json.loads(payload)["main"] == "a?.py"
