"""Errors as they cross a gRPC call: google.rpc.Status with one ErrorInfo.

The agent and the controller translate their own errors with `to_status`; every
caller reads them back with `from_rpc_error`. Both ends therefore share the
reasons below, which docs/reference/errors.md explains one by one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

DOMAIN = "memwatch"

#: A remote message is cut here, so that a hostile peer cannot fill a terminal or a log.
MAX_MESSAGE_CHARS = 2_000


class Reason(StrEnum):
    """Why a call failed, for programs."""

    UNAUTHENTICATED = "UNAUTHENTICATED"
    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    NOT_FOUND = "NOT_FOUND"
    INTERNAL = "INTERNAL"
    UNAVAILABLE = "UNAVAILABLE"
    CANCELLED = "CANCELLED"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    TARGET_NOT_FOUND = "TARGET_NOT_FOUND"
    TARGET_ENDED = "TARGET_ENDED"
    TARGET_UNREACHABLE = "TARGET_UNREACHABLE"
    AMBIGUOUS_TARGET = "AMBIGUOUS_TARGET"
    NO_WAY_IN = "NO_WAY_IN"
    HEADROOM = "HEADROOM"
    PAUSE_BUDGET = "PAUSE_BUDGET"
    DEBUGGER_ATTACHED = "DEBUGGER_ATTACHED"
    INSPECTOR_NOT_TARGET = "INSPECTOR_NOT_TARGET"
    INSPECTOR_EXPOSED = "INSPECTOR_EXPOSED"
    CAPTURE_IN_PROGRESS = "CAPTURE_IN_PROGRESS"
    CAPTURE_FAILED = "CAPTURE_FAILED"
    CANNOT_FORK = "CANNOT_FORK"
    FORK_FAILED = "FORK_FAILED"
    SPOOL_FULL = "SPOOL_FULL"
    STORE_FULL = "STORE_FULL"
    DIGEST_MISMATCH = "DIGEST_MISMATCH"
    BLOB_LOST = "BLOB_LOST"
    OFFSET_OUT_OF_RANGE = "OFFSET_OUT_OF_RANGE"
    TOO_MANY_SESSIONS = "TOO_MANY_SESSIONS"
    TOO_MANY_AGENTS = "TOO_MANY_AGENTS"
    SERVICE_BUSY = "SERVICE_BUSY"
    REPLACED = "REPLACED"
    SESSION_NOT_FINISHED = "SESSION_NOT_FINISHED"
    SNAPSHOT_IN_USE = "SNAPSHOT_IN_USE"
    ANALYSIS_FAILED = "ANALYSIS_FAILED"
    ANALYSIS_TOO_LARGE = "ANALYSIS_TOO_LARGE"
    PROFILE_KIND_UNSUPPORTED = "PROFILE_KIND_UNSUPPORTED"
    PROFILER_MISSING = "PROFILER_MISSING"
    PROFILE_LOST = "PROFILE_LOST"
    PROFILE_NOT_FINISHED = "PROFILE_NOT_FINISHED"
    TOO_MANY_PROFILES = "TOO_MANY_PROFILES"
    NO_CLUSTER = "NO_CLUSTER"
    CLUSTER_FORBIDDEN = "CLUSTER_FORBIDDEN"
    CLUSTER_NOT_FOUND = "CLUSTER_NOT_FOUND"
    CLUSTER_CONFLICT = "CLUSTER_CONFLICT"
    CLUSTER_REFUSED = "CLUSTER_REFUSED"
    CLUSTER_BUSY = "CLUSTER_BUSY"
    NO_AGENT = "NO_AGENT"
    CANNOT_ATTACH = "CANNOT_ATTACH"
    ISOLATION_REFUSED = "ISOLATION_REFUSED"


@dataclass(frozen=True)
class Failure:
    """One error of a call, free of gRPC.

    Attributes:
        code: the gRPC status code.
        reason: one of `Reason`, or a word of a newer peer.
        message: `cannot <do X> <with what>: <cause>`, with the next step.
        metadata: the facts in the message, for programs.
        retry_after_seconds: when another try makes sense; None where it does not.
    """

    code: grpc.StatusCode
    reason: str
    message: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    retry_after_seconds: float | None = None


def to_status(failure: Failure) -> grpc.Status:
    """The gRPC status to abort a call with (`context.abort_with_status`)."""
    return rpc_status.to_status(to_proto(failure))


def to_proto(failure: Failure) -> status_pb2.Status:
    """The google.rpc.Status of a failure, as the HTTP API shows it too."""
    details = [
        _packed(
            error_details_pb2.ErrorInfo(
                reason=failure.reason, domain=DOMAIN, metadata=dict(failure.metadata)
            )
        )
    ]
    if failure.retry_after_seconds is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(int(failure.retry_after_seconds * 1000))
        details.append(_packed(error_details_pb2.RetryInfo(retry_delay=delay)))
    return status_pb2.Status(
        code=failure.code.value[0], message=failure.message[:MAX_MESSAGE_CHARS], details=details
    )


def from_rpc_error(error: grpc.RpcError) -> Failure:
    """What a failed call says, whoever answered it; never raises."""
    code = error.code() if hasattr(error, "code") else grpc.StatusCode.UNKNOWN
    message = (error.details() if hasattr(error, "details") else str(error)) or code.name.lower()
    status = _rich_status(error)
    if status is None:
        return Failure(code, code.name, message[:MAX_MESSAGE_CHARS])
    return from_proto(code, status)


def from_status(status: grpc.Status) -> Failure:
    """What `to_status` was made of."""
    for key, value in status.trailing_metadata or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            return from_proto(status.code, status_pb2.Status.FromString(value))
    return Failure(status.code, status.code.name, status.details[:MAX_MESSAGE_CHARS])


def from_proto(code: grpc.StatusCode, status: status_pb2.Status) -> Failure:
    """What a google.rpc.Status says."""
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    retry_after = None
    for detail in status.details:
        if detail.Is(info.DESCRIPTOR):
            detail.Unpack(info)
        elif detail.Is(retry.DESCRIPTOR):
            detail.Unpack(retry)
            retry_after = retry.retry_delay.ToMilliseconds() / 1000
    return Failure(
        code,
        info.reason or code.name,
        status.message[:MAX_MESSAGE_CHARS],
        dict(info.metadata),
        retry_after,
    )


def _rich_status(error: grpc.RpcError) -> status_pb2.Status | None:
    """The status in the call's trailers; None where there is none or it lies."""
    try:
        if isinstance(error, grpc.aio.AioRpcError):
            return _aio_status(error)
        return rpc_status.from_call(error)  # type: ignore[arg-type]
    except (ValueError, AttributeError, TypeError):
        return None


def _aio_status(error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            status = status_pb2.Status.FromString(value)
            return status if status.code == error.code().value[0] else None
    return None


def _packed(message: error_details_pb2.ErrorInfo | error_details_pb2.RetryInfo) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


def code_name(status: status_pb2.Status) -> str:
    """The name of a status code, such as `NOT_FOUND`."""
    return str(code_pb2.Code.Name(status.code))
