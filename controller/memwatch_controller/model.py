"""The values that the controller's parts hand to one another; no I/O, no protobuf.

Times are whole milliseconds since the epoch (UTC), 0 where there is none yet. A figure
that nobody measured is None, never 0. `api/convert.py` turns these into protobuf and
back; `store/metadata.py` keeps them.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

#: Milliseconds since the epoch; 0: none.
Millis = int

#: The first instant that a timestamp of ours cannot be: the year 10000.
MAX_TIME: Millis = 253_402_300_800_000

#: Ids made by memwatch, and those that a caller may choose.
ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def is_id(text: str) -> bool:
    """Whether a text is fit to be an id: it may stand in a path and in a log."""
    return ID_PATTERN.fullmatch(text) is not None


class Runtime(StrEnum):
    """The language runtime of a process."""

    UNKNOWN = ""
    NODE = "node"
    PYTHON = "python"


class SnapshotKind(StrEnum):
    """What a snapshot holds."""

    HEAP = "heap"


class SnapshotOrigin(StrEnum):
    """Why a snapshot was taken."""

    ASKED = "asked"
    NEAR_LIMIT = "near-limit"


class CaptureWay(StrEnum):
    """How a snapshot is taken out of a process."""

    ANY = ""
    HOOK = "hook"
    ATTACH = "attach"


class PauseMode(StrEnum):
    """How long a target may stand still for a snapshot."""

    ANY = ""
    AUTO = "auto"
    NEVER = "never"
    BLOCKING = "blocking"


class CaptureManner(StrEnum):
    """Who wrote a snapshot: a forked child, or the process itself while it stood still."""

    UNKNOWN = ""
    FORKED = "forked"
    BLOCKING = "blocking"


class PauseSource(StrEnum):
    """How a pause was measured."""

    UNKNOWN = ""
    RUNTIME = "runtime"
    ROUND_TRIP = "round_trip"


class CaptureStage(StrEnum):
    """The stages of a capture, in order."""

    UNKNOWN = ""
    PREFLIGHT = "preflight"
    CONNECTING = "connecting"
    CAPTURING = "capturing"
    FINISHING = "finishing"


class PodPick(StrEnum):
    """Which pods of a workload are captured."""

    ANY = ""
    OLDEST = "oldest"
    FATTEST = "fattest"
    NEWEST = "newest"
    ALL = "all"


class TargetState(StrEnum):
    """Whether a target can be reached."""

    REACHABLE = "reachable"
    UNREACHABLE = "unreachable"
    GONE = "gone"


class SessionState(StrEnum):
    """The states of a session and of a target's part in it; see `sessions/states.py`."""

    PENDING = "pending"
    CAPTURING_BEFORE = "capturing_before"
    WAITING = "waiting"
    CAPTURING_AFTER = "capturing_after"
    ANALYSING = "analysing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class SourcePlace:
    """A place in a source file; line and column from 1."""

    script: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class MemorySample:
    """Memory of one process and of its cgroup at one instant."""

    sample_time: Millis = 0
    rss_bytes: int | None = None
    pss_bytes: int | None = None
    cgroup_usage_bytes: int | None = None
    cgroup_limit_bytes: int | None = None
    heap_used_bytes: int | None = None
    heap_limit_bytes: int | None = None
    cpu_millis: int | None = None
    external_bytes: int | None = None
    resources: int | None = None


@dataclass(frozen=True, slots=True)
class CaptureTry:
    """One try at a snapshot; `failure` is empty for the one that took it."""

    manner: CaptureManner = CaptureManner.UNKNOWN
    failure: str = ""
    pause_millis: int = 0
    duration_millis: int = 0
    extra_memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class CaptureCost:
    """What taking one snapshot cost the target, measured."""

    pause_millis: int = 0
    pause_source: PauseSource = PauseSource.UNKNOWN
    cpu_millis: int = 0
    extra_memory_bytes: int = 0
    rss_before_bytes: int = 0
    rss_after_bytes: int = 0
    duration_millis: int = 0
    manner: CaptureManner = CaptureManner.UNKNOWN
    tries: tuple[CaptureTry, ...] = ()


