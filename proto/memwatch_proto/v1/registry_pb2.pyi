from memwatch_proto.v1 import agents_pb2 as _agents_pb2
from memwatch_proto.v1 import findings_pb2 as _findings_pb2
from memwatch_proto.v1 import snapshots_pb2 as _snapshots_pb2
from memwatch_proto.v1 import targets_pb2 as _targets_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ConnectRequest(_message.Message):
    __slots__ = ("register", "heartbeat")
    REGISTER_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    register: Register
    heartbeat: Heartbeat
    def __init__(self, register: _Optional[_Union[Register, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ...) -> None: ...

class Register(_message.Message):
    __slots__ = ("agent", "targets")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    agent: _agents_pb2.Agent
    targets: _containers.RepeatedCompositeFieldContainer[_targets_pb2.Target]
    def __init__(self, agent: _Optional[_Union[_agents_pb2.Agent, _Mapping]] = ..., targets: _Optional[_Iterable[_Union[_targets_pb2.Target, _Mapping]]] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("targets", "recorded", "findings")
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    targets: _containers.RepeatedCompositeFieldContainer[_targets_pb2.Target]
    recorded: _containers.RepeatedCompositeFieldContainer[_snapshots_pb2.Snapshot]
    findings: _containers.RepeatedCompositeFieldContainer[_findings_pb2.Finding]
    def __init__(self, targets: _Optional[_Iterable[_Union[_targets_pb2.Target, _Mapping]]] = ..., recorded: _Optional[_Iterable[_Union[_snapshots_pb2.Snapshot, _Mapping]]] = ..., findings: _Optional[_Iterable[_Union[_findings_pb2.Finding, _Mapping]]] = ...) -> None: ...

class ConnectResponse(_message.Message):
    __slots__ = ("registered", "ack")
    REGISTERED_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    registered: Registered
    ack: HeartbeatAck
    def __init__(self, registered: _Optional[_Union[Registered, _Mapping]] = ..., ack: _Optional[_Union[HeartbeatAck, _Mapping]] = ...) -> None: ...

class Registered(_message.Message):
    __slots__ = ("heartbeat_interval_millis", "controller_version")
    HEARTBEAT_INTERVAL_MILLIS_FIELD_NUMBER: _ClassVar[int]
    CONTROLLER_VERSION_FIELD_NUMBER: _ClassVar[int]
    heartbeat_interval_millis: int
    controller_version: str
    def __init__(self, heartbeat_interval_millis: _Optional[int] = ..., controller_version: _Optional[str] = ...) -> None: ...

class HeartbeatAck(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
