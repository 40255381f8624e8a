"""Calls the gRPC servicers in this process, so that HTTP and gRPC are one implementation."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn, TypeVar

import grpc
from fastapi import Request
from fastapi.responses import JSONResponse, StreamingResponse
from google.protobuf import json_format
from google.protobuf.message import Message

from memwatch_controller.api import schemas
from memwatch_controller.api.fields import bad_field
from memwatch_controller.api.http import problems
from memwatch_controller.errors import InvalidArgumentError
from memwatch_proto.status import Failure, from_status

_Message = TypeVar("_Message", bound=Message)

#: The longest JSON body: a selector of a thousand ids is far below it.
MAX_BODY_BYTES = 1024 * 1024

#: How deep JSON may nest; ours nests four deep.
_MAX_DEPTH = 16

#: A comment is sent when nothing happened for so long: proxies close silent streams.
_PING_SECONDS = 15.0

#: A method that fails for what it was asked does so within this time.
_FIRST_SECONDS = 1.0


class FailedError(Exception):
    """A call that failed; what it failed with is its whole content."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Context:
    """What a servicer sees of its caller; only what ours use."""

    async def abort_with_status(self, status: grpc.Status) -> NoReturn:
        """Ends the call with an error."""
        raise FailedError(from_status(status))

    async def abort(self, code: grpc.StatusCode, details: str = "") -> NoReturn:
        """Ends the call with a plain error."""
        raise FailedError(Failure(code, code.name, details))

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        """Nothing: the token was checked before."""
        return ()

    def peer(self) -> str:
        """Where the call came from."""
        return "http"

    def cancelled(self) -> bool:
        """Never: a caller that is gone cancels our task."""
        return False

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Nobody is called: a handler ends by itself or by being cancelled."""


async def call(method: Callable[[Any, Any], Awaitable[Message]], request: Message) -> JSONResponse:
    """The answer of a unary method.

    Raises:
        FailedError: the method's error.
    """
    return JSONResponse(schemas.to_json(await method(request, Context())))


async def events(
    method: Callable[[Any, Any], AsyncIterator[Message]], request: Message
) -> StreamingResponse:
    """The answers of a streaming method as server-sent events.

    Raises:
        FailedError: the method's error, where it fails at once.
    """
    answers = aiter(method(request, Context()))
    first = asyncio.ensure_future(anext(answers, None))
    # A method may have nothing to say for hours: then its errors, too, come as events.
    if (await asyncio.wait({first}, timeout=_FIRST_SECONDS))[0]:
        await first
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(
        _events(first, answers), media_type="text/event-stream", headers=headers
    )


async def _events(
    following: asyncio.Future[Message | None], answers: AsyncIterator[Message]
) -> AsyncIterator[str]:
    try:
        while True:
            try:
                while not (await asyncio.wait({following}, timeout=_PING_SECONDS))[0]:
                    yield ": still here\n\n"
            except BaseException:
                following.cancel()
                raise
            current = await following
            if current is None:
                break
            yield _event("message", schemas.to_json(current))
            following = asyncio.ensure_future(anext(answers, None))
        yield _event("end", {})
    except FailedError as error:
        yield _event("error", problems.document(error.failure))


def _event(kind: str, data: dict[str, Any]) -> str:
    named = "" if kind == "message" else f"event: {kind}\n"
    return f"{named}data: {json.dumps(data, separators=(',', ':'))}\n\n"


async def body(request: Request, kind: type[_Message]) -> _Message:
    """The message in a request's body.

    Raises:
        InvalidArgumentError: it is too long, no JSON, or no such message.
    """
    if _media_type(request) != "application/json":
        raise bad_field("Content-Type", "must be application/json")
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > MAX_BODY_BYTES:
            raise bad_field("body", f"has more than {MAX_BODY_BYTES} bytes")
    try:
        found = json.loads(data)
        if not isinstance(found, dict):
            raise bad_field("body", "is no JSON object")
        return json_format.ParseDict(found, kind(), max_recursion_depth=_MAX_DEPTH)
    except json_format.ParseError as error:
        raise bad_field("body", f"is no {kind.__name__}: {_words(error)}") from error
    except (ValueError, RecursionError) as error:
        raise _no_json(error) from error


def _no_json(error: Exception) -> InvalidArgumentError:
    return bad_field("body", f"is no JSON: {_words(error)}")


def _words(error: Exception) -> str:
    shown = str(error)[:300]
    return "".join(c if c.isprintable() else "�" for c in shown)


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").split(";")[0].strip().lower()
