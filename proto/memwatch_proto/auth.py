"""The bearer token that guards every call but health.

One token is shared by a controller, its agents and its callers. It is made on
first start into a file that only its owner may read; roles come later.
"""

import hmac
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc

from memwatch_proto.status import Failure, Reason, to_status

HEADER = "authorization"

#: grpc's handler of one method; its types say nothing of ours.
_Handler = Any

#: Calls that need no token: an orchestrator's probes have none.
_OPEN_METHODS = ("/grpc.health.v1.Health/",)


def load_or_create_token(path: Path) -> str:
    """The token in `path`, made there (mode 0600) where the file does not exist.

    Raises:
        OSError: the file can be neither read nor made.
        ValueError: the file is empty.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return read_token(path)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        token = secrets.token_urlsafe(32)
        file.write(token + "\n")
    return token


def read_token(path: Path) -> str:
    """The token in `path`.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is empty.
    """
    token = path.read_text(encoding="ascii").strip()
    if not token:
        raise ValueError(f"cannot use token file '{path}': it is empty; delete it to have one made")
    return token


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """The metadata of a call with this token."""
    return ((HEADER, f"Bearer {token}"),) if token else ()


def matches(header: str, token: str) -> bool:
    """Whether an `authorization` header carries this token, in constant time."""
    return hmac.compare_digest(header.encode(), f"Bearer {token}".encode())


class TokenInterceptor(grpc.aio.ServerInterceptor):
    """Refuses calls without the token; health is open."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler:
        """Lets a call pass, or answers UNAUTHENTICATED in its place."""
        handler = await continuation(handler_call_details)
        if handler is None or handler_call_details.method.startswith(_OPEN_METHODS):
            return handler
        given = next(
            (v for k, v in handler_call_details.invocation_metadata or () if k == HEADER), ""
        )
        return handler if matches(str(given), self._token) else _refusing(handler)


def _refusing(handler: _Handler) -> _Handler:
    """A handler of the same shape that only says UNAUTHENTICATED."""
    status = to_status(
        Failure(
            grpc.StatusCode.UNAUTHENTICATED,
            Reason.UNAUTHENTICATED,
            "cannot accept the call: the bearer token is missing or wrong; "
            "pass --token-file or set MEMWATCH_TOKEN",
        )
    )

    async def refuse(_request: Any, context: Any) -> None:
        await context.abort_with_status(status)

    async def refuse_stream(_request: Any, context: Any) -> AsyncIterator[None]:
        await context.abort_with_status(status)
        yield  # makes this a generator, as a streaming handler must be

    makers: dict[tuple[bool, bool], Callable[[Any], _Handler]] = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    make = makers[(bool(handler.request_streaming), bool(handler.response_streaming))]
    return make(refuse_stream if handler.response_streaming else refuse)
