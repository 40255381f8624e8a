"""The border: turns the controller's errors into gRPC statuses, once, for every method."""

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import grpc
import structlog

from memwatch_controller.errors import AgentError, ControllerError
from memwatch_proto.status import Failure, Reason, to_status

Code = grpc.StatusCode
_Message = TypeVar("_Message")

#: The code of each reason; an agent's own code is kept.
CODES = {
    Reason.UNAUTHENTICATED: Code.UNAUTHENTICATED,
    Reason.INVALID_ARGUMENT: Code.INVALID_ARGUMENT,
    Reason.NOT_FOUND: Code.NOT_FOUND,
    Reason.INTERNAL: Code.INTERNAL,
    Reason.UNAVAILABLE: Code.UNAVAILABLE,
    Reason.CANCELLED: Code.CANCELLED,
    Reason.DEADLINE_EXCEEDED: Code.DEADLINE_EXCEEDED,
    Reason.TARGET_NOT_FOUND: Code.NOT_FOUND,
    Reason.TARGET_ENDED: Code.FAILED_PRECONDITION,
    Reason.TARGET_UNREACHABLE: Code.UNAVAILABLE,
    Reason.AMBIGUOUS_TARGET: Code.FAILED_PRECONDITION,
    Reason.NO_WAY_IN: Code.FAILED_PRECONDITION,
    Reason.HEADROOM: Code.FAILED_PRECONDITION,
    Reason.PAUSE_BUDGET: Code.FAILED_PRECONDITION,
    Reason.DEBUGGER_ATTACHED: Code.FAILED_PRECONDITION,
    Reason.INSPECTOR_NOT_TARGET: Code.FAILED_PRECONDITION,
    Reason.INSPECTOR_EXPOSED: Code.FAILED_PRECONDITION,
    Reason.CAPTURE_IN_PROGRESS: Code.RESOURCE_EXHAUSTED,
    Reason.CAPTURE_FAILED: Code.ABORTED,
    Reason.CANNOT_FORK: Code.FAILED_PRECONDITION,
    Reason.FORK_FAILED: Code.ABORTED,
    Reason.SPOOL_FULL: Code.FAILED_PRECONDITION,
    Reason.STORE_FULL: Code.RESOURCE_EXHAUSTED,
    Reason.DIGEST_MISMATCH: Code.INVALID_ARGUMENT,
    Reason.BLOB_LOST: Code.DATA_LOSS,
    Reason.OFFSET_OUT_OF_RANGE: Code.OUT_OF_RANGE,
    Reason.TOO_MANY_SESSIONS: Code.RESOURCE_EXHAUSTED,
    Reason.TOO_MANY_AGENTS: Code.RESOURCE_EXHAUSTED,
    Reason.SERVICE_BUSY: Code.RESOURCE_EXHAUSTED,
    Reason.REPLACED: Code.ABORTED,
    Reason.SESSION_NOT_FINISHED: Code.FAILED_PRECONDITION,
    Reason.SNAPSHOT_IN_USE: Code.FAILED_PRECONDITION,
    Reason.ANALYSIS_FAILED: Code.INTERNAL,
    Reason.ANALYSIS_TOO_LARGE: Code.RESOURCE_EXHAUSTED,
    Reason.PROFILE_KIND_UNSUPPORTED: Code.UNIMPLEMENTED,
    Reason.PROFILER_MISSING: Code.FAILED_PRECONDITION,
    Reason.PROFILE_LOST: Code.NOT_FOUND,
    Reason.PROFILE_NOT_FINISHED: Code.FAILED_PRECONDITION,
    Reason.TOO_MANY_PROFILES: Code.RESOURCE_EXHAUSTED,
    Reason.NO_CLUSTER: Code.FAILED_PRECONDITION,
    Reason.CLUSTER_FORBIDDEN: Code.FAILED_PRECONDITION,
    Reason.CLUSTER_NOT_FOUND: Code.NOT_FOUND,
    Reason.CLUSTER_CONFLICT: Code.ABORTED,
    Reason.CLUSTER_REFUSED: Code.FAILED_PRECONDITION,
    Reason.CLUSTER_BUSY: Code.RESOURCE_EXHAUSTED,
    Reason.NO_AGENT: Code.FAILED_PRECONDITION,
    Reason.CANNOT_ATTACH: Code.FAILED_PRECONDITION,
    Reason.ISOLATION_REFUSED: Code.FAILED_PRECONDITION,
}

_log = structlog.get_logger()


def failure_of(error: ControllerError) -> Failure:
    """A controller's error as it crosses a call."""
    if isinstance(error, AgentError):
        code = getattr(Code, error.code, Code.INTERNAL)
    else:
        code = CODES.get(Reason(error.reason), Code.INTERNAL)
    retry = getattr(error, "retry_after_seconds", None)
    return Failure(code, error.reason, str(error), error.facts, retry)


def internal_failure(method: str, error: BaseException) -> Failure:
    """An error that nobody foresaw: logged here with its trace, told without it."""
    _log.error("call failed", method=method, exc_info=error)
    return Failure(
        Code.INTERNAL,
        Reason.INTERNAL,
        f"cannot answer {method}: {type(error).__name__}; see the controller's log",
    )


def unary(
    method: Callable[[Any, Any, Any], Awaitable[_Message]],
) -> Callable[[Any, Any, Any], Awaitable[_Message]]:
    """Makes a method of a servicer answer its errors as statuses."""

    @functools.wraps(method)
    async def answer(self: Any, request: Any, context: Any) -> _Message:
        try:
            return await method(self, request, context)
        except ControllerError as error:
            failure = failure_of(error)
        except (grpc.RpcError, grpc.aio.AbortError, grpc.aio.BaseError):
            raise
        except Exception as error:  # noqa: BLE001  the outermost border of a call
            failure = internal_failure(method.__name__, error)
        raise await _aborted(context, failure)

    return answer


def streaming(
    method: Callable[[Any, Any, Any], AsyncIterator[_Message]],
) -> Callable[[Any, Any, Any], AsyncIterator[_Message]]:
    """The same for a method that answers a stream."""

    @functools.wraps(method)
    async def answer(self: Any, request: Any, context: Any) -> AsyncIterator[_Message]:
        try:
            async for message in method(self, request, context):
                yield message
            return
        except ControllerError as error:
            failure = failure_of(error)
        except (grpc.RpcError, grpc.aio.AbortError, grpc.aio.BaseError):
            raise
        except Exception as error:  # noqa: BLE001  the outermost border of a call
            failure = internal_failure(method.__name__, error)
        raise await _aborted(context, failure)

    return answer


async def _aborted(context: Any, failure: Failure) -> AssertionError:
    """Ends the call, which raises; what is returned says that it did not."""
    await context.abort_with_status(to_status(failure))
    return AssertionError("abort_with_status always raises")
