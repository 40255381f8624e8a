"""Everything that can go wrong in the controller, as one small tree.

ControllerError
├── InvalidArgumentError     what a caller asked for cannot be
├── NotFoundError            no session, snapshot, report … has that id
│   └── TargetNotFoundError  no target matches
├── AmbiguousTargetError     more than one target matches and one was meant
├── TargetUnreachableError   it matches, but its agent is not heard of
├── TargetEndedError         it matches, but its process has ended
├── NotCapturableError       it matches, but there is no way in
├── TooManyAgentsError       the limit of agents is reached
├── TooManySessionsError     the limit of open sessions is reached
├── ServiceBusyError         as many of a service are captured as may be
├── ReplacedError            an agent's stream gave way to a newer one
├── SessionNotFinishedError  it must be finished for this
├── ProfileNotFinishedError  it must be finished for this
├── ProfileKindError         its runtime has no such kind of profile
├── TooManyProfilesError     the limit of open profiles is reached
├── AgentError               an agent answered with an error; its reason is kept
├── DigestMismatchError      received bytes are not those that were announced
├── StoreFullError           there is no room for a blob
├── StoreUnavailableError    the place where blobs lie does not answer, or refuses
├── BlobLostError            a stored blob is gone, or its bytes changed
├── OffsetOutOfRangeError    a download asked to start beyond the end
├── SnapshotInUseError       a session still needs it
├── AnalysisError            the snapshots could not be compared
│   ├── AnalysisTooLargeError  it needs more memory than there is
│   └── ProfileReportError   a report of a profile could not be made
└── StartError               the program cannot start with these settings

`api/status.py` turns each into a `memwatch_proto.status.Failure`; a session that
fails stores `reason` and the sentence. `transient` says whether the same call may
well succeed in a moment, so that a session tries again instead of failing.
"""

from collections.abc import Mapping, Sequence

#: How many matches an error lists; a fleet of thousands must not fill a terminal.
MAX_CANDIDATES = 10


class ControllerError(Exception):
    """Base of all errors of the controller.

    Attributes:
        reason: word for programs, one of `memwatch_proto.status.Reason`.
        transient: whether trying again soon makes sense.
    """

    reason = "INTERNAL"
    transient = False

    @property
    def facts(self) -> Mapping[str, str]:
        """The facts in the sentence, for programs."""
        return {}


class InvalidArgumentError(ControllerError):
    """What a caller asked for cannot be."""

    reason = "INVALID_ARGUMENT"

    def __init__(self, doing: str, cause: str) -> None:
        self.doing = doing
        self.cause = cause

    def __str__(self) -> str:
        return f"cannot {self.doing}: {self.cause}"


class NotFoundError(ControllerError):
    """Nothing of that kind has that id."""

    reason = "NOT_FOUND"

    def __init__(self, noun: str, id: str) -> None:
        self.noun = noun
        self.id = id

    @property
    def facts(self) -> Mapping[str, str]:
        """Noun and id."""
        return {"noun": self.noun, "id": self.id}

    def __str__(self) -> str:
        return (
            f"cannot find {self.noun} '{self.id}': there is none with this id; "
            f"list them with memwatchctl {self.noun}s list"
        )


class TargetNotFoundError(NotFoundError):
    """No target matches what was asked for."""

    reason = "TARGET_NOT_FOUND"

    def __init__(self, wanted: str, known: int) -> None:
        super().__init__("target", wanted)
        self.wanted = wanted
        self.known = known

    def __str__(self) -> str:
        return (
            f"cannot find a target with {self.wanted}: none of the {self.known} known targets "
            "matches; list them with memwatchctl targets list"
        )


class AmbiguousTargetError(ControllerError):
    """More than one target matches and one was meant."""

    reason = "AMBIGUOUS_TARGET"

    def __init__(self, wanted: str, candidates: Sequence[str]) -> None:
        self.wanted = wanted
        self.candidates = tuple(candidates)

    @property
    def facts(self) -> Mapping[str, str]:
        """The candidates, cut at `MAX_CANDIDATES`, and their number."""
        return {
            "count": str(len(self.candidates)),
            "candidates": "\n".join(self.candidates[:MAX_CANDIDATES]),
        }

    def __str__(self) -> str:
        shown = ", ".join(self.candidates[:MAX_CANDIDATES])
        more = len(self.candidates) - MAX_CANDIDATES
        rest = f" and {more} more" if more > 0 else ""
        return (
            f"cannot choose a target with {self.wanted}: {len(self.candidates)} match "
            f"({shown}{rest}); name one of them by its id, or ask for a fleet"
        )


