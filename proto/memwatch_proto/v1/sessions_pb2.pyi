import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from memwatch_proto.v1 import agents_pb2 as _agents_pb2
from memwatch_proto.v1 import common_pb2 as _common_pb2
from memwatch_proto.v1 import snapshots_pb2 as _snapshots_pb2
from memwatch_proto.v1 import targets_pb2 as _targets_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SessionState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SESSION_STATE_UNSPECIFIED: _ClassVar[SessionState]
    SESSION_STATE_PENDING: _ClassVar[SessionState]
    SESSION_STATE_CAPTURING_BEFORE: _ClassVar[SessionState]
    SESSION_STATE_WAITING: _ClassVar[SessionState]
    SESSION_STATE_CAPTURING_AFTER: _ClassVar[SessionState]
    SESSION_STATE_ANALYSING: _ClassVar[SessionState]
    SESSION_STATE_SUCCEEDED: _ClassVar[SessionState]
    SESSION_STATE_FAILED: _ClassVar[SessionState]
    SESSION_STATE_CANCELLED: _ClassVar[SessionState]

class PodPick(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    POD_PICK_UNSPECIFIED: _ClassVar[PodPick]
    POD_PICK_OLDEST: _ClassVar[PodPick]
    POD_PICK_FATTEST: _ClassVar[PodPick]
    POD_PICK_NEWEST: _ClassVar[PodPick]
    POD_PICK_ALL: _ClassVar[PodPick]

class IsolationMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ISOLATION_MODE_UNSPECIFIED: _ClassVar[IsolationMode]
    ISOLATION_MODE_READINESS: _ClassVar[IsolationMode]
    ISOLATION_MODE_DETACH: _ClassVar[IsolationMode]
    ISOLATION_MODE_AUTO: _ClassVar[IsolationMode]
SESSION_STATE_UNSPECIFIED: SessionState
SESSION_STATE_PENDING: SessionState
SESSION_STATE_CAPTURING_BEFORE: SessionState
SESSION_STATE_WAITING: SessionState
SESSION_STATE_CAPTURING_AFTER: SessionState
SESSION_STATE_ANALYSING: SessionState
SESSION_STATE_SUCCEEDED: SessionState
SESSION_STATE_FAILED: SessionState
SESSION_STATE_CANCELLED: SessionState
POD_PICK_UNSPECIFIED: PodPick
POD_PICK_OLDEST: PodPick
POD_PICK_FATTEST: PodPick
POD_PICK_NEWEST: PodPick
POD_PICK_ALL: PodPick
ISOLATION_MODE_UNSPECIFIED: IsolationMode
ISOLATION_MODE_READINESS: IsolationMode
ISOLATION_MODE_DETACH: IsolationMode
ISOLATION_MODE_AUTO: IsolationMode

class SessionPlan(_message.Message):
    __slots__ = ("selector", "fleet", "max_parallel", "timeframe_millis", "snapshots", "kind", "way", "force", "max_pause_millis", "service", "labels", "strategy", "pause", "isolation", "pick", "beside_newest", "allocation_frames")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SELECTOR_FIELD_NUMBER: _ClassVar[int]
    FLEET_FIELD_NUMBER: _ClassVar[int]
    MAX_PARALLEL_FIELD_NUMBER: _ClassVar[int]
    TIMEFRAME_MILLIS_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOTS_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    WAY_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    MAX_PAUSE_MILLIS_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    PAUSE_FIELD_NUMBER: _ClassVar[int]
    ISOLATION_FIELD_NUMBER: _ClassVar[int]
    PICK_FIELD_NUMBER: _ClassVar[int]
    BESIDE_NEWEST_FIELD_NUMBER: _ClassVar[int]
    ALLOCATION_FRAMES_FIELD_NUMBER: _ClassVar[int]
    selector: _targets_pb2.TargetSelector
    fleet: bool
    max_parallel: int
    timeframe_millis: int
    snapshots: int
    kind: _common_pb2.SnapshotKind
    way: _common_pb2.CaptureWay
    force: bool
    max_pause_millis: int
    service: str
    labels: _containers.ScalarMap[str, str]
    strategy: str
    pause: _common_pb2.PauseMode
    isolation: Isolation
    pick: PodPick
    beside_newest: bool
    allocation_frames: int
    def __init__(self, selector: _Optional[_Union[_targets_pb2.TargetSelector, _Mapping]] = ..., fleet: _Optional[bool] = ..., max_parallel: _Optional[int] = ..., timeframe_millis: _Optional[int] = ..., snapshots: _Optional[int] = ..., kind: _Optional[_Union[_common_pb2.SnapshotKind, str]] = ..., way: _Optional[_Union[_common_pb2.CaptureWay, str]] = ..., force: _Optional[bool] = ..., max_pause_millis: _Optional[int] = ..., service: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., strategy: _Optional[str] = ..., pause: _Optional[_Union[_common_pb2.PauseMode, str]] = ..., isolation: _Optional[_Union[Isolation, _Mapping]] = ..., pick: _Optional[_Union[PodPick, str]] = ..., beside_newest: _Optional[bool] = ..., allocation_frames: _Optional[int] = ...) -> None: ...

class Isolation(_message.Message):
    __slots__ = ("mode", "drain_millis", "ready_millis", "orphan_millis")
    MODE_FIELD_NUMBER: _ClassVar[int]
    DRAIN_MILLIS_FIELD_NUMBER: _ClassVar[int]
    READY_MILLIS_FIELD_NUMBER: _ClassVar[int]
    ORPHAN_MILLIS_FIELD_NUMBER: _ClassVar[int]
    mode: IsolationMode
    drain_millis: int
    ready_millis: int
    orphan_millis: int
    def __init__(self, mode: _Optional[_Union[IsolationMode, str]] = ..., drain_millis: _Optional[int] = ..., ready_millis: _Optional[int] = ..., orphan_millis: _Optional[int] = ...) -> None: ...

class IsolationStatus(_message.Message):
    __slots__ = ("state", "steps")
    STATE_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    state: str
    steps: _containers.RepeatedCompositeFieldContainer[IsolationStep]
    def __init__(self, state: _Optional[str] = ..., steps: _Optional[_Iterable[_Union[IsolationStep, _Mapping]]] = ...) -> None: ...

class IsolationStep(_message.Message):
    __slots__ = ("time", "message")
    TIME_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    message: str
    def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., message: _Optional[str] = ...) -> None: ...

