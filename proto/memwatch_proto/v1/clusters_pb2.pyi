from memwatch_proto.v1 import agents_pb2 as _agents_pb2
from memwatch_proto.v1 import targets_pb2 as _targets_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AttachAgentRequest(_message.Message):
    __slots__ = ("namespace", "pod", "container", "user", "keep_millis", "wait_millis", "dry_run")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    POD_FIELD_NUMBER: _ClassVar[int]
    CONTAINER_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    KEEP_MILLIS_FIELD_NUMBER: _ClassVar[int]
    WAIT_MILLIS_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    pod: str
    container: str
    user: int
    keep_millis: int
    wait_millis: int
    dry_run: bool
    def __init__(self, namespace: _Optional[str] = ..., pod: _Optional[str] = ..., container: _Optional[str] = ..., user: _Optional[int] = ..., keep_millis: _Optional[int] = ..., wait_millis: _Optional[int] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class AttachAgentResponse(_message.Message):
    __slots__ = ("patch", "container", "agent", "targets", "notes")
    PATCH_FIELD_NUMBER: _ClassVar[int]
    CONTAINER_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    patch: str
    container: str
    agent: _agents_pb2.Agent
    targets: _containers.RepeatedCompositeFieldContainer[_targets_pb2.Target]
    notes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, patch: _Optional[str] = ..., container: _Optional[str] = ..., agent: _Optional[_Union[_agents_pb2.Agent, _Mapping]] = ..., targets: _Optional[_Iterable[_Union[_targets_pb2.Target, _Mapping]]] = ..., notes: _Optional[_Iterable[str]] = ...) -> None: ...

class DetachAgentRequest(_message.Message):
    __slots__ = ("agent_id",)
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    def __init__(self, agent_id: _Optional[str] = ...) -> None: ...

class DetachAgentResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