class TargetUnreachableError(ControllerError):
    """The agent of a target is not heard of."""

    reason = "TARGET_UNREACHABLE"
    transient = True

    def __init__(self, target_id: str, agent: str, cause: str) -> None:
        self.target_id = target_id
        self.agent = agent
        self.cause = cause

    @property
    def facts(self) -> Mapping[str, str]:
        """Target and agent."""
        return {"target_id": self.target_id, "agent": self.agent}

    def __str__(self) -> str:
        return (
            f"cannot reach target '{self.target_id}' through its agent '{self.agent}': "
            f"{self.cause}; see whether that agent runs and reaches the controller"
        )


class TargetEndedError(ControllerError):
    """The process of a target has ended."""

    reason = "TARGET_ENDED"

    def __init__(self, target_id: str) -> None:
        self.target_id = target_id

    @property
    def facts(self) -> Mapping[str, str]:
        """The target."""
        return {"target_id": self.target_id}

    def __str__(self) -> str:
        return (
            f"cannot use target '{self.target_id}': its process has ended; "
            "its successor has an id of its own: memwatchctl targets list"
        )


class NotCapturableError(ControllerError):
    """There is no way to take a snapshot of a target."""

    reason = "NO_WAY_IN"

    def __init__(self, target_id: str, service: str, cause: str) -> None:
        self.target_id = target_id
        self.service = service
        self.cause = cause

    @property
    def facts(self) -> Mapping[str, str]:
        """The target."""
        return {"target_id": self.target_id}

    def __str__(self) -> str:
        name = f"'{self.target_id}' ({self.service})" if self.service else f"'{self.target_id}'"
        return f"cannot capture target {name}: {self.cause or 'its agent names no way in'}"


class TooManyAgentsError(ControllerError):
    """The limit of agents is reached."""

    reason = "TOO_MANY_AGENTS"

    def __init__(self, limit: int) -> None:
        self.limit = limit

    @property
    def facts(self) -> Mapping[str, str]:
        """The limit."""
        return {"limit": str(self.limit)}

    def __str__(self) -> str:
        return (
            f"cannot register an agent: {self.limit} are known and the limit is {self.limit}; "
            "start another controller"
        )


class ReplacedError(ControllerError):
    """An agent's stream gave way to a newer one, or was silent for too long."""

    reason = "REPLACED"

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id

    @property
    def facts(self) -> Mapping[str, str]:
        """The agent."""
        return {"agent_id": self.agent_id}

    def __str__(self) -> str:
        return (
            f"cannot go on with this stream of agent '{self.agent_id}': a newer one has taken "
            "its place, or it was silent for three intervals; connect again"
        )


class _TooManyError(ControllerError):
    """A limit of what is open at once is reached.

    Attributes:
        limit: how many may be open. retry_after_seconds: when another try makes sense.
    """

    doing: str
    ending: str

    def __init__(self, limit: int, retry_after_seconds: float) -> None:
        self.limit = limit
        self.retry_after_seconds = retry_after_seconds

    @property
    def facts(self) -> Mapping[str, str]:
        """The limit."""
        return {"limit": str(self.limit)}

    def __str__(self) -> str:
        return (
            f"cannot {self.doing}: {self.limit} are open and the limit is {self.limit}; "
            f"wait for one to end or {self.ending} one"
        )


class TooManySessionsError(_TooManyError):
    """The limit of open sessions is reached."""

    reason = "TOO_MANY_SESSIONS"
    doing = "create a session"
    ending = "cancel"


class ServiceBusyError(ControllerError):
    """As many replicas of a service are captured as may be at once, and went on to be."""

    reason = "SERVICE_BUSY"

    def __init__(self, service: str, limit: int, retry_after_seconds: float) -> None:
        self.service = service
        self.limit = limit
        self.retry_after_seconds = retry_after_seconds

    @property
    def facts(self) -> Mapping[str, str]:
        """Service and limit."""
        return {"service": self.service, "limit": str(self.limit)}

    def __str__(self) -> str:
        return (
            f"cannot capture another process of service '{self.service}': {self.limit} at once "
            "are allowed, so that the others go on undisturbed, and others wait; come again in "
            f"{self.retry_after_seconds:.0f} s, or raise --max-captures-per-service"
        )


class SessionNotFinishedError(ControllerError):
    """A session must be finished for this."""

    reason = "SESSION_NOT_FINISHED"

    def __init__(self, doing: str, session_id: str, state: str) -> None:
        self.doing = doing
        self.session_id = session_id
        self.state = state

    @property
    def facts(self) -> Mapping[str, str]:
        """Session and state."""
        return {"session_id": self.session_id, "state": self.state}

    def __str__(self) -> str:
        return (
            f"cannot {self.doing} session '{self.session_id}': it is {self.state}; "
            f"wait for its end or cancel it: memwatchctl sessions cancel {self.session_id}"
        )


