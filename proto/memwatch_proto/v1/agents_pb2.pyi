import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from memwatch_proto.v1 import common_pb2 as _common_pb2
from memwatch_proto.v1 import profiles_pb2 as _profiles_pb2
from memwatch_proto.v1 import snapshots_pb2 as _snapshots_pb2
from memwatch_proto.v1 import targets_pb2 as _targets_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CaptureStage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CAPTURE_STAGE_UNSPECIFIED: _ClassVar[CaptureStage]
    CAPTURE_STAGE_PREFLIGHT: _ClassVar[CaptureStage]
    CAPTURE_STAGE_CONNECTING: _ClassVar[CaptureStage]
    CAPTURE_STAGE_CAPTURING: _ClassVar[CaptureStage]
    CAPTURE_STAGE_FINISHING: _ClassVar[CaptureStage]

class RecordingStage(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECORDING_STAGE_UNSPECIFIED: _ClassVar[RecordingStage]
    RECORDING_STAGE_CONNECTING: _ClassVar[RecordingStage]
    RECORDING_STAGE_RECORDING: _ClassVar[RecordingStage]
    RECORDING_STAGE_FINISHING: _ClassVar[RecordingStage]
CAPTURE_STAGE_UNSPECIFIED: CaptureStage
CAPTURE_STAGE_PREFLIGHT: CaptureStage
CAPTURE_STAGE_CONNECTING: CaptureStage
CAPTURE_STAGE_CAPTURING: CaptureStage
CAPTURE_STAGE_FINISHING: CaptureStage
RECORDING_STAGE_UNSPECIFIED: RecordingStage
RECORDING_STAGE_CONNECTING: RecordingStage
RECORDING_STAGE_RECORDING: RecordingStage
RECORDING_STAGE_FINISHING: RecordingStage

class EndAgentRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class EndAgentResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SourcePlace(_message.Message):
    __slots__ = ("script", "line", "column")
    SCRIPT_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    script: str
    line: int
    column: int
    def __init__(self, script: _Optional[str] = ..., line: _Optional[int] = ..., column: _Optional[int] = ...) -> None: ...

class ResolveSourcesRequest(_message.Message):
    __slots__ = ("target_id", "places")
    TARGET_ID_FIELD_NUMBER: _ClassVar[int]
    PLACES_FIELD_NUMBER: _ClassVar[int]
    target_id: str
    places: _containers.RepeatedCompositeFieldContainer[SourcePlace]
    def __init__(self, target_id: _Optional[str] = ..., places: _Optional[_Iterable[_Union[SourcePlace, _Mapping]]] = ...) -> None: ...

class ResolveSourcesResponse(_message.Message):
    __slots__ = ("originals",)
    ORIGINALS_FIELD_NUMBER: _ClassVar[int]
    originals: _containers.RepeatedCompositeFieldContainer[SourcePlace]
    def __init__(self, originals: _Optional[_Iterable[_Union[SourcePlace, _Mapping]]] = ...) -> None: ...

class Agent(_message.Message):
    __slots__ = ("id", "version", "host", "pod", "namespace", "address", "capabilities", "spooled", "start_time")
    ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    POD_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    SPOOLED_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    id: str
    version: str
    host: str
    pod: str
    namespace: str
    address: str
    capabilities: _containers.RepeatedCompositeFieldContainer[Capability]
    spooled: _containers.RepeatedCompositeFieldContainer[_snapshots_pb2.Snapshot]
    start_time: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., version: _Optional[str] = ..., host: _Optional[str] = ..., pod: _Optional[str] = ..., namespace: _Optional[str] = ..., address: _Optional[str] = ..., capabilities: _Optional[_Iterable[_Union[Capability, _Mapping]]] = ..., spooled: _Optional[_Iterable[_Union[_snapshots_pb2.Snapshot, _Mapping]]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Capability(_message.Message):
    __slots__ = ("name", "enabled", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    enabled: bool
    reason: str
    def __init__(self, name: _Optional[str] = ..., enabled: _Optional[bool] = ..., reason: _Optional[str] = ...) -> None: ...

class GetAgentRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AgentServiceListTargetsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AgentServiceListTargetsResponse(_message.Message):
    __slots__ = ("targets",)
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    targets: _containers.RepeatedCompositeFieldContainer[_targets_pb2.Target]
    def __init__(self, targets: _Optional[_Iterable[_Union[_targets_pb2.Target, _Mapping]]] = ...) -> None: ...

class CaptureRequest(_message.Message):
    __slots__ = ("request_id", "target_id", "kind", "way", "force", "session_id", "phase", "max_pause_millis", "timeout_millis", "pause", "trace_frames", "trace_millis")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    WAY_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    MAX_PAUSE_MILLIS_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MILLIS_FIELD_NUMBER: _ClassVar[int]
    PAUSE_FIELD_NUMBER: _ClassVar[int]
    TRACE_FRAMES_FIELD_NUMBER: _ClassVar[int]
    TRACE_MILLIS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    target_id: str
    kind: _common_pb2.SnapshotKind
    way: _common_pb2.CaptureWay
    force: bool
    session_id: str
    phase: str
    max_pause_millis: int
    timeout_millis: int
    pause: _common_pb2.PauseMode
    trace_frames: int
    trace_millis: int
    def __init__(self, request_id: _Optional[str] = ..., target_id: _Optional[str] = ..., kind: _Optional[_Union[_common_pb2.SnapshotKind, str]] = ..., way: _Optional[_Union[_common_pb2.CaptureWay, str]] = ..., force: _Optional[bool] = ..., session_id: _Optional[str] = ..., phase: _Optional[str] = ..., max_pause_millis: _Optional[int] = ..., timeout_millis: _Optional[int] = ..., pause: _Optional[_Union[_common_pb2.PauseMode, str]] = ..., trace_frames: _Optional[int] = ..., trace_millis: _Optional[int] = ...) -> None: ...

class CaptureEvent(_message.Message):
    __slots__ = ("progress", "snapshot")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    progress: CaptureProgress
    snapshot: _snapshots_pb2.Snapshot
    def __init__(self, progress: _Optional[_Union[CaptureProgress, _Mapping]] = ..., snapshot: _Optional[_Union[_snapshots_pb2.Snapshot, _Mapping]] = ...) -> None: ...

class CaptureProgress(_message.Message):
    __slots__ = ("stage", "raw_size_bytes", "expected_size_bytes", "preflight")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    RAW_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    PREFLIGHT_FIELD_NUMBER: _ClassVar[int]
    stage: CaptureStage
    raw_size_bytes: int
    expected_size_bytes: int
    preflight: Preflight
    def __init__(self, stage: _Optional[_Union[CaptureStage, str]] = ..., raw_size_bytes: _Optional[int] = ..., expected_size_bytes: _Optional[int] = ..., preflight: _Optional[_Union[Preflight, _Mapping]] = ...) -> None: ...

class Preflight(_message.Message):
    __slots__ = ("pause_millis", "extra_memory_bytes", "headroom_bytes", "raw_size_bytes", "learned_from", "allowed", "refusal", "manner", "duration_millis", "forecasts")
    PAUSE_MILLIS_FIELD_NUMBER: _ClassVar[int]
    EXTRA_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    HEADROOM_BYTES_FIELD_NUMBER: _ClassVar[int]
    RAW_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    LEARNED_FROM_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    MANNER_FIELD_NUMBER: _ClassVar[int]
    DURATION_MILLIS_FIELD_NUMBER: _ClassVar[int]
    FORECASTS_FIELD_NUMBER: _ClassVar[int]
    pause_millis: int
    extra_memory_bytes: int
    headroom_bytes: int
    raw_size_bytes: int
    learned_from: int
    allowed: bool
    refusal: str
    manner: _common_pb2.CaptureManner
    duration_millis: int
    forecasts: _containers.RepeatedCompositeFieldContainer[Forecast]
    def __init__(self, pause_millis: _Optional[int] = ..., extra_memory_bytes: _Optional[int] = ..., headroom_bytes: _Optional[int] = ..., raw_size_bytes: _Optional[int] = ..., learned_from: _Optional[int] = ..., allowed: _Optional[bool] = ..., refusal: _Optional[str] = ..., manner: _Optional[_Union[_common_pb2.CaptureManner, str]] = ..., duration_millis: _Optional[int] = ..., forecasts: _Optional[_Iterable[_Union[Forecast, _Mapping]]] = ...) -> None: ...

class Forecast(_message.Message):
    __slots__ = ("manner", "pause_millis", "duration_millis", "extra_memory_bytes", "learned_from", "refusal")
    MANNER_FIELD_NUMBER: _ClassVar[int]
    PAUSE_MILLIS_FIELD_NUMBER: _ClassVar[int]
    DURATION_MILLIS_FIELD_NUMBER: _ClassVar[int]
    EXTRA_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    LEARNED_FROM_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    manner: _common_pb2.CaptureManner
    pause_millis: int
    duration_millis: int
    extra_memory_bytes: int
    learned_from: int
    refusal: str
    def __init__(self, manner: _Optional[_Union[_common_pb2.CaptureManner, str]] = ..., pause_millis: _Optional[int] = ..., duration_millis: _Optional[int] = ..., extra_memory_bytes: _Optional[int] = ..., learned_from: _Optional[int] = ..., refusal: _Optional[str] = ...) -> None: ...

class RecordProfileRequest(_message.Message):
    __slots__ = ("request_id", "target_id", "kind", "options", "force", "join_only")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    JOIN_ONLY_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    target_id: str
    kind: _common_pb2.ProfileKind
    options: _profiles_pb2.ProfileOptions
    force: bool
    join_only: bool
    def __init__(self, request_id: _Optional[str] = ..., target_id: _Optional[str] = ..., kind: _Optional[_Union[_common_pb2.ProfileKind, str]] = ..., options: _Optional[_Union[_profiles_pb2.ProfileOptions, _Mapping]] = ..., force: _Optional[bool] = ..., join_only: _Optional[bool] = ...) -> None: ...

class RecordProfileEvent(_message.Message):
    __slots__ = ("progress", "artifact")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    progress: RecordingProgress
    artifact: _snapshots_pb2.Snapshot
    def __init__(self, progress: _Optional[_Union[RecordingProgress, _Mapping]] = ..., artifact: _Optional[_Union[_snapshots_pb2.Snapshot, _Mapping]] = ...) -> None: ...

class RecordingProgress(_message.Message):
    __slots__ = ("stage", "start_time", "duration_millis", "raw_size_bytes")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    DURATION_MILLIS_FIELD_NUMBER: _ClassVar[int]
    RAW_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    stage: RecordingStage
    start_time: _timestamp_pb2.Timestamp
    duration_millis: int
    raw_size_bytes: int
    def __init__(self, stage: _Optional[_Union[RecordingStage, str]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., duration_millis: _Optional[int] = ..., raw_size_bytes: _Optional[int] = ...) -> None: ...

class StopRecordingRequest(_message.Message):
    __slots__ = ("request_id",)
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    def __init__(self, request_id: _Optional[str] = ...) -> None: ...

class StopRecordingResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StreamRequest(_message.Message):
    __slots__ = ("snapshot_id", "offset_bytes")
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    OFFSET_BYTES_FIELD_NUMBER: _ClassVar[int]
    snapshot_id: str
    offset_bytes: int
    def __init__(self, snapshot_id: _Optional[str] = ..., offset_bytes: _Optional[int] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("target_id", "interval_millis")
    TARGET_ID_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_MILLIS_FIELD_NUMBER: _ClassVar[int]
    target_id: str
    interval_millis: int
    def __init__(self, target_id: _Optional[str] = ..., interval_millis: _Optional[int] = ...) -> None: ...

class DiscardRequest(_message.Message):
    __slots__ = ("snapshot_id",)
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    snapshot_id: str
    def __init__(self, snapshot_id: _Optional[str] = ...) -> None: ...

class DiscardResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
