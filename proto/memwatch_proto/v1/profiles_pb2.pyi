import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from memwatch_proto.v1 import common_pb2 as _common_pb2
from memwatch_proto.v1 import targets_pb2 as _targets_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ProfileState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROFILE_STATE_UNSPECIFIED: _ClassVar[ProfileState]
    PROFILE_STATE_PENDING: _ClassVar[ProfileState]
    PROFILE_STATE_RECORDING: _ClassVar[ProfileState]
    PROFILE_STATE_STORING: _ClassVar[ProfileState]
    PROFILE_STATE_SUCCEEDED: _ClassVar[ProfileState]
    PROFILE_STATE_FAILED: _ClassVar[ProfileState]
    PROFILE_STATE_CANCELLED: _ClassVar[ProfileState]

class ProfileOrigin(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROFILE_ORIGIN_UNSPECIFIED: _ClassVar[ProfileOrigin]
    PROFILE_ORIGIN_CALL: _ClassVar[ProfileOrigin]
    PROFILE_ORIGIN_REQUEST: _ClassVar[ProfileOrigin]
    PROFILE_ORIGIN_NEAR_LIMIT: _ClassVar[ProfileOrigin]
PROFILE_STATE_UNSPECIFIED: ProfileState
PROFILE_STATE_PENDING: ProfileState
PROFILE_STATE_RECORDING: ProfileState
PROFILE_STATE_STORING: ProfileState
PROFILE_STATE_SUCCEEDED: ProfileState
PROFILE_STATE_FAILED: ProfileState
PROFILE_STATE_CANCELLED: ProfileState
PROFILE_ORIGIN_UNSPECIFIED: ProfileOrigin
PROFILE_ORIGIN_CALL: ProfileOrigin
PROFILE_ORIGIN_REQUEST: ProfileOrigin
PROFILE_ORIGIN_NEAR_LIMIT: ProfileOrigin

class ProfileOptions(_message.Message):
    __slots__ = ("duration_millis", "max_size_bytes", "frames", "native_traces", "python_allocator", "aggregate", "sampling_interval_bytes", "collect_garbage")
    DURATION_MILLIS_FIELD_NUMBER: _ClassVar[int]
    MAX_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    NATIVE_TRACES_FIELD_NUMBER: _ClassVar[int]
    PYTHON_ALLOCATOR_FIELD_NUMBER: _ClassVar[int]
    AGGREGATE_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_INTERVAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    COLLECT_GARBAGE_FIELD_NUMBER: _ClassVar[int]
    duration_millis: int
    max_size_bytes: int
    frames: int
    native_traces: bool
    python_allocator: bool
    aggregate: bool
    sampling_interval_bytes: int
    collect_garbage: bool
    def __init__(self, duration_millis: _Optional[int] = ..., max_size_bytes: _Optional[int] = ..., frames: _Optional[int] = ..., native_traces: _Optional[bool] = ..., python_allocator: _Optional[bool] = ..., aggregate: _Optional[bool] = ..., sampling_interval_bytes: _Optional[int] = ..., collect_garbage: _Optional[bool] = ...) -> None: ...

class Profile(_message.Message):
    __slots__ = ("id", "request_id", "target", "service", "kind", "state", "options", "create_time", "update_time", "start_time", "stop_time", "raw_size_bytes", "raw_sha256", "stored_size_bytes", "stored_sha256", "content_type", "file_name", "cost", "notes", "error", "origin", "reports", "stop_requested")
    ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    STOP_TIME_FIELD_NUMBER: _ClassVar[int]
    RAW_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    RAW_SHA256_FIELD_NUMBER: _ClassVar[int]
    STORED_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    STORED_SHA256_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    FILE_NAME_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    STOP_REQUESTED_FIELD_NUMBER: _ClassVar[int]
    id: str
    request_id: str
    target: _targets_pb2.Target
    service: str
    kind: _common_pb2.ProfileKind
    state: ProfileState
    options: ProfileOptions
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    stop_time: _timestamp_pb2.Timestamp
    raw_size_bytes: int
    raw_sha256: str
    stored_size_bytes: int
    stored_sha256: str
    content_type: str
    file_name: str
    cost: _common_pb2.CaptureCost
    notes: _containers.RepeatedScalarFieldContainer[str]
    error: ProfileError
    origin: ProfileOrigin
    reports: _containers.RepeatedCompositeFieldContainer[ProfileReportInfo]
    stop_requested: bool
    def __init__(self, id: _Optional[str] = ..., request_id: _Optional[str] = ..., target: _Optional[_Union[_targets_pb2.Target, _Mapping]] = ..., service: _Optional[str] = ..., kind: _Optional[_Union[_common_pb2.ProfileKind, str]] = ..., state: _Optional[_Union[ProfileState, str]] = ..., options: _Optional[_Union[ProfileOptions, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., stop_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., raw_size_bytes: _Optional[int] = ..., raw_sha256: _Optional[str] = ..., stored_size_bytes: _Optional[int] = ..., stored_sha256: _Optional[str] = ..., content_type: _Optional[str] = ..., file_name: _Optional[str] = ..., cost: _Optional[_Union[_common_pb2.CaptureCost, _Mapping]] = ..., notes: _Optional[_Iterable[str]] = ..., error: _Optional[_Union[ProfileError, _Mapping]] = ..., origin: _Optional[_Union[ProfileOrigin, str]] = ..., reports: _Optional[_Iterable[_Union[ProfileReportInfo, _Mapping]]] = ..., stop_requested: _Optional[bool] = ...) -> None: ...

class ProfileError(_message.Message):
    __slots__ = ("reason", "message")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    reason: str
    message: str
    def __init__(self, reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class ProfileReportInfo(_message.Message):
    __slots__ = ("name", "formats")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FORMATS_FIELD_NUMBER: _ClassVar[int]
    name: str
    formats: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., formats: _Optional[_Iterable[str]] = ...) -> None: ...

class StartProfileRequest(_message.Message):
    __slots__ = ("request_id", "selector", "kind", "options", "force")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SELECTOR_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    selector: _targets_pb2.TargetSelector
    kind: _common_pb2.ProfileKind
    options: ProfileOptions
    force: bool
    def __init__(self, request_id: _Optional[str] = ..., selector: _Optional[_Union[_targets_pb2.TargetSelector, _Mapping]] = ..., kind: _Optional[_Union[_common_pb2.ProfileKind, str]] = ..., options: _Optional[_Union[ProfileOptions, _Mapping]] = ..., force: _Optional[bool] = ...) -> None: ...

class StopProfileRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetProfileRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ListProfilesRequest(_message.Message):
    __slots__ = ("states", "service", "target_id", "kind", "page_size", "page_token")
    STATES_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    TARGET_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    states: _containers.RepeatedScalarFieldContainer[ProfileState]
    service: str
    target_id: str
    kind: _common_pb2.ProfileKind
    page_size: int
    page_token: str
    def __init__(self, states: _Optional[_Iterable[_Union[ProfileState, str]]] = ..., service: _Optional[str] = ..., target_id: _Optional[str] = ..., kind: _Optional[_Union[_common_pb2.ProfileKind, str]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListProfilesResponse(_message.Message):
    __slots__ = ("profiles", "next_page_token")
    PROFILES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    profiles: _containers.RepeatedCompositeFieldContainer[Profile]
    next_page_token: str
    def __init__(self, profiles: _Optional[_Iterable[_Union[Profile, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteProfileRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class DeleteProfileResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetProfileReportRequest(_message.Message):
    __slots__ = ("id", "report", "format", "base_id", "limit")
    ID_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    BASE_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    id: str
    report: str
    format: str
    base_id: str
    limit: int
    def __init__(self, id: _Optional[str] = ..., report: _Optional[str] = ..., format: _Optional[str] = ..., base_id: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class GetProfileReportResponse(_message.Message):
    __slots__ = ("header", "data")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    header: ProfileReportHeader
    data: bytes
    def __init__(self, header: _Optional[_Union[ProfileReportHeader, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class ProfileReportHeader(_message.Message):
    __slots__ = ("report", "format", "content_type", "file_name", "size_bytes")
    REPORT_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    FILE_NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    report: str
    format: str
    content_type: str
    file_name: str
    size_bytes: int
    def __init__(self, report: _Optional[str] = ..., format: _Optional[str] = ..., content_type: _Optional[str] = ..., file_name: _Optional[str] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class CleanupProfilesRequest(_message.Message):
    __slots__ = ("older_than_millis", "dry_run")
    OLDER_THAN_MILLIS_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    older_than_millis: int
    dry_run: bool
    def __init__(self, older_than_millis: _Optional[int] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class CleanupProfilesResponse(_message.Message):
    __slots__ = ("profile_ids", "freed_bytes")
    PROFILE_IDS_FIELD_NUMBER: _ClassVar[int]
    FREED_BYTES_FIELD_NUMBER: _ClassVar[int]
    profile_ids: _containers.RepeatedScalarFieldContainer[str]
    freed_bytes: int
    def __init__(self, profile_ids: _Optional[_Iterable[str]] = ..., freed_bytes: _Optional[int] = ...) -> None: ...
