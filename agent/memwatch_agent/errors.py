"""What can go wrong in an agent: facts as attributes, the sentence in `__str__`.

AgentError
├── SettingsError        a flag or variable that cannot be used
├── StateDirError        the state directory cannot be used, or another agent has it
├── BadRequestError      a field of a call that is no use
├── CaptureError         a capture that did not come to its end
│   ├── TargetNotFoundError  no such process now
│   ├── HeadroomError        it would cost more memory than there is
│   ├── PauseBudgetError     it would pause the process longer than allowed
│   ├── CaptureInProgressError  another capture of the same pod runs
│   ├── RecordingLostError      this agent knows no such recording any more
│   ├── CaptureTimeoutError     it took longer than the caller allows
│   └── CaptureCancelledError   nobody waits for it any more, or the agent stops
└── SpoolError
    ├── SpoolFullError           quota or disk used up
    ├── SnapshotNotFoundError    no such snapshot
    └── OffsetOutOfRangeError    a resume beyond the end

What a driver raises is a `drivers.errors.DriverError` and carries its reason itself. `failure`
translates both for gRPC; it is called at the border only.
"""

from collections.abc import Mapping

import grpc

from memwatch_agent.drivers.errors import DriverError
from memwatch_proto.status import Failure, Reason

_Code = grpc.StatusCode


class AgentError(Exception):
    """Base of every error that the agent raises itself."""

    code: grpc.StatusCode = _Code.INTERNAL
    reason: str = Reason.INTERNAL
    retry_after_seconds: float | None = None
    #: The attributes that a caller's program is told.
    told: tuple[str, ...] = ()

    @property
    def facts(self) -> Mapping[str, str]:
        """What the message says, for programs."""
        return {name: str(getattr(self, name)) for name in self.told}


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
    told = ("field",)

    def __init__(self, field: str, cause: str) -> None:
        super().__init__(field, cause)
        self.field, self.cause = field, cause

    def __str__(self) -> str:
        return f"cannot use {self.field}: {self.cause}"


class CaptureError(AgentError):
    """A capture that did not come to its end."""


class TargetNotFoundError(CaptureError):
    """No process has this target id now."""

    code = _Code.NOT_FOUND
    reason = Reason.TARGET_NOT_FOUND
    told = ("target_id",)

    def __init__(self, target_id: str) -> None:
        super().__init__(target_id)
        self.target_id = target_id

    def __str__(self) -> str:
        return (
            f"cannot find target '{self.target_id}': its process has ended or was never here; "
            "list the targets again"
        )


class HeadroomError(CaptureError):
    """A snapshot would take more memory than there is."""

    code = _Code.FAILED_PRECONDITION
    reason = Reason.HEADROOM
    told = (
        "pid",
        "needed_bytes",
        "available_bytes",
    )

    def __init__(self, pid: int, needed_bytes: int, available_bytes: int) -> None:
        super().__init__(pid, needed_bytes, available_bytes)
        self.pid = pid
        self.needed_bytes, self.available_bytes = needed_bytes, available_bytes

    def __str__(self) -> str:
        return (
            f"cannot capture process {self.pid}: it needs about {self.needed_bytes} bytes of extra "
            f"memory and {self.available_bytes} are left under its limit; raise the limit, "
            "or force it"
        )


class PauseBudgetError(CaptureError):
    """A snapshot would pause the process longer than its caller allows."""

    code = _Code.FAILED_PRECONDITION
    reason = Reason.PAUSE_BUDGET
    told = (
        "pid",
        "predicted_millis",
        "allowed_millis",
    )

    def __init__(self, pid: int, predicted_millis: int, allowed_millis: int) -> None:
        super().__init__(pid, predicted_millis, allowed_millis)
        self.pid = pid
        self.predicted_millis, self.allowed_millis = predicted_millis, allowed_millis

    def __str__(self) -> str:
        return (
            f"cannot capture process {self.pid}: it would pause for about "
            f"{self.predicted_millis} ms and {self.allowed_millis} ms are allowed; "
            "allow a longer pause, or force it"
        )


class CaptureInProgressError(CaptureError):
    """Another capture of the same pod runs."""

    code = _Code.RESOURCE_EXHAUSTED
    reason = Reason.CAPTURE_IN_PROGRESS
    told = (
        "pid",
        "running_request_id",
    )

    def __init__(self, pid: int, running_request_id: str, retry_after_seconds: float) -> None:
        super().__init__(pid, running_request_id, retry_after_seconds)
        self.pid, self.running_request_id = pid, running_request_id
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        return (
            f"cannot capture process {self.pid}: capture "
            f"'{self.running_request_id}' of the same pod is running; "
            f"try again in {self.retry_after_seconds:.0f} s"
        )


class RecordingLostError(CaptureError):
    """A recording that is to be joined, and that this agent does not know."""

    code = _Code.NOT_FOUND
    reason = Reason.PROFILE_LOST
    told = ("request_id",)

    def __init__(self, request_id: str) -> None:
        super().__init__(request_id)
        self.request_id = request_id

    def __str__(self) -> str:
        return (
            f"cannot join recording '{self.request_id}': this agent knows none of that name, it "
            "was restarted since; start the profile again"
        )


