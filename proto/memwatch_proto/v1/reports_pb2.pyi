import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class VerdictState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_STATE_UNSPECIFIED: _ClassVar[VerdictState]
    VERDICT_STATE_NOT_LEAKING: _ClassVar[VerdictState]
    VERDICT_STATE_GROWING: _ClassVar[VerdictState]
    VERDICT_STATE_LEAKING: _ClassVar[VerdictState]
VERDICT_STATE_UNSPECIFIED: VerdictState
VERDICT_STATE_NOT_LEAKING: VerdictState
VERDICT_STATE_GROWING: VerdictState
VERDICT_STATE_LEAKING: VerdictState

class Report(_message.Message):
    __slots__ = ("id", "session_id", "target_id", "create_time", "snapshot_ids", "before", "after", "classes", "class_count", "summary", "json", "verdict", "notes")
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
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
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
    verdict: Verdict
    notes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[str] = ..., session_id: _Optional[str] = ..., target_id: _Optional[str] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., snapshot_ids: _Optional[_Iterable[str]] = ..., before: _Optional[_Union[HeapTotals, _Mapping]] = ..., after: _Optional[_Union[HeapTotals, _Mapping]] = ..., classes: _Optional[_Iterable[_Union[ClassGrowth, _Mapping]]] = ..., class_count: _Optional[int] = ..., summary: _Optional[str] = ..., json: _Optional[str] = ..., verdict: _Optional[_Union[Verdict, _Mapping]] = ..., notes: _Optional[_Iterable[str]] = ...) -> None: ...

class Verdict(_message.Message):
    __slots__ = ("state", "confidence", "summary", "new_size_bytes", "explained_share", "grown_size_bytes", "interval_seconds", "suspects", "left_out_count", "cleared", "told_by_place")
    STATE_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    NEW_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    EXPLAINED_SHARE_FIELD_NUMBER: _ClassVar[int]
    GROWN_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SUSPECTS_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_COUNT_FIELD_NUMBER: _ClassVar[int]
    CLEARED_FIELD_NUMBER: _ClassVar[int]
    TOLD_BY_PLACE_FIELD_NUMBER: _ClassVar[int]
    state: VerdictState
    confidence: float
    summary: str
    new_size_bytes: int
    explained_share: float
    grown_size_bytes: int
    interval_seconds: float
    suspects: _containers.RepeatedCompositeFieldContainer[Suspect]
    left_out_count: int
    cleared: _containers.RepeatedCompositeFieldContainer[ClearedContainer]
    told_by_place: bool
    def __init__(self, state: _Optional[_Union[VerdictState, str]] = ..., confidence: _Optional[float] = ..., summary: _Optional[str] = ..., new_size_bytes: _Optional[int] = ..., explained_share: _Optional[float] = ..., grown_size_bytes: _Optional[int] = ..., interval_seconds: _Optional[float] = ..., suspects: _Optional[_Iterable[_Union[Suspect, _Mapping]]] = ..., left_out_count: _Optional[int] = ..., cleared: _Optional[_Iterable[_Union[ClearedContainer, _Mapping]]] = ..., told_by_place: _Optional[bool] = ...) -> None: ...

