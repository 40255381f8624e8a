"""The agent's half of the hook wire without I/O: docs/formats/hook-wire.md.

Bytes in, events out; the hook lives in a stranger's process, so every length and every field
is checked. The other half is `memwatch_hook.wire` and `hook/node/memwatch-hook.cjs`; golden
bytes in tests/vectors/hook_wire.json pin all three.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

PROTOCOL = 1
MAX_PAYLOAD_BYTES = 1024 * 1024
MAX_JSON_BYTES = 64 * 1024

#: How much of what the peer says stands in an error.
MAX_TEXT_CHARS = 300

_HEADER = struct.Struct(">IB")


class FrameType(IntEnum):
    """The frames of version 1."""

    HELLO = 1
    REQUEST = 2
    PROGRESS = 3
    DATA = 4
    RESULT = 5
    ERROR = 6
    CANCEL = 7
    STOP = 8


class WireError(Exception):
    """The peer said something that is not this protocol."""


@dataclass(frozen=True)
class Hello:
    """Who answers, said once."""

    protocol: int
    hook_version: str
    runtime: str
    runtime_version: str
    pid: int
    start_ticks: int
    service: str
    commands: tuple[str, ...]
    formats: tuple[str, ...] = ()
    #: What the option `pause` of `heap` may be; empty where the hook does not know it.
    pauses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Progress:
    """How far the running request is."""

    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class Data:
    """The next bytes of the artifact."""

    data: bytes


@dataclass(frozen=True)
class Result:
    """The request is done."""

    result: Mapping[str, Any]


@dataclass(frozen=True)
class Failed:
    """The request has failed."""

    reason: str
    message: str
    #: What else stands beside them, such as what a child cost that failed.
    details: Mapping[str, Any] = field(default_factory=dict)


Event = Hello | Progress | Data | Result | Failed


def frame(type_: FrameType, payload: bytes = b"") -> bytes:
    """One frame's bytes."""
    return _HEADER.pack(len(payload), type_) + payload


def json_frame(type_: FrameType, fields: Mapping[str, Any]) -> bytes:
    """One frame with a JSON payload, compact, as the golden bytes have it."""
    return frame(type_, json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode())


class FrameReader:
    """Cuts a stream of bytes into frames; holds at most one frame."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The type and payload of every frame that is complete with `data`.

        Raises:
            WireError: a frame is longer than the protocol allows.
        """
        self._buffer += data
        frames, start = [], 0
        while len(self._buffer) - start >= _HEADER.size:
            length, type_ = _HEADER.unpack_from(self._buffer, start)
            _check_length(type_, length)
            end = start + _HEADER.size + length
            if len(self._buffer) < end:
                break
            frames.append((type_, bytes(memoryview(self._buffer)[start + _HEADER.size : end])))
            start = end
        del self._buffer[:start]
        return frames

    @property
    def pending(self) -> bool:
        """Whether part of a frame has come: a stream that ends now was cut."""
        return bool(self._buffer)


class Connection:
    """The agent's side of one connection: requests out, events in, one request at a time."""

    def __init__(self) -> None:
        self._frames = FrameReader()
        self._greeted = False
        self._last_id = 0
        self._running = False

    def request(self, command: str, options: Mapping[str, Any] | None = None) -> bytes:
        """The bytes of a new request; the one before must be done.

        Raises:
            RuntimeError: it is not: a mistake of the caller.
        """
        if self._running or not self._greeted:
            raise RuntimeError(f"cannot request '{command}': the connection is not idle")
        self._last_id += 1
        self._running = True
        fields = {"id": self._last_id, "command": command, "options": dict(options or {})}
        return json_frame(FrameType.REQUEST, fields)

    def cancel(self) -> bytes:
        """The bytes that give up the running request."""
        return frame(FrameType.CANCEL)

    def stop(self) -> bytes:
        """The bytes that end the running recording before its time, and keep it."""
        return frame(FrameType.STOP)

    def receive(self, data: bytes) -> list[Event]:
        """What the hook says with these bytes.

        Raises:
            WireError: it is not this protocol.
        """
        events = (self._understand(type_, payload) for type_, payload in self._frames.feed(data))
        return [event for event in events if event is not None]

    def _understand(self, type_: int, payload: bytes) -> Event | None:
        if not self._greeted:
            if type_ != FrameType.HELLO:
                raise WireError(f"frame of type {type_} before HELLO")
            self._greeted = True
            return _hello(_fields(payload))
        if type_ == FrameType.DATA:
            if not self._running:
                raise WireError("DATA without a request")
            return Data(payload)
        if type_ in (FrameType.PROGRESS, FrameType.RESULT, FrameType.ERROR):
            return self._answer(type_, _fields(payload))
        return None  # a newer hook's frame, or one that is not for us

    def _answer(self, type_: int, fields: Mapping[str, Any]) -> Event | None:
        id_ = _whole(fields, "id")
        if id_ > self._last_id:
            raise WireError(f"answer to request {id_}, which was never sent")
        if id_ < self._last_id or not self._running:
            return None  # the last word on a request that was given up
        if type_ == FrameType.PROGRESS:
            return Progress(_text(fields, "stage"), _whole(fields, "done"), _whole(fields, "total"))
        self._running = False
        if type_ == FrameType.ERROR:
            return _failed(fields)
        result = fields.get("result")
        if not isinstance(result, dict):
            raise WireError("RESULT without a result")
        return Result(result)


def _check_length(type_: int, length: int) -> None:
    limit = MAX_PAYLOAD_BYTES if type_ not in _JSON_FRAMES else MAX_JSON_BYTES
    if length > limit:
        raise WireError(f"frame of type {type_} and {length} bytes, expected at most {limit}")


_JSON_FRAMES = frozenset(FrameType) - {FrameType.DATA, FrameType.CANCEL, FrameType.STOP}


def _failed(fields: Mapping[str, Any]) -> Failed:
    known = ("id", "reason", "message")
    details = {name: value for name, value in fields.items() if name not in known}
    return Failed(_text(fields, "reason"), _text(fields, "message"), details)


def _hello(fields: Mapping[str, Any]) -> Hello:
    return Hello(
        protocol=_whole(fields, "protocol"),
        hook_version=_text(fields, "hook_version"),
        runtime=_text(fields, "runtime"),
        runtime_version=_text(fields, "runtime_version"),
        pid=_whole(fields, "pid"),
        start_ticks=_whole(fields, "start_ticks"),
        service=_text(fields, "service"),
        commands=_words(fields, "commands"),
        formats=_words(fields, "formats"),
        pauses=_words(fields, "pauses"),
    )


def _words(fields: Mapping[str, Any], name: str) -> tuple[str, ...]:
    words = fields.get(name, [])
    if not isinstance(words, list):
        raise WireError(f"HELLO: '{name}' is not a list")
    return tuple(str(word)[:MAX_TEXT_CHARS] for word in words[:100])


def _fields(payload: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise WireError(f"payload is not JSON: {str(error)[:MAX_TEXT_CHARS]}") from error
    if not isinstance(fields, dict):
        raise WireError("payload is not a JSON object")
    return fields


def _whole(fields: Mapping[str, Any], name: str) -> int:
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise WireError(f"'{name}' is not a whole number")
    return value


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise WireError(f"'{name}' is not a string")
    return value[:MAX_TEXT_CHARS]