class Session(_message.Message):
    __slots__ = ("id", "request_id", "plan", "state", "targets", "create_time", "update_time", "end_time", "next_capture_time", "error", "report_ids")
    ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    NEXT_CAPTURE_TIME_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    REPORT_IDS_FIELD_NUMBER: _ClassVar[int]
    id: str
    request_id: str
    plan: SessionPlan
    state: SessionState
    targets: _containers.RepeatedCompositeFieldContainer[SessionTarget]
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    next_capture_time: _timestamp_pb2.Timestamp
    error: SessionError
    report_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[str] = ..., request_id: _Optional[str] = ..., plan: _Optional[_Union[SessionPlan, _Mapping]] = ..., state: _Optional[_Union[SessionState, str]] = ..., targets: _Optional[_Iterable[_Union[SessionTarget, _Mapping]]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., next_capture_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., error: _Optional[_Union[SessionError, _Mapping]] = ..., report_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class SessionTarget(_message.Message):
    __slots__ = ("target", "state", "snapshots", "progress", "error", "report_id", "analysis", "isolation")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOTS_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    REPORT_ID_FIELD_NUMBER: _ClassVar[int]
    ANALYSIS_FIELD_NUMBER: _ClassVar[int]
    ISOLATION_FIELD_NUMBER: _ClassVar[int]
    target: _targets_pb2.Target
    state: SessionState
    snapshots: _containers.RepeatedCompositeFieldContainer[_snapshots_pb2.Snapshot]
    progress: _agents_pb2.CaptureProgress
    error: SessionError
    report_id: str
    analysis: AnalysisProgress
    isolation: IsolationStatus
    def __init__(self, target: _Optional[_Union[_targets_pb2.Target, _Mapping]] = ..., state: _Optional[_Union[SessionState, str]] = ..., snapshots: _Optional[_Iterable[_Union[_snapshots_pb2.Snapshot, _Mapping]]] = ..., progress: _Optional[_Union[_agents_pb2.CaptureProgress, _Mapping]] = ..., error: _Optional[_Union[SessionError, _Mapping]] = ..., report_id: _Optional[str] = ..., analysis: _Optional[_Union[AnalysisProgress, _Mapping]] = ..., isolation: _Optional[_Union[IsolationStatus, _Mapping]] = ...) -> None: ...

class AnalysisProgress(_message.Message):
    __slots__ = ("doing", "done_percent")
    DOING_FIELD_NUMBER: _ClassVar[int]
    DONE_PERCENT_FIELD_NUMBER: _ClassVar[int]
    doing: str
    done_percent: int
    def __init__(self, doing: _Optional[str] = ..., done_percent: _Optional[int] = ...) -> None: ...

class SessionError(_message.Message):
    __slots__ = ("phase", "reason", "message")
    PHASE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    phase: str
    reason: str
    message: str
    def __init__(self, phase: _Optional[str] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class CreateSessionRequest(_message.Message):
    __slots__ = ("request_id", "plan", "session_id")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    plan: SessionPlan
    session_id: str
    def __init__(self, request_id: _Optional[str] = ..., plan: _Optional[_Union[SessionPlan, _Mapping]] = ..., session_id: _Optional[str] = ...) -> None: ...

class PreviewIsolationRequest(_message.Message):
    __slots__ = ("plan",)
    PLAN_FIELD_NUMBER: _ClassVar[int]
    plan: SessionPlan
    def __init__(self, plan: _Optional[_Union[SessionPlan, _Mapping]] = ...) -> None: ...

class PreviewIsolationResponse(_message.Message):
    __slots__ = ("pods",)
    PODS_FIELD_NUMBER: _ClassVar[int]
    pods: _containers.RepeatedCompositeFieldContainer[IsolationPreview]
    def __init__(self, pods: _Optional[_Iterable[_Union[IsolationPreview, _Mapping]]] = ...) -> None: ...

class IsolationPreview(_message.Message):
    __slots__ = ("namespace", "pod", "mode", "steps")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    POD_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    pod: str
    mode: IsolationMode
    steps: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, namespace: _Optional[str] = ..., pod: _Optional[str] = ..., mode: _Optional[_Union[IsolationMode, str]] = ..., steps: _Optional[_Iterable[str]] = ...) -> None: ...

class GetSessionRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ListSessionsRequest(_message.Message):
    __slots__ = ("states", "service", "page_size", "page_token")
    STATES_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    states: _containers.RepeatedScalarFieldContainer[SessionState]
    service: str
    page_size: int
    page_token: str
    def __init__(self, states: _Optional[_Iterable[_Union[SessionState, str]]] = ..., service: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListSessionsResponse(_message.Message):
    __slots__ = ("sessions", "next_page_token")
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    sessions: _containers.RepeatedCompositeFieldContainer[Session]
    next_page_token: str
    def __init__(self, sessions: _Optional[_Iterable[_Union[Session, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WatchSessionRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class WatchSessionResponse(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: Session
    def __init__(self, session: _Optional[_Union[Session, _Mapping]] = ...) -> None: ...

class CancelSessionRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class DeleteSessionRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class DeleteSessionResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
