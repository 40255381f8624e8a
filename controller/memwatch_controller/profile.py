"""The values of profiles; no I/O, no protobuf. `api/convert_profiles.py` turns them into messages.

Times are as in `model`: whole milliseconds since the epoch, 0 where there is none yet.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from memwatch_controller.model import CaptureCost, Millis, Runtime, Target


class ProfileKind(StrEnum):
    """What a profile records."""

    TYPES = "types"
    ALLOCATIONS = "allocations"
    NATIVE = "native"
    SAMPLING = "sampling"
    NODE_ALLOCATIONS = "node-allocations"
    STATS = "stats"
    NEAR_LIMIT = "near-limit"


#: The kinds of each runtime; which of them an agent records is for it to say.
KINDS_OF = {
    Runtime.PYTHON: (ProfileKind.TYPES, ProfileKind.ALLOCATIONS, ProfileKind.NATIVE),
    Runtime.NODE: (
        ProfileKind.SAMPLING,
        ProfileKind.NODE_ALLOCATIONS,
        ProfileKind.STATS,
        ProfileKind.NEAR_LIMIT,
    ),
}


class ProfileState(StrEnum):
    """The states of a profile; see `profiles/states.py`."""

    PENDING = "pending"
    RECORDING = "recording"
    STORING = "storing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ProfileOrigin(StrEnum):
    """Who started a profile."""

    CALL = "call"
    REQUEST = "request"
    NEAR_LIMIT = "near-limit"


@dataclass(frozen=True, slots=True)
class ProfileOptions:
    """How to record; see ProfileOptions of profiles.proto. Defaults are filled in."""

    duration_millis: int = 30_000
    max_size_bytes: int = 100 * 1024 * 1024
    frames: int = 16
    native_traces: bool = False
    python_allocator: bool = False
    aggregate: bool = False
    sampling_interval_bytes: int = 32_768
    collect_garbage: bool = False


@dataclass(frozen=True, slots=True)
class ProfileError:
    """Why a profile failed."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """What a recording gave, as its agent announces it; the agent's id names it in the store."""

    id: str
    request_id: str
    target_id: str
    kind: ProfileKind | None
    start_time: Millis = 0
    stop_time: Millis = 0
    raw_size_bytes: int = 0
    raw_sha256: str = ""
    stored_size_bytes: int = 0
    stored_sha256: str = ""
    content_type: str = ""
    file_name: str = ""
    cost: CaptureCost | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecordOrder:
    """What the controller asks an agent for; idempotent by `request_id`.

    Attributes:
        join_only: it was begun before: begin nothing.
    """

    request_id: str
    target_id: str
    kind: ProfileKind
    options: ProfileOptions
    force: bool = False
    join_only: bool = False


@dataclass(frozen=True, slots=True)
class Recording:
    """How far a recording is: since when it records, 0 before."""

    start_time: Millis = 0


@dataclass(frozen=True, slots=True)
class Profile:
    """A recording over time and, once it is finished, its artifact.

    Attributes:
        force: record although the headroom is too small.
        stop_requested: somebody asked to end it before its time.
        artifact: from the moment the agent has it.
    """

    id: str
    request_id: str
    target: Target
    kind: ProfileKind
    options: ProfileOptions = field(default_factory=ProfileOptions)
    force: bool = False
    state: ProfileState = ProfileState.PENDING
    origin: ProfileOrigin = ProfileOrigin.CALL
    create_time: Millis = 0
    update_time: Millis = 0
    start_time: Millis = 0
    stop_requested: bool = False
    artifact: Artifact | None = None
    error: ProfileError | None = None
