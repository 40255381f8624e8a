import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Runtime(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUNTIME_UNSPECIFIED: _ClassVar[Runtime]
    RUNTIME_NODE: _ClassVar[Runtime]
    RUNTIME_PYTHON: _ClassVar[Runtime]

class SnapshotKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SNAPSHOT_KIND_UNSPECIFIED: _ClassVar[SnapshotKind]
    SNAPSHOT_KIND_HEAP: _ClassVar[SnapshotKind]
    SNAPSHOT_KIND_PROFILE: _ClassVar[SnapshotKind]

class ProfileKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PROFILE_KIND_UNSPECIFIED: _ClassVar[ProfileKind]
    PROFILE_KIND_TYPES: _ClassVar[ProfileKind]
    PROFILE_KIND_ALLOCATIONS: _ClassVar[ProfileKind]
    PROFILE_KIND_NATIVE: _ClassVar[ProfileKind]
    PROFILE_KIND_SAMPLING: _ClassVar[ProfileKind]
    PROFILE_KIND_NODE_ALLOCATIONS: _ClassVar[ProfileKind]
    PROFILE_KIND_STATS: _ClassVar[ProfileKind]
    PROFILE_KIND_NEAR_LIMIT: _ClassVar[ProfileKind]

class CaptureWay(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CAPTURE_WAY_UNSPECIFIED: _ClassVar[CaptureWay]
    CAPTURE_WAY_HOOK: _ClassVar[CaptureWay]
    CAPTURE_WAY_ATTACH: _ClassVar[CaptureWay]

class CaptureManner(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CAPTURE_MANNER_UNSPECIFIED: _ClassVar[CaptureManner]
    CAPTURE_MANNER_FORKED: _ClassVar[CaptureManner]
    CAPTURE_MANNER_BLOCKING: _ClassVar[CaptureManner]

class PauseMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PAUSE_MODE_UNSPECIFIED: _ClassVar[PauseMode]
    PAUSE_MODE_AUTO: _ClassVar[PauseMode]
    PAUSE_MODE_NEVER: _ClassVar[PauseMode]
    PAUSE_MODE_BLOCKING: _ClassVar[PauseMode]

class PauseSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PAUSE_SOURCE_UNSPECIFIED: _ClassVar[PauseSource]
    PAUSE_SOURCE_RUNTIME: _ClassVar[PauseSource]
    PAUSE_SOURCE_ROUND_TRIP: _ClassVar[PauseSource]
RUNTIME_UNSPECIFIED: Runtime
RUNTIME_NODE: Runtime
RUNTIME_PYTHON: Runtime
SNAPSHOT_KIND_UNSPECIFIED: SnapshotKind
SNAPSHOT_KIND_HEAP: SnapshotKind
SNAPSHOT_KIND_PROFILE: SnapshotKind
PROFILE_KIND_UNSPECIFIED: ProfileKind
PROFILE_KIND_TYPES: ProfileKind
PROFILE_KIND_ALLOCATIONS: ProfileKind
PROFILE_KIND_NATIVE: ProfileKind
PROFILE_KIND_SAMPLING: ProfileKind
PROFILE_KIND_NODE_ALLOCATIONS: ProfileKind
PROFILE_KIND_STATS: ProfileKind
PROFILE_KIND_NEAR_LIMIT: ProfileKind
CAPTURE_WAY_UNSPECIFIED: CaptureWay
CAPTURE_WAY_HOOK: CaptureWay
CAPTURE_WAY_ATTACH: CaptureWay
CAPTURE_MANNER_UNSPECIFIED: CaptureManner
CAPTURE_MANNER_FORKED: CaptureManner
CAPTURE_MANNER_BLOCKING: CaptureManner
PAUSE_MODE_UNSPECIFIED: PauseMode
PAUSE_MODE_AUTO: PauseMode
PAUSE_MODE_NEVER: PauseMode
PAUSE_MODE_BLOCKING: PauseMode
PAUSE_SOURCE_UNSPECIFIED: PauseSource
PAUSE_SOURCE_RUNTIME: PauseSource
PAUSE_SOURCE_ROUND_TRIP: PauseSource

class MemorySample(_message.Message):
    __slots__ = ("sample_time", "rss_bytes", "pss_bytes", "cgroup_usage_bytes", "cgroup_limit_bytes", "heap_used_bytes", "heap_limit_bytes", "cpu_millis", "external_bytes", "resources")
    SAMPLE_TIME_FIELD_NUMBER: _ClassVar[int]
    RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    PSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    CGROUP_USAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    CGROUP_LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    HEAP_USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    HEAP_LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    CPU_MILLIS_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    sample_time: _timestamp_pb2.Timestamp
    rss_bytes: int
    pss_bytes: int
    cgroup_usage_bytes: int
    cgroup_limit_bytes: int
    heap_used_bytes: int
    heap_limit_bytes: int
    cpu_millis: int
    external_bytes: int
    resources: int
    def __init__(self, sample_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., rss_bytes: _Optional[int] = ..., pss_bytes: _Optional[int] = ..., cgroup_usage_bytes: _Optional[int] = ..., cgroup_limit_bytes: _Optional[int] = ..., heap_used_bytes: _Optional[int] = ..., heap_limit_bytes: _Optional[int] = ..., cpu_millis: _Optional[int] = ..., external_bytes: _Optional[int] = ..., resources: _Optional[int] = ...) -> None: ...

class CaptureCost(_message.Message):
    __slots__ = ("pause_millis", "pause_source", "cpu_millis", "extra_memory_bytes", "rss_before_bytes", "rss_after_bytes", "duration_millis", "manner", "tries")
    PAUSE_MILLIS_FIELD_NUMBER: _ClassVar[int]
    PAUSE_SOURCE_FIELD_NUMBER: _ClassVar[int]
    CPU_MILLIS_FIELD_NUMBER: _ClassVar[int]
    EXTRA_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    RSS_BEFORE_BYTES_FIELD_NUMBER: _ClassVar[int]
    RSS_AFTER_BYTES_FIELD_NUMBER: _ClassVar[int]
    DURATION_MILLIS_FIELD_NUMBER: _ClassVar[int]
    MANNER_FIELD_NUMBER: _ClassVar[int]
    TRIES_FIELD_NUMBER: _ClassVar[int]
    pause_millis: int
    pause_source: PauseSource
    cpu_millis: int
    extra_memory_bytes: int
    rss_before_bytes: int
    rss_after_bytes: int
    duration_millis: int
    manner: CaptureManner
    tries: _containers.RepeatedCompositeFieldContainer[CaptureTry]
    def __init__(self, pause_millis: _Optional[int] = ..., pause_source: _Optional[_Union[PauseSource, str]] = ..., cpu_millis: _Optional[int] = ..., extra_memory_bytes: _Optional[int] = ..., rss_before_bytes: _Optional[int] = ..., rss_after_bytes: _Optional[int] = ..., duration_millis: _Optional[int] = ..., manner: _Optional[_Union[CaptureManner, str]] = ..., tries: _Optional[_Iterable[_Union[CaptureTry, _Mapping]]] = ...) -> None: ...

class CaptureTry(_message.Message):
    __slots__ = ("manner", "failure", "pause_millis", "duration_millis", "extra_memory_bytes")
    MANNER_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    PAUSE_MILLIS_FIELD_NUMBER: _ClassVar[int]
    DURATION_MILLIS_FIELD_NUMBER: _ClassVar[int]
    EXTRA_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    manner: CaptureManner
    failure: str
    pause_millis: int
    duration_millis: int
    extra_memory_bytes: int
    def __init__(self, manner: _Optional[_Union[CaptureManner, str]] = ..., failure: _Optional[str] = ..., pause_millis: _Optional[int] = ..., duration_millis: _Optional[int] = ..., extra_memory_bytes: _Optional[int] = ...) -> None: ...