@dataclass(frozen=True, slots=True)
class HeapWalk:
    """What a heap walker of ours saw: `rss_bytes` above `heap_bytes` are of no object."""

    walker: str = ""
    way: str = ""
    objects: int = 0
    heap_bytes: int = 0
    rss_bytes: int = 0
    walk_millis: int = 0
    dump_bytes: int = 0
    convert_millis: int = 0


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a capture would cost in one manner."""

    manner: CaptureManner = CaptureManner.UNKNOWN
    pause_millis: int = 0
    duration_millis: int = 0
    extra_memory_bytes: int = 0
    learned_from: int = 0
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Preflight:
    """What a capture is expected to cost, and what there is."""

    pause_millis: int = 0
    extra_memory_bytes: int = 0
    headroom_bytes: int | None = None
    raw_size_bytes: int = 0
    learned_from: int = 0
    allowed: bool = True
    refusal: str = ""
    manner: CaptureManner = CaptureManner.UNKNOWN
    duration_millis: int = 0
    forecasts: tuple[Forecast, ...] = ()


@dataclass(frozen=True, slots=True)
class CaptureProgress:
    """How far a capture is."""

    stage: CaptureStage = CaptureStage.UNKNOWN
    raw_size_bytes: int = 0
    expected_size_bytes: int = 0
    preflight: Preflight | None = None


@dataclass(frozen=True, slots=True)
class AnalysisProgress:
    """How far a comparison is: what it does now, for people, and 0 to 100 percent."""

    doing: str = ""
    done_percent: int = 0


#: Told the newest progress of a comparison; must return at once.
OnAnalysis = Callable[[AnalysisProgress], None]


@dataclass(frozen=True, slots=True)
class Capability:
    """One thing an agent can do, or why not."""

    name: str
    enabled: bool = True
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Agent:
    """A sidecar. `address` is where the controller dials it."""

    id: str
    version: str = ""
    host: str = ""
    pod: str = ""
    namespace: str = ""
    address: str = ""
    capabilities: tuple[Capability, ...] = ()
    start_time: Millis = 0
    last_seen_time: Millis = 0


@dataclass(frozen=True, slots=True)
class Target:
    """One process, as its agent sees it."""

    id: str
    agent_id: str = ""
    pid: int = 0
    start_time: Millis = 0
    runtime: Runtime = Runtime.UNKNOWN
    runtime_version: str = ""
    container_id: str = ""
    pod: str = ""
    namespace: str = ""
    service: str = ""
    command: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    hooked: bool = False
    ways: tuple[CaptureWay, ...] = ()
    unavailable_reason: str = ""
    state: TargetState = TargetState.REACHABLE
    last_seen_time: Millis = 0
    memory: MemorySample | None = None
    role: str = ""
    worker_threads: int = 0
    pod_uid: str = ""


@dataclass(frozen=True, slots=True)
class Workload:
    """An object of the cluster whose pods are meant; `name` of a `selector` is its labels."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Selector:
    """Which targets are meant: empty fields match everything, the others must all match.

    Attributes:
        workload: its pods; only the cluster knows which those are. None: no matter.
        container: name of the pods' container; read with `workload` only.
    """

    ids: tuple[str, ...] = ()
    name: str = ""
    service: str = ""
    container_id: str = ""
    namespace: str = ""
    pid: int = 0
    labels: dict[str, str] = field(default_factory=dict)
    runtime: Runtime = Runtime.UNKNOWN
    workload: Workload | None = None
    container: str = ""


@dataclass(frozen=True, slots=True)
class PauseBudget:
    """How long a target may stand still before somebody has it killed; `words` say who and why."""

    millis: int
    words: str


