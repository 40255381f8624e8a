"""Errors over HTTP: google.rpc.Status as JSON, which is problem+json (RFC 9457) as well."""

from typing import Any

import grpc
from fastapi.responses import JSONResponse

from memwatch_proto.status import DOMAIN, MAX_MESSAGE_CHARS, Failure, Reason

MEDIA_TYPE = "application/problem+json"

_STATUS = {
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 409,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 416,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}

#: Reasons that HTTP has a better word for than their code's.
_STATUS_OF_REASON = {Reason.STORE_FULL.value: 507, Reason.ANALYSIS_TOO_LARGE.value: 507}

#: What a status of HTTP's own means as a code, for routes that are not there.
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    405: grpc.StatusCode.UNIMPLEMENTED,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    415: grpc.StatusCode.INVALID_ARGUMENT,
}


def http_status(failure: Failure) -> int:
    """The status of a failure."""
    return _STATUS_OF_REASON.get(failure.reason) or _STATUS.get(failure.code, 500)


def document(failure: Failure, status: int | None = None) -> dict[str, Any]:
    """A failure as JSON."""
    info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": failure.reason,
        "domain": DOMAIN,
        "metadata": dict(failure.metadata),
    }
    details = [info]
    if failure.retry_after_seconds is not None:
        details.append(
            {
                "@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": f"{failure.retry_after_seconds:g}s",
            }
        )
    message = failure.message[:MAX_MESSAGE_CHARS]
    return {
        "title": failure.code.name,
        "status": status or http_status(failure),
        "detail": message,
        "reason": failure.reason,
        "code": failure.code.value[0],
        "message": message,
        "details": details,
    }


def response(failure: Failure, status: int | None = None) -> JSONResponse:
    """A failure as a response."""
    body = document(failure, status)
    headers = {}
    if failure.retry_after_seconds is not None:
        headers["Retry-After"] = str(max(1, round(failure.retry_after_seconds)))
    if body["status"] == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="memwatch"'
    return JSONResponse(body, body["status"], headers=headers, media_type=MEDIA_TYPE)


def of_status(status: int, why: str) -> JSONResponse:
    """A refusal of HTTP's own, such as of a path that is not there."""
    code = _CODES.get(status, grpc.StatusCode.INVALID_ARGUMENT)
    reason = Reason.NOT_FOUND if status == 404 else Reason.INVALID_ARGUMENT
    return response(Failure(code, reason, f"cannot accept the request: {why}"), status)


SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "An error: google.rpc.Status, with the members of RFC 9457 beside it.",
    "required": ["title", "status", "detail", "reason", "code", "message", "details"],
    "properties": {
        "title": {"type": "string", "description": "Name of the gRPC status code."},
        "status": {"type": "integer", "description": "The HTTP status."},
        "detail": {"type": "string", "description": "The same as `message`."},
        "reason": {
            "type": "string",
            "enum": sorted(Reason),
            "description": "For programs; explained in docs/reference/errors.md.",
        },
        "code": {"type": "integer", "description": "The gRPC status code."},
        "message": {
            "type": "string",
            "description": "`cannot <do X> <with what>: <cause>`, and the next step.",
        },
        "details": {
            "type": "array",
            "items": {"type": "object"},
            "description": "One google.rpc.ErrorInfo; a google.rpc.RetryInfo where to try again.",
        },
    },
}