class CaptureTimeoutError(CaptureError):
    """A capture took longer than its caller allows."""

    code = _Code.DEADLINE_EXCEEDED
    reason = Reason.DEADLINE_EXCEEDED
    told = (
        "pid",
        "timeout_seconds",
    )

    def __init__(self, pid: int, timeout_seconds: float) -> None:
        super().__init__(pid, timeout_seconds)
        self.pid, self.timeout_seconds = pid, timeout_seconds

    def __str__(self) -> str:
        return (
            f"cannot capture process {self.pid}: not done within {self.timeout_seconds:g} s; "
            "nothing was kept, allow more time"
        )


class CaptureCancelledError(CaptureError):
    """A capture that was given up."""

    code = _Code.CANCELLED
    reason = Reason.CANCELLED
    told = ("pid",)

    def __init__(self, pid: int, cause: str) -> None:
        super().__init__(pid, cause)
        self.pid, self.cause = pid, cause

    def __str__(self) -> str:
        return f"cannot finish the capture of process {self.pid}: {self.cause}; nothing was kept"


class SpoolError(AgentError):
    """Something about the spool."""


class SpoolFullError(SpoolError):
    """The spool's quota, or the disk under it, is used up."""

    code = _Code.FAILED_PRECONDITION
    reason = Reason.SPOOL_FULL
    told = ("used_bytes", "quota_bytes")

    def __init__(self, cause: str, used_bytes: int, quota_bytes: int) -> None:
        super().__init__(cause, used_bytes, quota_bytes)
        self.cause, self.used_bytes, self.quota_bytes = cause, used_bytes, quota_bytes

    def __str__(self) -> str:
        return (
            f"cannot keep the snapshot in the spool: {self.cause} ({self.used_bytes} of "
            f"{self.quota_bytes} bytes used); discard stored snapshots, or raise --spool-quota"
        )


class SnapshotNotFoundError(SpoolError):
    """No such snapshot lies in the spool."""

    code = _Code.NOT_FOUND
    reason = Reason.NOT_FOUND
    told = ("snapshot_id",)

    def __init__(self, snapshot_id: str, cause: str = "it is not in the spool") -> None:
        super().__init__(snapshot_id, cause)
        self.snapshot_id, self.cause = snapshot_id, cause

    def __str__(self) -> str:
        return f"cannot read snapshot '{self.snapshot_id}': {self.cause}; capture again"


class OffsetOutOfRangeError(SpoolError):
    """A stream was to start beyond the snapshot's end."""

    code = _Code.OUT_OF_RANGE
    reason = Reason.OFFSET_OUT_OF_RANGE
    told = (
        "snapshot_id",
        "offset_bytes",
        "size_bytes",
    )

    def __init__(self, snapshot_id: str, offset_bytes: int, size_bytes: int) -> None:
        super().__init__(snapshot_id, offset_bytes, size_bytes)
        self.snapshot_id = snapshot_id
        self.offset_bytes, self.size_bytes = offset_bytes, size_bytes

    def __str__(self) -> str:
        return (
            f"cannot stream snapshot '{self.snapshot_id}' from offset {self.offset_bytes}: "
            f"it has {self.size_bytes} bytes; start at 0"
        )


#: The status code of each reason that a driver gives.
_DRIVER_CODES = {
    Reason.NO_WAY_IN: _Code.FAILED_PRECONDITION,
    Reason.DEBUGGER_ATTACHED: _Code.FAILED_PRECONDITION,
    Reason.INSPECTOR_NOT_TARGET: _Code.FAILED_PRECONDITION,
    Reason.INSPECTOR_EXPOSED: _Code.FAILED_PRECONDITION,
    Reason.TARGET_ENDED: _Code.ABORTED,
    Reason.CAPTURE_FAILED: _Code.ABORTED,
    Reason.CANNOT_FORK: _Code.FAILED_PRECONDITION,
    Reason.FORK_FAILED: _Code.ABORTED,
    Reason.CAPTURE_IN_PROGRESS: _Code.RESOURCE_EXHAUSTED,
    Reason.PROFILE_KIND_UNSUPPORTED: _Code.UNIMPLEMENTED,
    Reason.PROFILER_MISSING: _Code.FAILED_PRECONDITION,
    Reason.HEADROOM: _Code.FAILED_PRECONDITION,
}

#: When to try again where a driver says that its target is busy.
_BUSY_RETRY_SECONDS = 5.0


def failure(error: AgentError | DriverError) -> Failure:
    """The error as a call's status."""
    if isinstance(error, AgentError):
        return Failure(
            error.code, error.reason, str(error), dict(error.facts), error.retry_after_seconds
        )
    code = _DRIVER_CODES.get(error.reason, _Code.INTERNAL)
    busy = code is _Code.RESOURCE_EXHAUSTED
    facts = {"pid": str(error.pid)}
    return Failure(code, error.reason, str(error), facts, _BUSY_RETRY_SECONDS if busy else None)
