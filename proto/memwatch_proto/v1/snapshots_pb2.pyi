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

class SnapshotOrigin(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SNAPSHOT_ORIGIN_UNSPECIFIED: _ClassVar[SnapshotOrigin]
    SNAPSHOT_ORIGIN_NEAR_LIMIT: _ClassVar[SnapshotOrigin]
SNAPSHOT_ORIGIN_UNSPECIFIED: SnapshotOrigin
SNAPSHOT_ORIGIN_NEAR_LIMIT: SnapshotOrigin

class Snapshot(_message.Message):
    __slots__ = ("id", "request_id", "target_id", "session_id", "phase", "kind", "way", "runtime", "runtime_version", "service", "container_id", "capture_time", "raw_size_bytes", "raw_sha256", "stored_size_bytes", "stored_sha256", "cost", "file_name", "late", "late_millis", "memory", "notes", "id_epoch", "profile_kind", "end_time", "content_type", "walk", "origin")
    ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    WAY_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_VERSION_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    CONTAINER_ID_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_TIME_FIELD_NUMBER: _ClassVar[int]
    RAW_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    RAW_SHA256_FIELD_NUMBER: _ClassVar[int]
    STORED_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    STORED_SHA256_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    FILE_NAME_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    LATE_MILLIS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    ID_EPOCH_FIELD_NUMBER: _ClassVar[int]
    PROFILE_KIND_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    WALK_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    id: str
    request_id: str
    target_id: str
    session_id: str
    phase: str
    kind: _common_pb2.SnapshotKind
    way: _common_pb2.CaptureWay
    runtime: _common_pb2.Runtime
    runtime_version: str
    service: str
    container_id: str
    capture_time: _timestamp_pb2.Timestamp
    raw_size_bytes: int
    raw_sha256: str
    stored_size_bytes: int
    stored_sha256: str
    cost: _common_pb2.CaptureCost
    file_name: str
    late: bool
    late_millis: int
    memory: _common_pb2.MemorySample
    notes: _containers.RepeatedScalarFieldContainer[str]
    id_epoch: str
    profile_kind: _common_pb2.ProfileKind
    end_time: _timestamp_pb2.Timestamp
    content_type: str
    walk: HeapWalk
    origin: SnapshotOrigin
    def __init__(self, id: _Optional[str] = ..., request_id: _Optional[str] = ..., target_id: _Optional[str] = ..., session_id: _Optional[str] = ..., phase: _Optional[str] = ..., kind: _Optional[_Union[_common_pb2.SnapshotKind, str]] = ..., way: _Optional[_Union[_common_pb2.CaptureWay, str]] = ..., runtime: _Optional[_Union[_common_pb2.Runtime, str]] = ..., runtime_version: _Optional[str] = ..., service: _Optional[str] = ..., container_id: _Optional[str] = ..., capture_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., raw_size_bytes: _Optional[int] = ..., raw_sha256: _Optional[str] = ..., stored_size_bytes: _Optional[int] = ..., stored_sha256: _Optional[str] = ..., cost: _Optional[_Union[_common_pb2.CaptureCost, _Mapping]] = ..., file_name: _Optional[str] = ..., late: _Optional[bool] = ..., late_millis: _Optional[int] = ..., memory: _Optional[_Union[_common_pb2.MemorySample, _Mapping]] = ..., notes: _Optional[_Iterable[str]] = ..., id_epoch: _Optional[str] = ..., profile_kind: _Optional[_Union[_common_pb2.ProfileKind, str]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., content_type: _Optional[str] = ..., walk: _Optional[_Union[HeapWalk, _Mapping]] = ..., origin: _Optional[_Union[SnapshotOrigin, str]] = ...) -> None: ...

class HeapWalk(_message.Message):
    __slots__ = ("walker", "way", "objects", "heap_bytes", "rss_bytes", "walk_millis", "dump_bytes", "convert_millis")
    WALKER_FIELD_NUMBER: _ClassVar[int]
    WAY_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    HEAP_BYTES_FIELD_NUMBER: _ClassVar[int]
    RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    WALK_MILLIS_FIELD_NUMBER: _ClassVar[int]
    DUMP_BYTES_FIELD_NUMBER: _ClassVar[int]
    CONVERT_MILLIS_FIELD_NUMBER: _ClassVar[int]
    walker: str
    way: str
    objects: int
    heap_bytes: int
    rss_bytes: int
    walk_millis: int
    dump_bytes: int
    convert_millis: int
    def __init__(self, walker: _Optional[str] = ..., way: _Optional[str] = ..., objects: _Optional[int] = ..., heap_bytes: _Optional[int] = ..., rss_bytes: _Optional[int] = ..., walk_millis: _Optional[int] = ..., dump_bytes: _Optional[int] = ..., convert_millis: _Optional[int] = ...) -> None: ...

class Chunk(_message.Message):
    __slots__ = ("offset_bytes", "data", "crc32c", "sha256", "total_size_bytes")
    OFFSET_BYTES_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    CRC32C_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    offset_bytes: int
    data: bytes
    crc32c: int
    sha256: str
    total_size_bytes: int
    def __init__(self, offset_bytes: _Optional[int] = ..., data: _Optional[bytes] = ..., crc32c: _Optional[int] = ..., sha256: _Optional[str] = ..., total_size_bytes: _Optional[int] = ...) -> None: ...

class GetSnapshotRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ListSnapshotsRequest(_message.Message):
    __slots__ = ("session_id", "target_id", "page_size", "page_token")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    target_id: str
    page_size: int
    page_token: str
    def __init__(self, session_id: _Optional[str] = ..., target_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListSnapshotsResponse(_message.Message):
    __slots__ = ("snapshots", "next_page_token")
    SNAPSHOTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    snapshots: _containers.RepeatedCompositeFieldContainer[Snapshot]
    next_page_token: str
    def __init__(self, snapshots: _Optional[_Iterable[_Union[Snapshot, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DownloadSnapshotRequest(_message.Message):
    __slots__ = ("id", "offset_bytes")
    ID_FIELD_NUMBER: _ClassVar[int]
    OFFSET_BYTES_FIELD_NUMBER: _ClassVar[int]
    id: str
    offset_bytes: int
    def __init__(self, id: _Optional[str] = ..., offset_bytes: _Optional[int] = ...) -> None: ...

class UploadHeader(_message.Message):
    __slots__ = ("request_id", "file_name", "content_encoding", "size_bytes", "sha256", "session_id", "phase", "service", "container_id", "runtime", "capture_time")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    FILE_NAME_FIELD_NUMBER: _ClassVar[int]
    CONTENT_ENCODING_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    CONTAINER_ID_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_TIME_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    file_name: str
    content_encoding: str
    size_bytes: int
    sha256: str
    session_id: str
    phase: str
    service: str
    container_id: str
    runtime: _common_pb2.Runtime
    capture_time: _timestamp_pb2.Timestamp
    def __init__(self, request_id: _Optional[str] = ..., file_name: _Optional[str] = ..., content_encoding: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[str] = ..., session_id: _Optional[str] = ..., phase: _Optional[str] = ..., service: _Optional[str] = ..., container_id: _Optional[str] = ..., runtime: _Optional[_Union[_common_pb2.Runtime, str]] = ..., capture_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class UploadSnapshotRequest(_message.Message):
    __slots__ = ("header", "chunk")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    header: UploadHeader
    chunk: Chunk
    def __init__(self, header: _Optional[_Union[UploadHeader, _Mapping]] = ..., chunk: _Optional[_Union[Chunk, _Mapping]] = ...) -> None: ...

class DeleteSnapshotRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class DeleteSnapshotResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CleanUpSnapshotsRequest(_message.Message):
    __slots__ = ("dry_run", "delete_orphans")
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    DELETE_ORPHANS_FIELD_NUMBER: _ClassVar[int]
    dry_run: bool
    delete_orphans: bool
    def __init__(self, dry_run: _Optional[bool] = ..., delete_orphans: _Optional[bool] = ...) -> None: ...

class CleanUpSnapshotsResponse(_message.Message):
    __slots__ = ("deleted", "deleted_count", "orphans", "orphan_count", "lost_ids", "lost_count", "fetched_ids", "freed_bytes")
    DELETED_FIELD_NUMBER: _ClassVar[int]
    DELETED_COUNT_FIELD_NUMBER: _ClassVar[int]
    ORPHANS_FIELD_NUMBER: _ClassVar[int]
    ORPHAN_COUNT_FIELD_NUMBER: _ClassVar[int]
    LOST_IDS_FIELD_NUMBER: _ClassVar[int]
    LOST_COUNT_FIELD_NUMBER: _ClassVar[int]
    FETCHED_IDS_FIELD_NUMBER: _ClassVar[int]
    FREED_BYTES_FIELD_NUMBER: _ClassVar[int]
    deleted: _containers.RepeatedCompositeFieldContainer[ExpiredSnapshot]
    deleted_count: int
    orphans: _containers.RepeatedCompositeFieldContainer[OrphanedBlob]
    orphan_count: int
    lost_ids: _containers.RepeatedScalarFieldContainer[str]
    lost_count: int
    fetched_ids: _containers.RepeatedScalarFieldContainer[str]
    freed_bytes: int
    def __init__(self, deleted: _Optional[_Iterable[_Union[ExpiredSnapshot, _Mapping]]] = ..., deleted_count: _Optional[int] = ..., orphans: _Optional[_Iterable[_Union[OrphanedBlob, _Mapping]]] = ..., orphan_count: _Optional[int] = ..., lost_ids: _Optional[_Iterable[str]] = ..., lost_count: _Optional[int] = ..., fetched_ids: _Optional[_Iterable[str]] = ..., freed_bytes: _Optional[int] = ...) -> None: ...

class ExpiredSnapshot(_message.Message):
    __slots__ = ("id", "session_id", "stored_size_bytes", "why")
    ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    STORED_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    id: str
    session_id: str
    stored_size_bytes: int
    why: str
    def __init__(self, id: _Optional[str] = ..., session_id: _Optional[str] = ..., stored_size_bytes: _Optional[int] = ..., why: _Optional[str] = ...) -> None: ...

class OrphanedBlob(_message.Message):
    __slots__ = ("key", "size_bytes", "modified_time")
    KEY_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MODIFIED_TIME_FIELD_NUMBER: _ClassVar[int]
    key: str
    size_bytes: int
    modified_time: _timestamp_pb2.Timestamp
    def __init__(self, key: _Optional[str] = ..., size_bytes: _Optional[int] = ..., modified_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
