"""What can go wrong on the command line: one sentence and one exit code each.

Foreign errors become one of these at the border where they appear: gRPC's in
`client`, the operating system's where a file is touched. `__main__` prints the
sentence and leaves with the code. Nothing here imports grpc, so that `--help`
does not.
"""

from collections.abc import Mapping
from enum import IntEnum


class ExitCode(IntEnum):
    """How memwatchctl ends; documented in docs/reference/cli.md and `memwatchctl --help`."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    NOT_FOUND = 3
    REFUSED = 4
    UNREACHABLE = 5
    UNAUTHENTICATED = 6
    SESSION_FAILED = 7
    BUSY = 8
    VERDICT = 9
    INTERRUPTED = 130
    TERMINATED = 143


#: What each exit code means, for `--help` and the reference.
MEANINGS: Mapping[ExitCode, str] = {
    ExitCode.OK: "done",
    ExitCode.FAILURE: "failed for a reason without a code of its own",
    ExitCode.USAGE: "wrong flag or argument",
    ExitCode.NOT_FOUND: "no such target, session, snapshot or report; target ended, or several",
    ExitCode.REFUSED: "capture refused before the target was touched: headroom, pause, no way in",
    ExitCode.UNREACHABLE: "controller or agent cannot be reached",
    ExitCode.UNAUTHENTICATED: "token missing or wrong",
    ExitCode.SESSION_FAILED: "session failed or was cancelled by somebody else",
    ExitCode.BUSY: "busy: another capture runs, or too many sessions; try again later",
    ExitCode.VERDICT: "the verdict is one that --fail-on names, or --fail-on cannot be decided",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C",
    ExitCode.TERMINATED: "ended by SIGTERM",
}

#: Exit codes by memwatch_proto.status.Reason; a word that is not here is a failure.
_CODES: Mapping[str, ExitCode] = {
    "INVALID_ARGUMENT": ExitCode.USAGE,
    "NOT_FOUND": ExitCode.NOT_FOUND,
    "TARGET_NOT_FOUND": ExitCode.NOT_FOUND,
    "TARGET_ENDED": ExitCode.NOT_FOUND,
    "AMBIGUOUS_TARGET": ExitCode.NOT_FOUND,
    "NO_WAY_IN": ExitCode.REFUSED,
    "HEADROOM": ExitCode.REFUSED,
    "PAUSE_BUDGET": ExitCode.REFUSED,
    "DEBUGGER_ATTACHED": ExitCode.REFUSED,
    "INSPECTOR_NOT_TARGET": ExitCode.REFUSED,
    "INSPECTOR_EXPOSED": ExitCode.REFUSED,
    "UNAVAILABLE": ExitCode.UNREACHABLE,
    "TARGET_UNREACHABLE": ExitCode.UNREACHABLE,
    "UNAUTHENTICATED": ExitCode.UNAUTHENTICATED,
    "RESOURCE_EXHAUSTED": ExitCode.BUSY,
    "CAPTURE_IN_PROGRESS": ExitCode.BUSY,
    "TOO_MANY_SESSIONS": ExitCode.BUSY,
    "TOO_MANY_PROFILES": ExitCode.BUSY,
    "PROFILE_KIND_UNSUPPORTED": ExitCode.REFUSED,
    "PROFILER_MISSING": ExitCode.REFUSED,
    "NO_CLUSTER": ExitCode.REFUSED,
    "CLUSTER_FORBIDDEN": ExitCode.REFUSED,
    "CLUSTER_NOT_FOUND": ExitCode.NOT_FOUND,
    "CLUSTER_BUSY": ExitCode.BUSY,
    "NO_AGENT": ExitCode.REFUSED,
    "CANNOT_ATTACH": ExitCode.REFUSED,
    "ISOLATION_REFUSED": ExitCode.REFUSED,
}


def exit_code(reason: str, default: ExitCode = ExitCode.FAILURE) -> ExitCode:
    """The exit code of a reason."""
    return _CODES.get(reason, default)


class CliError(Exception):
    """The base: `str()` is the sentence to print.

    Attributes:
        code: how the program ends.
    """

    code = ExitCode.FAILURE


class CallError(CliError):
    """A call that the other side refused or could not answer.

    Attributes:
        reason: one of memwatch_proto.status.Reason, or a word of a newer peer.
        message: the other side's sentence.
        metadata: the facts in it.
        retry_after_seconds: when another try makes sense; None where it does not.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        metadata: Mapping[str, str] | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata or {})
        self.retry_after_seconds = retry_after_seconds
        self.code = exit_code(reason)

    def __str__(self) -> str:
        if self.retry_after_seconds:
            return f"{self.message}; try again in {self.retry_after_seconds:.0f} s"
        return self.message


