"""What can go wrong in an agent: facts as attributes, the sentence in `__str__`.

AgentError
├── SettingsError        a flag or variable that cannot be used
├── StateDirError        the state directory cannot be used, or another agent has it
├── BadRequestError      a field of a call that is no use
├── CaptureError         a capture that did not come to its end
│   ├── TargetNotFoundError  no such process now
│   ├── TargetEndedError     the process ended half-way
│   ├── NoWayInError         the process offers no way to take a snapshot
│   ├── HeadroomError        it would cost more memory than there is
│   ├── PauseBudgetError     it would pause the process longer than allowed
│   ├── CaptureInProgressError  another capture of the same pod runs
│   ├── CaptureTimeoutError     it took longer than the caller allows
│   ├── CaptureCancelledError   nobody waits for it any more, or the agent stops
│   └── CaptureFailedError      a driver failed; carries the driver's reason
└── SpoolError
    ├── SpoolFullError           quota or disk used up
    ├── SnapshotNotFoundError    no such snapshot
    └── OffsetOutOfRangeError    a resume beyond the end

`failure` translates them for gRPC; it is called at the border only.
"""

from collections.abc import Mapping

import grpc
from memwatch_proto.status import Failure, Reason

_Code = grpc.StatusCode


class AgentError(Exception):
    """Base of every error that the agent raises itself."""

    code: grpc.StatusCode = _Code.INTERNAL
    reason: str = Reason.INTERNAL
    retry_after_seconds: float | None = None

    @property
    def facts(self) -> Mapping[str, str]:
        """What the message says, for programs."""
        return {}


class SettingsError(AgentError):
    """A flag or an environment variable that cannot be used."""

    def __init__(self, name: str, value: str, cause: str) -> None:
        super().__init__(name, value, cause)
        self.name, self.value, self.cause = name, value, cause

    def __str__(self) -> str:
        return f"cannot use {self.name} '{self.value}': {self.cause}"


class StateDirError(AgentError):
    """The state directory cannot be used."""

    def __init__(self, path: str, cause: str) -> None:
        super().__init__(path, cause)
        self.path, self.cause = path, cause

    def __str__(self) -> str:
        return f"cannot use state directory '{self.path}': {self.cause}"


class BadRequestError(AgentError):
    """A field of a call that is of no use."""

    code = _Code.INVALID_ARGUMENT
    reason = Reason.INVALID_ARGUMENT

    def __init__(self, field: str, cause: str) -> None:
        super().__init__(field, cause)
        self.field, self.cause = field, cause

    def __str__(self) -> str:
        return f"cannot use {self.field}: {self.cause}"

    @property
    def facts(self) -> Mapping[str, str]:
        return {"field": self.field}


class CaptureError(AgentError):
    """A capture that did not come to its end."""


class TargetNotFoundError(CaptureError):
    """No process has this target id now."""

    code = _Code.NOT_FOUND
    reason = Reason.TARGET_NOT_FOUND

    def __init__(self, target_id: str) -> None:
        super().__init__(target_id)
        self.target_id = target_id

    def __str__(self) -> str:
        return (
            f"cannot find target '{self.target_id}': its process has ended or was never here; "
            "list the targets again"
        )

    @property
    def facts(self) -> Mapping[str, str]:
        return {"target_id": self.target_id}


class TargetEndedError(CaptureError):
    """The process ended while it was captured."""

    code = _Code.ABORTED
    reason = Reason.TARGET_ENDED

    def __init__(self, pid: int, cause: str = "") -> None:
        super().__init__(pid, cause)
        self.pid, self.cause = pid, cause

    def __str__(self) -> str:
        because = f" ({self.cause})" if self.cause else ""
        return (
            f"cannot capture process {self.pid}: it ended half-way{because}; "
            "nothing was kept, capture its successor"
        )

    @property
    def facts(self) -> Mapping[str, str]:
        return {"pid": str(self.pid)}


class NoWayInError(CaptureError):
    """The process offers no way to take a snapshot."""

    code = _Code.FAILED_PRECONDITION
    reason = Reason.NO_WAY_IN

    def __init__(self, pid: int, cause: str) -> None:
        super().__init__(pid, cause)
        self.pid, self.cause = pid, cause

    def __str__(self) -> str:
        return f"cannot capture process {self.pid}: {self.cause}"

    @property
    def facts(self) -> Mapping[str, str]:
        return {"pid": str(self.pid)}


class HeadroomError(CaptureError):
    """A snapshot would take more memory than there is."""

    code = _Code.FAILED_PRECONDITION
    reason = Reason.HEADROOM

    def __init__(self, pid: int, needed: int, available: int, limit: str) -> None:
        super().__init__(pid, needed, available, limit)
        self.pid, self.needed, self.available, self.limit = pid, needed, available, limit

    def __str__(self) -> str:
        return (
            f"cannot capture process {self.pid}: it needs about {self.needed} bytes of extra "
            f"memory and {self.limit} leaves {self.available}; raise the limit, or force it"
        )

    @property
    def facts(self) -> Mapping[str, str]:
        return {
            "pid": str(self.pid),
            "needed_bytes": str(self.needed),
            "available_bytes": str(self.available),
        }


