"""Why a driver could not take a snapshot.

    DriverError
    ├── NoWayInError             the target offers no way, or not this one
    ├── TargetEndedError          the process ended, or is not the one that was meant
    ├── DebuggerAttachedError     somebody debugs the target
    ├── InspectorNotTargetError   another process answers where the target should
    ├── InspectorExposedError     the target's inspector listens on a public address
    ├── TargetBusyError             the target is taking another snapshot, or ending one
    ├── CannotForkError           the target cannot take it in a forked child
    ├── ForkFailedError           a forked child did not take it
    ├── CaptureFailedError        it began, and went wrong half-way
    │   └── RecordingFailedError    the same of a recording
    ├── KindUnsupportedError      the target does not record this kind of profile
    ├── ProfilerMissingError      what records it is not installed beside the target
    └── NoHeadroomError           the target itself says that its memory is too short for it

Each carries its facts as attributes and the `Reason` that its caller sends on.
"""

from typing import ClassVar

from memwatch_proto.status import Reason

#: What a target says of itself is cut here before it stands in a message.
MAX_DETAIL_CHARS = 300


class DriverError(Exception):
    """A snapshot that could not be taken, and what to do about it."""

    reason: ClassVar[Reason] = Reason.CAPTURE_FAILED
    doing: ClassVar[str] = "capture"

    def __init__(self, pid: int, cause: str, next_step: str = "") -> None:
        super().__init__(pid, cause, next_step)
        self.pid = pid
        self.cause = cause[:MAX_DETAIL_CHARS]
        self.next_step = next_step

    def __str__(self) -> str:
        sentence = f"cannot {self.doing} process {self.pid}: {self.cause}"
        return f"{sentence}; {self.next_step}" if self.next_step else sentence


class NoWayInError(DriverError):
    """The target does not offer this way in."""

    reason = Reason.NO_WAY_IN


class TargetEndedError(DriverError):
    """The process has ended, or its pid now belongs to another one."""

    reason = Reason.TARGET_ENDED


class DebuggerAttachedError(DriverError):
    """Another client is connected to the target's inspector."""

    reason = Reason.DEBUGGER_ATTACHED


class InspectorNotTargetError(DriverError):
    """The inspector's address belongs to another process than the target."""

    reason = Reason.INSPECTOR_NOT_TARGET


class InspectorExposedError(DriverError):
    """The inspector that the target opens is reachable from other machines."""

    reason = Reason.INSPECTOR_EXPOSED


class TargetBusyError(DriverError):
    """The target is taking another snapshot, or has not ended one that was given up."""

    reason = Reason.CAPTURE_IN_PROGRESS


class CaptureFailedError(DriverError):
    """The snapshot began and did not come to its end."""

    reason = Reason.CAPTURE_FAILED


class CannotForkError(DriverError):
    """No child of the target can take the snapshot: it must stand still for it."""

    reason = Reason.CANNOT_FORK


class ForkFailedError(DriverError):
    """A forked child of the target did not take the snapshot; the target served on.

    Attributes:
        kind: a word for the cause: `stuck`, `quiet`, `crashed`, `memory` …
        pause_millis, duration_millis, extra_memory_bytes: what the try cost.
    """

    reason = Reason.FORK_FAILED

    def __init__(
        self,
        pid: int,
        cause: str,
        next_step: str = "",
        *,
        kind: str = "",
        pause_millis: float = 0.0,
        duration_millis: float = 0.0,
        extra_memory_bytes: int = 0,
    ) -> None:
        super().__init__(pid, cause, next_step)
        self.kind = kind
        self.pause_millis = pause_millis
        self.duration_millis = duration_millis
        self.extra_memory_bytes = extra_memory_bytes


class KindUnsupportedError(DriverError):
    """The target's runtime, or this version of it, does not record this kind."""

    reason = Reason.PROFILE_KIND_UNSUPPORTED
    doing = "record"


class ProfilerMissingError(DriverError):
    """A package that records this kind is not installed beside the target."""

    reason = Reason.PROFILER_MISSING
    doing = "record"


class NoHeadroomError(DriverError):
    """Recording would take more memory than the target has left."""

    reason = Reason.HEADROOM
    doing = "record"


class RecordingFailedError(CaptureFailedError):
    """A recording that began and did not come to its end."""

    doing = "record"