class Suspect(_message.Message):
    __slots__ = ("state", "confidence", "reasons", "root", "name", "kind", "part", "path", "container_class", "container_object_id", "container_count", "object_class", "counts", "new_count", "new_size_bytes", "new_per_second", "share", "location", "sample_object_ids", "allocation_sites", "allocation_known_count")
    STATE_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    CONTAINER_CLASS_FIELD_NUMBER: _ClassVar[int]
    CONTAINER_OBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    CONTAINER_COUNT_FIELD_NUMBER: _ClassVar[int]
    OBJECT_CLASS_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    NEW_COUNT_FIELD_NUMBER: _ClassVar[int]
    NEW_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    NEW_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_OBJECT_IDS_FIELD_NUMBER: _ClassVar[int]
    ALLOCATION_SITES_FIELD_NUMBER: _ClassVar[int]
    ALLOCATION_KNOWN_COUNT_FIELD_NUMBER: _ClassVar[int]
    state: VerdictState
    confidence: float
    reasons: _containers.RepeatedScalarFieldContainer[str]
    root: str
    name: str
    kind: str
    part: str
    path: str
    container_class: str
    container_object_id: int
    container_count: int
    object_class: str
    counts: _containers.RepeatedScalarFieldContainer[int]
    new_count: int
    new_size_bytes: int
    new_per_second: float
    share: float
    location: SourceLocation
    sample_object_ids: _containers.RepeatedScalarFieldContainer[int]
    allocation_sites: _containers.RepeatedCompositeFieldContainer[AllocationSite]
    allocation_known_count: int
    def __init__(self, state: _Optional[_Union[VerdictState, str]] = ..., confidence: _Optional[float] = ..., reasons: _Optional[_Iterable[str]] = ..., root: _Optional[str] = ..., name: _Optional[str] = ..., kind: _Optional[str] = ..., part: _Optional[str] = ..., path: _Optional[str] = ..., container_class: _Optional[str] = ..., container_object_id: _Optional[int] = ..., container_count: _Optional[int] = ..., object_class: _Optional[str] = ..., counts: _Optional[_Iterable[int]] = ..., new_count: _Optional[int] = ..., new_size_bytes: _Optional[int] = ..., new_per_second: _Optional[float] = ..., share: _Optional[float] = ..., location: _Optional[_Union[SourceLocation, _Mapping]] = ..., sample_object_ids: _Optional[_Iterable[int]] = ..., allocation_sites: _Optional[_Iterable[_Union[AllocationSite, _Mapping]]] = ..., allocation_known_count: _Optional[int] = ...) -> None: ...

class AllocationSite(_message.Message):
    __slots__ = ("location", "count", "callers")
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    CALLERS_FIELD_NUMBER: _ClassVar[int]
    location: SourceLocation
    count: int
    callers: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, location: _Optional[_Union[SourceLocation, _Mapping]] = ..., count: _Optional[int] = ..., callers: _Optional[_Iterable[str]] = ...) -> None: ...

class SourceLocation(_message.Message):
    __slots__ = ("script", "line", "column", "what", "original")
    SCRIPT_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    WHAT_FIELD_NUMBER: _ClassVar[int]
    ORIGINAL_FIELD_NUMBER: _ClassVar[int]
    script: str
    line: int
    column: int
    what: str
    original: SourceLocation
    def __init__(self, script: _Optional[str] = ..., line: _Optional[int] = ..., column: _Optional[int] = ..., what: _Optional[str] = ..., original: _Optional[_Union[SourceLocation, _Mapping]] = ...) -> None: ...

class ClearedContainer(_message.Message):
    __slots__ = ("path", "state", "counts", "reason")
    PATH_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    path: str
    state: str
    counts: _containers.RepeatedScalarFieldContainer[int]
    reason: str
    def __init__(self, path: _Optional[str] = ..., state: _Optional[str] = ..., counts: _Optional[_Iterable[int]] = ..., reason: _Optional[str] = ...) -> None: ...

class HeapTotals(_message.Message):
    __slots__ = ("object_count", "shallow_size_bytes", "rss_bytes", "unexplained_bytes")
    OBJECT_COUNT_FIELD_NUMBER: _ClassVar[int]
    SHALLOW_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    RSS_BYTES_FIELD_NUMBER: _ClassVar[int]
    UNEXPLAINED_BYTES_FIELD_NUMBER: _ClassVar[int]
    object_count: int
    shallow_size_bytes: int
    rss_bytes: int
    unexplained_bytes: int
    def __init__(self, object_count: _Optional[int] = ..., shallow_size_bytes: _Optional[int] = ..., rss_bytes: _Optional[int] = ..., unexplained_bytes: _Optional[int] = ...) -> None: ...

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