class PauseBudgetError(CaptureError):
    """A snapshot would pause the process longer than its caller allows."""

    code = _Code.FAILED_PRECONDITION
    reason = Reason.PAUSE_BUDGET

    def __init__(self, pid: int, predicted_millis: int, allowed_millis: int) -> None:
        super().__init__(pid, predicted_millis, allowed_millis)
        self.pid, self.predicted, self.allowed = pid, predicted_millis, allowed_millis

    def __str__(self) -> str:
        return (
            f"cannot capture process {self.pid}: it would pause for about {self.predicted} ms and "
            f"{self.allowed} ms are allowed; allow a longer pause, or force it"
        )

    @property
    def facts(self) -> Mapping[str, str]:
        return {
            "pid": str(self.pid),
            "predicted_millis": str(self.predicted),
            "allowed_millis": str(self.allowed),
        }


class CaptureInProgressError(CaptureError):
    """Another capture of the same pod runs."""

    code = _Code.RESOURCE_EXHAUSTED
    reason = Reason.CAPTURE_IN_PROGRESS

    def __init__(self, pid: int, request_id: str, retry_after_seconds: float) -> None:
        super().__init__(pid, request_id, retry_after_seconds)
        self.pid, self.request_id = pid, request_id
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        return (
            f"cannot capture process {self.pid}: capture '{self.request_id}' of the same pod is "
            f"running; try again in {self.retry_after_seconds:.0f} s"
        )

    @property
    def facts(self) -> Mapping[str, str]:
        return {"pid": str(self.pid), "running_request_id": self.request_id}


class CaptureTimeoutError(CaptureError):
    """A capture took longer than its caller allows."""

    code = _Code.DEADLINE_EXCEEDED
    reason = Reason.DEADLINE_EXCEEDED

    def __init__(self, pid: int, seconds: float) -> None:
        super().__init__(pid, seconds)
        self.pid, self.seconds = pid, seconds

    def __str__(self) -> str:
        return (
            f"cannot capture process {self.pid}: not done within {self.seconds:g} s; "
            "nothing was kept, allow more time"
        )

    @property
    def facts(self) -> Mapping[str, str]:
        return {"pid": str(self.pid), "timeout_seconds": f"{self.seconds:g}"}


class CaptureCancelledError(CaptureError):
    """A capture that was given up."""

    code = _Code.CANCELLED
    reason = Reason.CANCELLED

    def __init__(self, pid: int, cause: str) -> None:
        super().__init__(pid, cause)
        self.pid, self.cause = pid, cause

    def __str__(self) -> str:
        return f"cannot finish the capture of process {self.pid}: {self.cause}; nothing was kept"

    @property
    def facts(self) -> Mapping[str, str]:
        return {"pid": str(self.pid)}


class SpoolError(AgentError):
    """Something about the spool."""


class SpoolFullError(SpoolError):
    """The spool's quota, or the disk under it, is used up."""

    code = _Code.FAILED_PRECONDITION
    reason = Reason.SPOOL_FULL

    def __init__(self, used: int, limit: int, cause: str) -> None:
        super().__init__(used, limit, cause)
        self.used, self.limit, self.cause = used, limit, cause

    def __str__(self) -> str:
        return (
            f"cannot keep the snapshot in the spool: {self.cause} ({self.used} of {self.limit} "
            "bytes used); discard snapshots that are stored, or raise --spool-quota"
        )

    @property
    def facts(self) -> Mapping[str, str]:
        return {"used_bytes": str(self.used), "limit_bytes": str(self.limit)}


class SnapshotNotFoundError(SpoolError):
    """No such snapshot lies in the spool."""

    code = _Code.NOT_FOUND
    reason = Reason.NOT_FOUND

    def __init__(self, snapshot_id: str, cause: str = "it is not in the spool") -> None:
        super().__init__(snapshot_id, cause)
        self.snapshot_id, self.cause = snapshot_id, cause

    def __str__(self) -> str:
        return f"cannot read snapshot '{self.snapshot_id}': {self.cause}; capture again"

    @property
    def facts(self) -> Mapping[str, str]:
        return {"snapshot_id": self.snapshot_id}


class OffsetOutOfRangeError(SpoolError):
    """A stream was to start beyond the snapshot's end."""

    code = _Code.OUT_OF_RANGE
    reason = Reason.OFFSET_OUT_OF_RANGE

    def __init__(self, snapshot_id: str, offset: int, size: int) -> None:
        super().__init__(snapshot_id, offset, size)
        self.snapshot_id, self.offset, self.size = snapshot_id, offset, size

    def __str__(self) -> str:
        return (
            f"cannot stream snapshot '{self.snapshot_id}' from offset {self.offset}: "
            f"it has {self.size} bytes; start at 0"
        )

    @property
    def facts(self) -> Mapping[str, str]:
        return {"offset_bytes": str(self.offset), "size_bytes": str(self.size)}


def failure(error: AgentError) -> Failure:
    """The error as a call's status."""
    return Failure(
        error.code, error.reason, str(error), dict(error.facts), error.retry_after_seconds
    )
