"""The hook wire, version 1, as bytes: frames and messages (docs/formats/hook-wire.md)."""

from __future__ import annotations

import json
import struct

TYPE_CHECKING = False  # `typing` costs the app's start-up some milliseconds
if TYPE_CHECKING:
    from typing import Any

PROTOCOL = 1

HELLO, REQUEST, PROGRESS, DATA, RESULT, ERROR, CANCEL, STOP = range(1, 9)

# The reasons of an ERROR frame.
UNKNOWN_COMMAND = "UNKNOWN_COMMAND"
BAD_REQUEST = "BAD_REQUEST"
BUSY = "BUSY"
CANCELLED = "CANCELLED"
FAILED = "FAILED"
CHILD_FAILED = "CHILD_FAILED"
UNSUPPORTED = "UNSUPPORTED"
MISSING = "MISSING"
HEADROOM = "HEADROOM"

MAX_PAYLOAD_BYTES = 1 << 20  # what any frame may carry: bounds what a peer can make us hold
MAX_JSON_BYTES = 64 << 10  # what a JSON frame may carry
# What one of our DATA frames carries. A frame of at most 32 KiB goes into a Unix socket whole or
# not at all (Linux puts it into one buffer), so that a writer that is killed leaves no half frame
# behind.
DATA_BYTES = (32 << 10) - 16
MAX_MESSAGE_CHARS = 500  # an error's text: a sentence, never a dump

_HEADER = struct.Struct(">IB")
HEADER_BYTES = _HEADER.size


class WireError(Exception):
    """The peer broke the protocol: the connection is to be closed."""

    def __init__(self, fault: str) -> None:
        super().__init__(fault)
        self.fault = fault

    def __str__(self) -> str:
        return f"cannot read the hook wire: {self.fault}"


class RequestError(Exception):
    """A request that cannot be done; `reason` is one of the ERROR frame's.

    `request_id` is 0 where whoever raises it does not know the request.
    """

    def __init__(self, reason: str, message: str, request_id: int = 0) -> None:
        super().__init__(message)
        self.reason = reason
        self.request_id = request_id


class Request:
    """One REQUEST: its id, the command's name and its options."""

    __slots__ = ("command", "id", "options")

    def __init__(self, id: int, command: str, options: dict[str, Any]) -> None:  # noqa: A002
        self.id = id
        self.command = command
        self.options = options


def frame(kind: int, payload: bytes = b"") -> bytes:
    """The bytes of one frame."""
    return _HEADER.pack(len(payload), kind) + payload


def message(kind: int, body: dict[str, Any]) -> bytes:
    """The bytes of a frame with a JSON payload: compact, in the order of `body`."""
    return frame(
        kind, json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
    )


def result(request_id: int, body: dict[str, Any]) -> bytes:
    """A RESULT frame; ERROR `FAILED` instead where the result is over the limit of JSON frames."""
    done = message(RESULT, {"id": request_id, "result": body})
    if len(done) - HEADER_BYTES <= MAX_JSON_BYTES:
        return done
    size = len(done) - HEADER_BYTES
    return error(
        request_id,
        FAILED,
        f"cannot answer in {size} bytes: the limit is {MAX_JSON_BYTES}; ask for less",
    )


def error(request_id: int, reason: str, text: str) -> bytes:
    """An ERROR frame, its text cut to a sentence's length."""
    return message(ERROR, {"id": request_id, "reason": reason, "message": text[:MAX_MESSAGE_CHARS]})


def progress(request_id: int, stage: str, done: int, total: int) -> bytes:
    """A PROGRESS frame."""
    return message(PROGRESS, {"id": request_id, "stage": stage, "done": done, "total": total})


def parse_request(payload: bytes) -> Request:
    """Reads a REQUEST's payload.

    Raises:
        RequestError: it is JSON but no request of ours.
        WireError: it is no JSON object, or too long for one.
    """
    if len(payload) > MAX_JSON_BYTES:
        raise WireError(f"a JSON payload has {len(payload)} bytes, the limit is {MAX_JSON_BYTES}")
    try:
        body = json.loads(payload.decode("utf-8"))
    except (ValueError, RecursionError) as cause:
        raise WireError("a request's payload is not JSON") from cause
    if not isinstance(body, dict) or type(body.get("id")) is not int:
        raise WireError("a request has no id")
    command, options = body.get("command"), body.get("options", {})
    if not isinstance(command, str) or not isinstance(options, dict):
        raise RequestError(
            BAD_REQUEST,
            "cannot read the request: it needs a command's name, and options as an object",
            body["id"],
        )
    return Request(body["id"], command, options)


class Decoder:
    """Bytes in, frames out: at most one frame's payload is held."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The frames (type, payload) that `data` completes.

        Raises:
            WireError: a frame longer than the limit is announced.
        """
        self._buffer += data
        frames = []
        while len(self._buffer) >= HEADER_BYTES:
            length, kind = _HEADER.unpack_from(self._buffer)
            if length > MAX_PAYLOAD_BYTES:
                raise WireError(
                    f"a frame of {length} bytes is announced, the limit is {MAX_PAYLOAD_BYTES}"
                )
            if len(self._buffer) < HEADER_BYTES + length:
                break
            frames.append((kind, bytes(self._buffer[HEADER_BYTES : HEADER_BYTES + length])))
            del self._buffer[: HEADER_BYTES + length]
        return frames
