"""`drivers/cdp.py`: commands out, events in, and no trust in the peer."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch_agent.drivers import cdp

HOSTILE = [
    b"",
    b"\xff\xfe",
    b"[]",
    b"7",
    b"{}",
    b'{"method":7}',
    b'{"method":"X","params":[]}',
    b'{"id":1,"result":{}}',
    b'{"id":"1","result":{}}',
    b'{"id":[[]],"result":{}}',
    b'{"method":"HeapProfiler.addHeapSnapshotChunk","params":{}}',
    b'{"method":"HeapProfiler.addHeapSnapshotChunk","params":{"chunk":7}}',
    b'{"method":"HeapProfiler.addHeapSnapshotChunk","params":{"chunk":"a"b"}}',
    b'{"method":"HeapProfiler.addHeapSnapshotChunk","params":{"chunk":"\\ud800"}}',
    b'{"method":"HeapProfiler.addHeapSnapshotChunk","params":{"chunk":"\\"}}',
    b'{"method":"HeapProfiler.reportHeapSnapshotProgress","params":{"done":"1"}}',
    b"[" * 100_000,
    b" " * (cdp.MAX_MESSAGE_BYTES + 1),
]


def chunk_message(text: str, **dumps: bool) -> bytes:
    """A chunk event as V8 writes it."""
    event = {"method": "HeapProfiler.addHeapSnapshotChunk", "params": {"chunk": text}}
    return json.dumps(event, separators=(",", ":"), **dumps).encode()  # type: ignore[arg-type]


def test_commands_are_numbered_and_compact():
    """A command is one line of JSON with an id of its own."""
    connection = cdp.Connection()

    assert connection.command("HeapProfiler.enable") == (
        1,
        '{"id":1,"method":"HeapProfiler.enable","params":{}}',
    )
    assert connection.command("X", {"a": True})[1] == '{"id":2,"method":"X","params":{"a":true}}'


@given(text=st.text(), ascii_only=st.booleans())
def test_a_chunk_is_what_v8_wrote(text, ascii_only):
    """Whatever the text and however it is escaped, the chunk's bytes are the text's UTF-8."""
    message = chunk_message(text, ensure_ascii=ascii_only)

    assert cdp.Connection().receive(message) == cdp.Chunk(text.encode())


def test_a_chunk_with_its_fields_in_another_order_is_understood():
    """The shortcut for chunks is only a shortcut."""
    message = b'{"params":{"chunk":"{\\"a\\":1}"}, "method":"HeapProfiler.addHeapSnapshotChunk"}'

    assert cdp.Connection().receive(message) == cdp.Chunk(b'{"a":1}')


def test_progress_replies_refusals_and_other_events_are_told_apart():
    """Every message that a capture meets has its own event."""
    connection = cdp.Connection()
    first, _ = connection.command("A")
    second, _ = connection.command("B")

    assert connection.receive(
        b'{"method":"HeapProfiler.reportHeapSnapshotProgress","params":{"done":3,"total":9,"finished":true}}'
    ) == cdp.SnapshotProgress(3, 9)
    assert connection.receive(b'{"method":"Debugger.scriptParsed","params":{}}') == cdp.Other(
        "Debugger.scriptParsed"
    )
    assert connection.receive(b'{"id":%d,"result":{"x":1}}' % first) == cdp.Reply(first, {"x": 1})
    refusal = connection.receive(b'{"id":%d,"error":{"code":-32601,"message":"no"}}' % second)
    assert refusal == cdp.Refusal(second, "no")


def test_an_answer_counts_once():
    """A second answer to one command is no answer."""
    connection = cdp.Connection()
    id_, _ = connection.command("A")
    connection.receive(b'{"id":%d,"result":{}}' % id_)

    with pytest.raises(cdp.ProtocolError, match="never sent"):
        connection.receive(b'{"id":%d,"result":{}}' % id_)


@pytest.mark.parametrize("message", HOSTILE, ids=lambda message: repr(message[:60]))
def test_a_hostile_message_is_a_protocol_error(message):
    """What is not the protocol raises ProtocolError, never anything else."""
    with pytest.raises(cdp.ProtocolError):
        cdp.Connection().receive(message)


@given(message=st.binary(max_size=200))
def test_no_bytes_at_all_raise_anything_else(message):
    """Random bytes give an event or a ProtocolError."""
    connection = cdp.Connection()
    connection.command("A")
    with contextlib.suppress(cdp.ProtocolError):
        connection.receive(message)


def test_a_long_refusal_is_cut():
    """A hostile refusal cannot fill a log."""
    connection = cdp.Connection()
    id_, _ = connection.command("A")
    event = connection.receive(
        json.dumps({"id": id_, "error": {"message": "x" * 100_000}}).encode()
    )

    assert isinstance(event, cdp.Refusal)
    assert len(event.message) == cdp.MAX_TEXT_CHARS


def test_the_value_of_an_evaluation():
    """A plain value is handed over, a thrown one is told in words."""
    assert cdp.evaluated({"result": {"type": "number", "value": 3}}) == 3
    assert cdp.evaluated({"result": {"type": "undefined"}}) is None
    with pytest.raises(cdp.ProtocolError, match="ReferenceError"):
        cdp.evaluated(
            {
                "result": {},
                "exceptionDetails": {"exception": {"description": "ReferenceError: x"}},
            }
        )
    with pytest.raises(cdp.ProtocolError):
        cdp.evaluated({})
