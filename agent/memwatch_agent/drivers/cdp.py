"""The Chrome DevTools Protocol without I/O: commands out, events in.

Only what a heap capture needs. The peer is whatever listens where the target should, so
every message is checked and nothing here grows with what it says.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: V8 sends a snapshot in pieces of 100 KiB, from Node 24 on of 1 MiB, which JSON can lengthen
#: sixfold at most; no other message of ours comes near.
MAX_MESSAGE_BYTES = 8 * 1024 * 1024

#: How much of what the peer says stands in an error.
MAX_TEXT_CHARS = 300

#: How a piece of a snapshot begins, as V8 writes it; a shortcut round the JSON parser.
_CHUNK_HEAD = b'{"method":"HeapProfiler.addHeapSnapshotChunk","params":{"chunk":"'
_CHUNK_TAIL = b'"}}'


class ProtocolError(Exception):
    """The peer said something that is not this protocol."""


@dataclass(frozen=True)
class Chunk:
    """The next piece of the snapshot."""

    data: bytes


@dataclass(frozen=True)
class SnapshotProgress:
    """How much of the heap V8 has walked, in steps of its own."""

    done: int
    total: int


@dataclass(frozen=True)
class Reply:
    """A command is done."""

    id: int
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Refusal:
    """A command has failed."""

    id: int
    message: str


@dataclass(frozen=True)
class Other:
    """An event that a capture has no use for."""

    method: str


Event = Chunk | SnapshotProgress | Reply | Refusal | Other


class Connection:
    """One side of one CDP connection: numbers commands, understands messages."""

    def __init__(self) -> None:
        self._last_id = 0
        self._waiting: set[int] = set()

    def command(self, method: str, params: Mapping[str, Any] | None = None) -> tuple[int, str]:
        """A new command's id and the text to send."""
        self._last_id += 1
        self._waiting.add(self._last_id)
        message = {"id": self._last_id, "method": method, "params": dict(params or {})}
        return self._last_id, json.dumps(message, separators=(",", ":"))

    def receive(self, message: bytes) -> Event:
        """What one message of the peer says.

        Raises:
            ProtocolError: it is none, or too long, or answers a command that never was.
        """
        if len(message) > MAX_MESSAGE_BYTES:
            raise ProtocolError(
                f"message of {len(message)} bytes, expected at most {MAX_MESSAGE_BYTES}"
            )
        if message.startswith(_CHUNK_HEAD) and message.endswith(_CHUNK_TAIL):
            return Chunk(_unescape(message[len(_CHUNK_HEAD) - 1 : 1 - len(_CHUNK_TAIL)]))
        return self._understand(_object(message))

    def _understand(self, message: dict[str, Any]) -> Event:
        if "id" not in message:
            return _event(message)
        id_ = message["id"]
        if not isinstance(id_, int) or id_ not in self._waiting:
            raise ProtocolError(f"answer to command {str(id_)[:20]}, which was never sent")
        self._waiting.discard(id_)
        if "error" in message:
            error = message["error"]
            text = error.get("message") if isinstance(error, dict) else error
            return Refusal(id_, str(text)[:MAX_TEXT_CHARS])
        result = message.get("result", {})
        if not isinstance(result, dict):
            raise ProtocolError("result is not an object")
        return Reply(id_, result)


def take_snapshot_params() -> dict[str, bool]:
    """Parameters of HeapProfiler.takeHeapSnapshot: progress, no numbers, no V8 internals."""
    return {"reportProgress": True, "captureNumericValue": False, "exposeInternals": False}


def evaluate_params(expression: str) -> dict[str, Any]:
    """Parameters of Runtime.evaluate for a short, silent expression with a plain value."""
    return {
        "expression": expression,
        "includeCommandLineAPI": True,
        "silent": True,
        "returnByValue": True,
    }


def evaluated(result: Mapping[str, Any]) -> Any:
    """The value of a Runtime.evaluate reply.

    Raises:
        ProtocolError: the expression threw, or the reply holds no value.
    """
    if "exceptionDetails" in result:
        details = result["exceptionDetails"]
        thrown = details.get("exception", {}) if isinstance(details, dict) else {}
        text = thrown.get("description", details) if isinstance(thrown, dict) else details
        raise ProtocolError(f"expression threw: {str(text)[:MAX_TEXT_CHARS]}")
    value = result.get("result")
    if not isinstance(value, dict):
        raise ProtocolError("reply to an evaluation holds no result")
    return value.get("value")


def _event(message: Mapping[str, Any]) -> Event:
    method, params = message.get("method"), message.get("params", {})
    if not isinstance(method, str) or not isinstance(params, dict):
        raise ProtocolError("message is neither an answer nor an event")
    if method == "HeapProfiler.addHeapSnapshotChunk":
        return Chunk(_encoded(params.get("chunk")))
    if method == "HeapProfiler.reportHeapSnapshotProgress":
        done, total = params.get("done"), params.get("total")
        if not isinstance(done, int) or not isinstance(total, int):
            raise ProtocolError("progress without numbers")
        return SnapshotProgress(done, total)
    return Other(method[:MAX_TEXT_CHARS])


def _object(message: bytes) -> dict[str, Any]:
    try:
        value = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"message is not JSON: {str(error)[:MAX_TEXT_CHARS]}") from error
    if not isinstance(value, dict):
        raise ProtocolError("message is not a JSON object")
    return value


def _unescape(literal: bytes) -> bytes:
    """The bytes that a JSON string literal, quotes included, stands for."""
    try:
        return _encoded(json.loads(literal))
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"chunk is not JSON: {str(error)[:MAX_TEXT_CHARS]}") from error


def _encoded(chunk: object) -> bytes:
    if not isinstance(chunk, str):
        raise ProtocolError("chunk is not a string")
    try:
        return chunk.encode()
    except UnicodeEncodeError as error:
        raise ProtocolError("chunk holds half a character") from error