class ProfileNotFinishedError(ControllerError):
    """A profile must be finished, and well, for this."""

    reason = "PROFILE_NOT_FINISHED"

    def __init__(self, doing: str, id: str, state: str) -> None:
        self.doing = doing
        self.id = id
        self.state = state

    @property
    def facts(self) -> Mapping[str, str]:
        """Profile and state."""
        return {"profile_id": self.id, "state": self.state}

    def __str__(self) -> str:
        return (
            f"cannot {self.doing} profile '{self.id}': it is {self.state}; "
            f"see memwatchctl profiles get {self.id}"
        )


class ProfileKindError(ControllerError):
    """A target's runtime has no such kind of profile."""

    reason = "PROFILE_KIND_UNSUPPORTED"

    def __init__(self, kind: str, runtime: str, known: Sequence[str]) -> None:
        self.kind = kind
        self.runtime = runtime
        self.known = tuple(known)

    @property
    def facts(self) -> Mapping[str, str]:
        """The kind, the runtime, and the kinds that it has."""
        return {"kind": self.kind, "runtime": self.runtime, "known": ", ".join(self.known)}

    def __str__(self) -> str:
        return (
            f"cannot record '{self.kind}' of a process of {self.runtime or 'an unknown runtime'}: "
            f"it has no such kind of profile; choose {' or '.join(self.known) or 'another target'}"
        )


class TooManyProfilesError(_TooManyError):
    """The limit of open profiles is reached."""

    reason = "TOO_MANY_PROFILES"
    doing = "start a profile"
    ending = "stop"