class UnreachableError(CliError):
    """Nobody answers at an address.

    Attributes:
        address: where.
        cause: what the connection said.
    """

    code = ExitCode.UNREACHABLE

    def __init__(self, address: str, cause: str) -> None:
        super().__init__(address, cause)
        self.address = address
        self.cause = cause

    def __str__(self) -> str:
        return (
            f"cannot reach the controller at '{self.address}': {self.cause}; "
            "start one with 'memwatchctl serve', or name yours with --controller"
        )


class FileError(CliError):
    """A file that cannot be read or written.

    Attributes:
        action: what was to be done, such as "write".
        path: which file.
        cause: why not.
    """

    def __init__(self, action: str, path: object, cause: object) -> None:
        super().__init__(action, path, cause)
        self.action = action
        self.path = path
        self.cause = getattr(cause, "strerror", None) or str(cause)

    def __str__(self) -> str:
        return f"cannot {self.action} '{self.path}': {self.cause}"


class TokenFileError(FileError):
    """A token file that cannot be read, or is empty."""

    code = ExitCode.UNAUTHENTICATED

    def __init__(self, path: object, cause: object) -> None:
        super().__init__("read token file", path, cause)


class OverwriteError(CliError):
    """A file that is there already."""

    code = ExitCode.USAGE

    def __init__(self, path: object) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"cannot write '{self.path}': it exists; pass --overwrite to replace it"


class ContextError(CliError):
    """A context that is not there, or a configuration that cannot be understood."""

    code = ExitCode.USAGE


class TargetError(CliError):
    """No target, or more than one, matches; the sentence lists what there is."""

    code = ExitCode.NOT_FOUND


class SessionError(CliError):
    """A session that ended without a report.

    Attributes:
        session_id: which.
        state: how, such as "failed".
        phase: in which phase; empty where it was cancelled.
        reason: why, for programs.
        message: why, for people.
    """

    def __init__(
        self, session_id: str, state: str, phase: str = "", reason: str = "", message: str = ""
    ) -> None:
        super().__init__(session_id, state, phase, reason, message)
        self.session_id = session_id
        self.state = state
        self.phase = phase
        self.reason = reason
        self.message = message
        code = exit_code(reason, ExitCode.SESSION_FAILED)
        # A target that ended while its session ran is no look-up that found nothing.
        self.code = ExitCode.SESSION_FAILED if code is ExitCode.NOT_FOUND else code

    def __str__(self) -> str:
        where = f" in phase '{self.phase}'" if self.phase else ""
        cause = f": {self.message}" if self.message else ""
        return f"cannot finish session '{self.session_id}': it {self.state}{where}{cause}"


class ProfileError(CliError):
    """A profile that did not come to a good end."""

    def __init__(self, profile_id: str, state: str, cause: str, code: ExitCode) -> None:
        super().__init__(profile_id, state, cause)
        self.profile_id, self.state, self.cause = profile_id, state, cause
        self.code = code

    def __str__(self) -> str:
        if not self.cause:
            return f"cannot finish profile '{self.profile_id}': it was {self.state}"
        return f"cannot finish profile '{self.profile_id}': {self.cause}"


class EngineError(CliError):
    """A Docker engine that does not answer, or refuses.

    Attributes:
        cause: what it said, with the next step.
    """

    code = ExitCode.UNREACHABLE

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause

    def __str__(self) -> str:
        return f"cannot capture in Docker: {self.cause}"


class InterruptError(CliError):
    """Ctrl-C, after what it started was stopped; the sentence says what was done."""

    code = ExitCode.INTERRUPTED


class Terminated(BaseException):
    """SIGTERM or SIGHUP: like Ctrl-C it unwinds everything and stops what was started.

    Attributes:
        keeps_sessions: a terminal that went away is no wish to end a session.
    """

    def __init__(self, keeps_sessions: bool) -> None:
        super().__init__(keeps_sessions)
        self.keeps_sessions = keeps_sessions


class PrivateError(CliError):
    """A private agent or controller that did not start or did not stay.

    Attributes:
        program: which, such as "agent".
        cause: the last thing it said.
    """

    def __init__(self, program: str, cause: str) -> None:
        super().__init__(program, cause)
        self.program = program
        self.cause = cause

    def __str__(self) -> str:
        return f"cannot run a private {self.program}: {self.cause}"
