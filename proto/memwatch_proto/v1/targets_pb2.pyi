import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from memwatch_proto.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TargetState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TARGET_STATE_UNSPECIFIED: _ClassVar[TargetState]
    TARGET_STATE_REACHABLE: _ClassVar[TargetState]
    TARGET_STATE_UNREACHABLE: _ClassVar[TargetState]
    TARGET_STATE_GONE: _ClassVar[TargetState]
TARGET_STATE_UNSPECIFIED: TargetState
TARGET_STATE_REACHABLE: TargetState
TARGET_STATE_UNREACHABLE: TargetState
TARGET_STATE_GONE: TargetState

class Target(_message.Message):
    __slots__ = ("id", "agent_id", "pid", "start_time", "runtime", "runtime_version", "container_id", "pod", "namespace", "service", "command", "labels", "hooked", "ways", "unavailable_reason", "state", "last_seen_time", "memory", "role", "worker_threads", "pod_uid")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_VERSION_FIELD_NUMBER: _ClassVar[int]
    CONTAINER_ID_FIELD_NUMBER: _ClassVar[int]
    POD_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    HOOKED_FIELD_NUMBER: _ClassVar[int]
    WAYS_FIELD_NUMBER: _ClassVar[int]
    UNAVAILABLE_REASON_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_TIME_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    WORKER_THREADS_FIELD_NUMBER: _ClassVar[int]
    POD_UID_FIELD_NUMBER: _ClassVar[int]
    id: str
    agent_id: str
    pid: int
    start_time: _timestamp_pb2.Timestamp
    runtime: _common_pb2.Runtime
    runtime_version: str
    container_id: str
    pod: str
    namespace: str
    service: str
    command: str
    labels: _containers.ScalarMap[str, str]
    hooked: bool
    ways: _containers.RepeatedScalarFieldContainer[_common_pb2.CaptureWay]
    unavailable_reason: str
    state: TargetState
    last_seen_time: _timestamp_pb2.Timestamp
    memory: _common_pb2.MemorySample
    role: str
    worker_threads: int
    pod_uid: str
    def __init__(self, id: _Optional[str] = ..., agent_id: _Optional[str] = ..., pid: _Optional[int] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., runtime: _Optional[_Union[_common_pb2.Runtime, str]] = ..., runtime_version: _Optional[str] = ..., container_id: _Optional[str] = ..., pod: _Optional[str] = ..., namespace: _Optional[str] = ..., service: _Optional[str] = ..., command: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., hooked: _Optional[bool] = ..., ways: _Optional[_Iterable[_Union[_common_pb2.CaptureWay, str]]] = ..., unavailable_reason: _Optional[str] = ..., state: _Optional[_Union[TargetState, str]] = ..., last_seen_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., memory: _Optional[_Union[_common_pb2.MemorySample, _Mapping]] = ..., role: _Optional[str] = ..., worker_threads: _Optional[int] = ..., pod_uid: _Optional[str] = ...) -> None: ...

class TargetSelector(_message.Message):
    __slots__ = ("ids", "name", "service", "container_id", "namespace", "pid", "labels", "runtime", "workload", "container")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    IDS_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    CONTAINER_ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    WORKLOAD_FIELD_NUMBER: _ClassVar[int]
    CONTAINER_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[str]
    name: str
    service: str
    container_id: str
    namespace: str
    pid: int
    labels: _containers.ScalarMap[str, str]
    runtime: _common_pb2.Runtime
    workload: Workload
    container: str
    def __init__(self, ids: _Optional[_Iterable[str]] = ..., name: _Optional[str] = ..., service: _Optional[str] = ..., container_id: _Optional[str] = ..., namespace: _Optional[str] = ..., pid: _Optional[int] = ..., labels: _Optional[_Mapping[str, str]] = ..., runtime: _Optional[_Union[_common_pb2.Runtime, str]] = ..., workload: _Optional[_Union[Workload, _Mapping]] = ..., container: _Optional[str] = ...) -> None: ...

class Workload(_message.Message):
    __slots__ = ("kind", "name")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class GetTargetRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ListTargetsRequest(_message.Message):
    __slots__ = ("selector", "include_absent", "page_size", "page_token")
    SELECTOR_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_ABSENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    selector: TargetSelector
    include_absent: bool
    page_size: int
    page_token: str
    def __init__(self, selector: _Optional[_Union[TargetSelector, _Mapping]] = ..., include_absent: _Optional[bool] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListTargetsResponse(_message.Message):
    __slots__ = ("targets", "next_page_token")
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    targets: _containers.RepeatedCompositeFieldContainer[Target]
    next_page_token: str
    def __init__(self, targets: _Optional[_Iterable[_Union[Target, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WatchTargetRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class WatchTargetResponse(_message.Message):
    __slots__ = ("target",)
    TARGET_FIELD_NUMBER: _ClassVar[int]
    target: Target
    def __init__(self, target: _Optional[_Union[Target, _Mapping]] = ...) -> None: ...
