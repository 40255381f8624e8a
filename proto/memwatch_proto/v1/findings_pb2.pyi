import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from memwatch_proto.v1 import targets_pb2 as _targets_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FindingType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FINDING_TYPE_UNSPECIFIED: _ClassVar[FindingType]
    FINDING_TYPE_MEMORY_LEAK: _ClassVar[FindingType]
    FINDING_TYPE_MEMORY_GROWTH: _ClassVar[FindingType]
    FINDING_TYPE_HIGH_MEMORY: _ClassVar[FindingType]
    FINDING_TYPE_TYPE_GROWTH: _ClassVar[FindingType]

class FindingSeverity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FINDING_SEVERITY_UNSPECIFIED: _ClassVar[FindingSeverity]
    FINDING_SEVERITY_LOW: _ClassVar[FindingSeverity]
    FINDING_SEVERITY_MEDIUM: _ClassVar[FindingSeverity]
    FINDING_SEVERITY_HIGH: _ClassVar[FindingSeverity]
    FINDING_SEVERITY_CRITICAL: _ClassVar[FindingSeverity]
FINDING_TYPE_UNSPECIFIED: FindingType
FINDING_TYPE_MEMORY_LEAK: FindingType
FINDING_TYPE_MEMORY_GROWTH: FindingType
FINDING_TYPE_HIGH_MEMORY: FindingType
FINDING_TYPE_TYPE_GROWTH: FindingType
FINDING_SEVERITY_UNSPECIFIED: FindingSeverity
FINDING_SEVERITY_LOW: FindingSeverity
FINDING_SEVERITY_MEDIUM: FindingSeverity
FINDING_SEVERITY_HIGH: FindingSeverity
FINDING_SEVERITY_CRITICAL: FindingSeverity

class Finding(_message.Message):
    __slots__ = ("id", "target_id", "type", "severity", "subject", "since_time", "first_seen_time", "last_seen_time", "end_time", "evidence", "summary", "recommendations", "service", "namespace", "pod", "acknowledged_by", "acknowledged_time", "replicas_agreeing", "replicas")
    class EvidenceEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    SINCE_TIME_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEEN_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDATIONS_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    POD_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_BY_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_TIME_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_AGREEING_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    id: str
    target_id: str
    type: FindingType
    severity: FindingSeverity
    subject: str
    since_time: _timestamp_pb2.Timestamp
    first_seen_time: _timestamp_pb2.Timestamp
    last_seen_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    evidence: _containers.ScalarMap[str, float]
    summary: str
    recommendations: _containers.RepeatedCompositeFieldContainer[Recommendation]
    service: str
    namespace: str
    pod: str
    acknowledged_by: str
    acknowledged_time: _timestamp_pb2.Timestamp
    replicas_agreeing: int
    replicas: int
    def __init__(self, id: _Optional[str] = ..., target_id: _Optional[str] = ..., type: _Optional[_Union[FindingType, str]] = ..., severity: _Optional[_Union[FindingSeverity, str]] = ..., subject: _Optional[str] = ..., since_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., first_seen_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_seen_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., evidence: _Optional[_Mapping[str, float]] = ..., summary: _Optional[str] = ..., recommendations: _Optional[_Iterable[_Union[Recommendation, _Mapping]]] = ..., service: _Optional[str] = ..., namespace: _Optional[str] = ..., pod: _Optional[str] = ..., acknowledged_by: _Optional[str] = ..., acknowledged_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., replicas_agreeing: _Optional[int] = ..., replicas: _Optional[int] = ...) -> None: ...

class Recommendation(_message.Message):
    __slots__ = ("text", "command")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    text: str
    command: str
    def __init__(self, text: _Optional[str] = ..., command: _Optional[str] = ...) -> None: ...

class GetFindingRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ListFindingsRequest(_message.Message):
    __slots__ = ("target", "type", "min_severity", "include_over", "unacknowledged_only", "page_size", "page_token")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    MIN_SEVERITY_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_OVER_FIELD_NUMBER: _ClassVar[int]
    UNACKNOWLEDGED_ONLY_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    target: _targets_pb2.TargetSelector
    type: FindingType
    min_severity: FindingSeverity
    include_over: bool
    unacknowledged_only: bool
    page_size: int
    page_token: str
    def __init__(self, target: _Optional[_Union[_targets_pb2.TargetSelector, _Mapping]] = ..., type: _Optional[_Union[FindingType, str]] = ..., min_severity: _Optional[_Union[FindingSeverity, str]] = ..., include_over: _Optional[bool] = ..., unacknowledged_only: _Optional[bool] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListFindingsResponse(_message.Message):
    __slots__ = ("findings", "next_page_token")
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    next_page_token: str
    def __init__(self, findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WatchFindingsRequest(_message.Message):
    __slots__ = ("target", "min_severity")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    MIN_SEVERITY_FIELD_NUMBER: _ClassVar[int]
    target: _targets_pb2.TargetSelector
    min_severity: FindingSeverity
    def __init__(self, target: _Optional[_Union[_targets_pb2.TargetSelector, _Mapping]] = ..., min_severity: _Optional[_Union[FindingSeverity, str]] = ...) -> None: ...

class WatchFindingsResponse(_message.Message):
    __slots__ = ("finding",)
    FINDING_FIELD_NUMBER: _ClassVar[int]
    finding: Finding
    def __init__(self, finding: _Optional[_Union[Finding, _Mapping]] = ...) -> None: ...

class AcknowledgeFindingRequest(_message.Message):
    __slots__ = ("id", "by")
    ID_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    id: str
    by: str
    def __init__(self, id: _Optional[str] = ..., by: _Optional[str] = ...) -> None: ...
