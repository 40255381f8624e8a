"""Logs every HTTP request with an id of its own, as gRPC's calls are logged."""

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from uuid import uuid4

import structlog

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]

#: A caller's own id of the request is taken where it is printable and at most this long.
_MAX_CALL_ID = 128

#: Probes and scrapes ask every few seconds and say nothing new.
_NOT_LOGGED = frozenset({"/healthz", "/readyz", "/metrics"})

_HEADER = b"x-request-id"

_log = structlog.get_logger()


class CallLog:
    """Gives each request an id, tells it to the caller, and logs the request's end."""

    def __init__(self, application: Callable[[_Message, _Receive, _Send], Awaitable[None]]) -> None:
        self._application = application

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Passes a request on."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        call_id, begun, status = _call_id(scope), time.monotonic(), 0

        async def tell(message: _Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (_HEADER, call_id.encode())]
            await send(message)

        with structlog.contextvars.bound_contextvars(call=call_id):
            try:
                await self._application(scope, receive, tell)
            finally:
                if scope["path"] not in _NOT_LOGGED:
                    _log.info(
                        "request",
                        method=scope["method"],
                        path=scope["path"][:200],
                        status=status,
                        millis=round((time.monotonic() - begun) * 1000),
                    )


def _call_id(scope: _Message) -> str:
    """The caller's id of the request, where it sent a sound one; else a new one."""
    for key, value in scope["headers"]:
        text: str = value.decode("latin-1")
        if (
            key == _HEADER
            and 0 < len(text) <= _MAX_CALL_ID
            and text.isascii()
            and text.isprintable()
        ):
            return text
    return uuid4().hex