class AgentError(ControllerError):
    """An agent answered with an error; its reason and sentence are kept.

    Attributes:
        reason: the agent's own reason.
        code: name of the gRPC status code, such as "FAILED_PRECONDITION".
        message: the agent's sentence.
        transient: whether the agent, or the way to it, may be there again soon.
        retry_after_seconds: when the agent says that another try makes sense.
    """

    def __init__(
        self,
        reason: str,
        code: str,
        message: str,
        *,
        transient: bool = False,
        retry_after_seconds: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.reason = reason
        self.code = code
        self.message = message
        self.transient = transient
        self.retry_after_seconds = retry_after_seconds
        self.metadata = dict(metadata or {})

    @property
    def facts(self) -> Mapping[str, str]:
        """The agent's facts."""
        return self.metadata

    def __str__(self) -> str:
        return self.message


class DigestMismatchError(ControllerError):
    """Received bytes are not those that were announced."""

    reason = "DIGEST_MISMATCH"

    def __init__(self, what: str, got: str, expected: str) -> None:
        self.what = what
        self.got = got
        self.expected = expected

    @property
    def facts(self) -> Mapping[str, str]:
        """Both sides."""
        return {"got": self.got, "expected": self.expected}

    def __str__(self) -> str:
        return (
            f"cannot store {self.what}: got {self.got}, expected {self.expected}; "
            "nothing was kept, send it again"
        )


class StoreFullError(ControllerError):
    """There is no room for a blob."""

    reason = "STORE_FULL"

    def __init__(self, what: str, needed_bytes: int, available_bytes: int) -> None:
        self.what = what
        self.needed_bytes = needed_bytes
        self.available_bytes = available_bytes

    @property
    def facts(self) -> Mapping[str, str]:
        """Both numbers."""
        return {
            "needed_bytes": str(self.needed_bytes),
            "available_bytes": str(self.available_bytes),
        }

    def __str__(self) -> str:
        return (
            f"cannot store {self.what}: it needs {self.needed_bytes} bytes and "
            f"{self.available_bytes} are free; delete snapshots or give the store more room"
        )


class StoreUnavailableError(ControllerError):
    """The place where blobs lie does not answer, or refuses us."""

    reason = "UNAVAILABLE"
    transient = True

    def __init__(self, doing: str, cause: str) -> None:
        self.doing = doing
        self.cause = cause

    def __str__(self) -> str:
        return f"cannot {self.doing}: {self.cause}; check the controller's --blob-url"


class BlobLostError(ControllerError):
    """A stored blob is gone, or its bytes changed."""

    reason = "BLOB_LOST"

    def __init__(self, key: str, cause: str) -> None:
        self.key = key
        self.cause = cause

    @property
    def facts(self) -> Mapping[str, str]:
        """The blob's key."""
        return {"key": self.key}

    def __str__(self) -> str:
        return (
            f"cannot read stored blob '{self.key}': {self.cause}; "
            "restore it from a backup, or delete its snapshot"
        )


class OffsetOutOfRangeError(ControllerError):
    """A download asked to start beyond the end."""

    reason = "OFFSET_OUT_OF_RANGE"

    def __init__(self, snapshot_id: str, offset: int, size: int) -> None:
        self.snapshot_id = snapshot_id
        self.offset = offset
        self.size = size

    @property
    def facts(self) -> Mapping[str, str]:
        """Both numbers."""
        return {"offset_bytes": str(self.offset), "size_bytes": str(self.size)}

    def __str__(self) -> str:
        return (
            f"cannot read snapshot '{self.snapshot_id}' from offset {self.offset}: "
            f"it has {self.size} bytes; start again from an offset within it"
        )


class SnapshotInUseError(ControllerError):
    """A session that is not finished still needs a snapshot."""

    reason = "SNAPSHOT_IN_USE"

    def __init__(self, snapshot_id: str, session_id: str) -> None:
        self.snapshot_id = snapshot_id
        self.session_id = session_id

    @property
    def facts(self) -> Mapping[str, str]:
        """Snapshot and session."""
        return {"snapshot_id": self.snapshot_id, "session_id": self.session_id}

    def __str__(self) -> str:
        return (
            f"cannot delete snapshot '{self.snapshot_id}': session '{self.session_id}' still "
            f"needs it; cancel that first: memwatchctl sessions cancel {self.session_id}"
        )


class AnalysisError(ControllerError):
    """The snapshots of a session, or some others, could not be analysed."""

    reason = "ANALYSIS_FAILED"

    def __init__(self, session_id: str, cause: str, doing: str = "") -> None:
        self.session_id = session_id
        self.cause = cause
        self.doing = doing or f"compare the snapshots of session '{session_id}'"

    @property
    def facts(self) -> Mapping[str, str]:
        """The session."""
        return {"session_id": self.session_id}

    def __str__(self) -> str:
        return (
            f"cannot {self.doing}: {self.cause}; the snapshots are kept: memwatchctl snapshots list"
        )


class AnalysisTooLargeError(AnalysisError):
    """Comparing the snapshots of a session needs more memory than there is.

    Attributes:
        needed_bytes: what the comparison is expected to need.
        allowed_bytes: what the settings allow it.
        free_bytes: what is free now.
        transient: whether it is the machine that is short just now, not the settings.
    """

    reason = "ANALYSIS_TOO_LARGE"

    def __init__(
        self,
        session_id: str,
        needed_bytes: int,
        allowed_bytes: int,
        free_bytes: int,
        doing: str = "",
    ) -> None:
        self.needed_bytes = needed_bytes
        self.allowed_bytes = allowed_bytes
        self.free_bytes = free_bytes
        self.transient = needed_bytes <= allowed_bytes
        mib = 1024 * 1024
        super().__init__(
            session_id,
            f"it needs about {needed_bytes // mib:,} MiB of memory; {allowed_bytes // mib:,} MiB "
            f"are allowed (--analysis-memory-mib) and {free_bytes // mib:,} MiB are free; "
            "run a controller or worker (memwatch-controller worker) on a machine with more, "
            "or memwatchctl compare there",
            doing,
        )

    @property
    def facts(self) -> Mapping[str, str]:
        """The figures."""
        return {
            **super().facts,
            "needed_bytes": str(self.needed_bytes),
            "allowed_bytes": str(self.allowed_bytes),
            "free_bytes": str(self.free_bytes),
        }


class ProfileReportError(AnalysisError):
    """A report of a profile could not be made."""

    def __init__(self, report: str, profile_id: str, cause: str) -> None:
        super().__init__("", cause, f"make report '{report}' of profile '{profile_id}'")
        self.report = report
        self.profile_id = profile_id

    @property
    def facts(self) -> Mapping[str, str]:
        """The profile and the report."""
        return {"profile_id": self.profile_id, "report": self.report}

    def __str__(self) -> str:
        return f"cannot {self.doing}: {self.cause}; the artifact is kept: report 'artifact'"


class StartError(ControllerError):
    """The program cannot start with these settings; `program` says which: a worker's too."""

    reason = "INVALID_ARGUMENT"
    program = "controller"

    def __init__(self, what: str, cause: str) -> None:
        self.what = what
        self.cause = cause

    def __str__(self) -> str:
        return f"cannot start the {self.program} with {self.what}: {self.cause}"
