import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Report(_message.Message):
    __slots__ = ("id", "session_id", "target_id", "create_time", "snapshot_ids", "before", "after", "classes", "class_count", "summary", "json")
    ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_ID_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_IDS_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    CLASS_COUNT_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    id: str
    session_id: str
    target_id: str
    create_time: _timestamp_pb2.Timestamp
    snapshot_ids: _containers.RepeatedScalarFieldContainer[str]
    before: HeapTotals
    after: HeapTotals
    classes: _containers.RepeatedCompositeFieldContainer[ClassGrowth]
    class_count: int
    summary: str
    json: str
    def __init__(self, id: _Optional[str] = ..., session_id: _Optional[str] = ..., target_id: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., snapshot_ids: _Optional[_Iterable[str]] = ..., before: _Optional[_Union[HeapTotals, _Mapping]] = ..., after: _Optional[_Union[HeapTotals, _Mapping]] = ..., classes: _Optional[_Iterable[_Union[ClassGrowth, _Mapping]]] = ..., class_count: _Optional[int] = ..., summary: _Optional[str] = ..., json: _Optional[str] = ...) -> None: ...

class HeapTotals(_message.Message):
    __slots__ = ("object_count", "shallow_size_bytes")
    OBJECT_COUNT_FIELD_NUMBER: _ClassVar[int]
    SHALLOW_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    object_count: int
    shallow_size_bytes: int
    def __init__(self, object_count: _Optional[int] = ..., shallow_size_bytes: _Optional[int] = ...) -> None: ...

class ClassGrowth(_message.Message):
    __slots__ = ("class_name", "count_before", "count_after", "shallow_size_before_bytes", "shallow_size_after_bytes", "new_count", "gone_count", "new_size_bytes", "gone_size_bytes")
    CLASS_NAME_FIELD_NUMBER: _ClassVar[int]
    COUNT_BEFORE_FIELD_NUMBER: _ClassVar[int]
    COUNT_AFTER_FIELD_NUMBER: _ClassVar[int]
    SHALLOW_SIZE_BEFORE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHALLOW_SIZE_AFTER_BYTES_FIELD_NUMBER: _ClassVar[int]
    NEW_COUNT_FIELD_NUMBER: _ClassVar[int]
    GONE_COUNT_FIELD_NUMBER: _ClassVar[int]
    NEW_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    GONE_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    class_name: str
    count_before: int
    count_after: int
    shallow_size_before_bytes: int
    shallow_size_after_bytes: int
    new_count: int
    gone_count: int
    new_size_bytes: int
    gone_size_bytes: int
    def __init__(self, class_name: _Optional[str] = ..., count_before: _Optional[int] = ..., count_after: _Optional[int] = ..., shallow_size_before_bytes: _Optional[int] = ..., shallow_size_after_bytes: _Optional[int] = ..., new_count: _Optional[int] = ..., gone_count: _Optional[int] = ..., new_size_bytes: _Optional[int] = ..., gone_size_bytes: _Optional[int] = ...) -> None: ...

class GetReportRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class CompareSnapshotsRequest(_message.Message):
    __slots__ = ("snapshot_ids",)
    SNAPSHOT_IDS_FIELD_NUMBER: _ClassVar[int]
    snapshot_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, snapshot_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ListReportsRequest(_message.Message):
    __slots__ = ("session_id", "page_size", "page_token")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    page_size: int
    page_token: str
    def __init__(self, session_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListReportsResponse(_message.Message):
    __slots__ = ("reports", "next_page_token")
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    reports: _containers.RepeatedCompositeFieldContainer[Report]
    next_page_token: str
    def __init__(self, reports: _Optional[_Iterable[_Union[Report, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...
