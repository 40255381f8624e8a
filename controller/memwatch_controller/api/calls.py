"""Logs every call with an id of its own, which the log records made during the call carry."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import grpc
import structlog

#: A caller's own id of the call is taken where it is at most this long.
_MAX_CALL_ID = 128
_CALL_ID_HEADER = "x-request-id"

#: Probes ask every few seconds and say nothing new.
_NOT_LOGGED = ("/grpc.health.v1.Health/", "/grpc.reflection.")

_Handler = Any

_log = structlog.get_logger()


class CallLog(grpc.aio.ServerInterceptor):
    """Gives each call an id, and logs its end with code and duration."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler:
        """Wraps the call's handler."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith(_NOT_LOGGED):
            return handler
        call_id = _call_id(handler_call_details)
        if handler.response_streaming:
            return _logged_stream(handler, method, call_id)
        return _logged_unary(handler, method, call_id)


def _logged_unary(handler: _Handler, method: str, call_id: str) -> _Handler:
    inner = handler.stream_unary if handler.request_streaming else handler.unary_unary
    make = (
        grpc.stream_unary_rpc_method_handler
        if handler.request_streaming
        else grpc.unary_unary_rpc_method_handler
    )

    async def logged(request: Any, context: Any) -> Any:
        with structlog.contextvars.bound_contextvars(call=call_id):
            end = _Ending(method, context)
            try:
                return await inner(request, context)
            finally:
                end.log()

    return make(logged, handler.request_deserializer, handler.response_serializer)


def _logged_stream(handler: _Handler, method: str, call_id: str) -> _Handler:
    inner = handler.stream_stream if handler.request_streaming else handler.unary_stream
    make = (
        grpc.stream_stream_rpc_method_handler
        if handler.request_streaming
        else grpc.unary_stream_rpc_method_handler
    )

    async def logged(request: Any, context: Any) -> AsyncIterator[Any]:
        with structlog.contextvars.bound_contextvars(call=call_id):
            end = _Ending(method, context)
            try:
                async for answer in inner(request, context):
                    yield answer
            finally:
                end.log()

    return make(logged, handler.request_deserializer, handler.response_serializer)


class _Ending:
    """Logs how a call ended.

    The peer is asked for at once: a stream that its caller leaves is ended after gRPC has freed
    the call, and asking a freed call crashes the process (grpcio 1.85).
    """

    def __init__(self, method: str, context: Any) -> None:
        self._method = method
        self._context = context
        self._peer = context.peer()
        self._begun = time.monotonic()

    def log(self) -> None:
        code = self._context.code() or grpc.StatusCode.OK
        name = code.name if isinstance(code, grpc.StatusCode) else str(code)
        millis = round((time.monotonic() - self._begun) * 1000)
        _log.info("call", method=self._method, code=name, millis=millis, peer=self._peer)


def _call_id(details: grpc.HandlerCallDetails) -> str:
    """The caller's id of the call, where it sent a printable one; else a new one."""
    for key, value in details.invocation_metadata or ():
        if key == _CALL_ID_HEADER and isinstance(value, str) and 0 < len(value) <= _MAX_CALL_ID:
            return value
    return uuid4().hex