@dataclass(frozen=True, slots=True)
class CaptureOrder:
    """What the controller asks an agent for: one snapshot of one target.

    `request_id` makes it idempotent: the same order twice yields one snapshot.
    """

    request_id: str
    target_id: str
    kind: SnapshotKind = SnapshotKind.HEAP
    way: CaptureWay = CaptureWay.ANY
    force: bool = False
    session_id: str = ""
    phase: str = ""
    max_pause_millis: int = 0
    timeout_millis: int = 0
    pause: PauseMode = PauseMode.ANY
    trace_frames: int = 0
    trace_millis: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One artifact in the store (or announced by an agent, before it is stored).

    `late` and `late_millis` are set by the session it belongs to. Object ids of two snapshots
    compare only where both have the same `id_epoch` and it is not empty.
    """

    id: str
    request_id: str = ""
    target_id: str = ""
    session_id: str = ""
    phase: str = ""
    kind: SnapshotKind = SnapshotKind.HEAP
    way: CaptureWay = CaptureWay.ANY
    runtime: Runtime = Runtime.UNKNOWN
    runtime_version: str = ""
    service: str = ""
    container_id: str = ""
    capture_time: Millis = 0
    raw_size_bytes: int = 0
    raw_sha256: str = ""
    stored_size_bytes: int = 0
    stored_sha256: str = ""
    cost: CaptureCost | None = None
    file_name: str = ""
    late: bool = False
    late_millis: int = 0
    memory: MemorySample | None = None
    notes: tuple[str, ...] = ()
    id_epoch: str = ""
    walk: HeapWalk | None = None
    origin: SnapshotOrigin = SnapshotOrigin.ASKED


@dataclass(frozen=True, slots=True)
class Report:
    """What the analysis of one target's snapshots in one session found.

    `json` is the whole stable document (docs/formats/report.md); `summary` its one
    sentence. Everything else that a caller sees is read out of the document.
    """

    id: str
    session_id: str
    target_id: str
    create_time: Millis
    snapshot_ids: tuple[str, ...]
    summary: str
    json: str


class IsolationMode(StrEnum):
    """How a pod leaves its service for a snapshot."""

    NONE = "none"
    READINESS = "readiness"  # its readiness gate goes False
    DETACH = "detach"  # a replacement serves, and it is deleted afterwards
    AUTO = "auto"  # detach where it can be had, else readiness, else refused


@dataclass(frozen=True, slots=True)
class IsolationWish:
    """How a session's pods are kept from being missed; 0 stands for the default."""

    mode: IsolationMode = IsolationMode.NONE
    drain_millis: int = 15_000
    ready_millis: int = 300_000
    orphan_millis: int = 300_000


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """What a session is to do. Defaults are filled in: `snapshots` and `max_parallel` ≥ 1."""

    selector: Selector = field(default_factory=Selector)
    fleet: bool = False
    max_parallel: int = 1
    timeframe_millis: int = 0
    snapshots: int = 2
    kind: SnapshotKind = SnapshotKind.HEAP
    way: CaptureWay = CaptureWay.ANY
    force: bool = False
    max_pause_millis: int = 0
    service: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    strategy: str = ""
    pause: PauseMode = PauseMode.ANY
    pick: PodPick = PodPick.ANY
    beside_newest: bool = False
    isolation: IsolationWish = field(default_factory=IsolationWish)
    allocation_frames: int = 0


@dataclass(frozen=True, slots=True)
class SessionError:
    """Why a session, or a target's part in it, failed."""

    phase: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class SessionTarget:
    """One target's part in a session: a state machine of its own.

    Attributes:
        target: the target as it was when the session was created.
        state: where this part is.
        taken: how many of the planned snapshots are stored.
        first_time: when the first snapshot was taken; the others are planned from it.
        due_time: when the next snapshot is due, while waiting or capturing.
        phase_time: when the state was entered.
        snapshots: those stored so far, in order.
        progress: the last progress of a capture that runs; kept in memory only.
        error: what failed.
        report_id: its report, once analysed.
        analysis: the last progress of a comparison that runs here; kept in memory only.
    """

    target: Target
    state: SessionState = SessionState.PENDING
    taken: int = 0
    first_time: Millis = 0
    due_time: Millis = 0
    phase_time: Millis = 0
    snapshots: tuple[Snapshot, ...] = ()
    progress: CaptureProgress | None = None
    error: SessionError | None = None
    report_id: str = ""
    analysis: AnalysisProgress | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A plan and how far it is. `version` rises by one with every stored change."""

    id: str
    request_id: str
    plan: SessionPlan
    state: SessionState = SessionState.PENDING
    targets: tuple[SessionTarget, ...] = ()
    create_time: Millis = 0
    update_time: Millis = 0
    end_time: Millis = 0
    error: SessionError | None = None
    version: int = 0
