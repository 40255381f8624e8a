"""Isolated pods as messages and back. Pure."""

from memwatch_controller.api.convert_snapshots import time_to_pb
from memwatch_controller.cluster.isolation_plan import steps
from memwatch_controller.isolation import Isolation, Plan
from memwatch_controller.model import IsolationMode, IsolationWish
from memwatch_proto.v1 import sessions_pb2

_MODES = {
    IsolationMode.NONE: sessions_pb2.ISOLATION_MODE_UNSPECIFIED,
    IsolationMode.READINESS: sessions_pb2.ISOLATION_MODE_READINESS,
    IsolationMode.DETACH: sessions_pb2.ISOLATION_MODE_DETACH,
    IsolationMode.AUTO: sessions_pb2.ISOLATION_MODE_AUTO,
}
_OF_MODES = {value: mode for mode, value in _MODES.items()}


def wish_from_pb(message: sessions_pb2.Isolation) -> IsolationWish:
    """A wish of a message; 0 stands for a default."""
    default = IsolationWish()
    return IsolationWish(
        _OF_MODES.get(message.mode, IsolationMode.NONE),
        message.drain_millis or default.drain_millis,
        message.ready_millis or default.ready_millis,
        message.orphan_millis or default.orphan_millis,
    )


def wish_to_pb(wish: IsolationWish) -> sessions_pb2.Isolation | None:
    """A wish as a message; None where nothing is wished."""
    if wish.mode is IsolationMode.NONE:
        return None
    return sessions_pb2.Isolation(
        mode=_MODES[wish.mode],
        drain_millis=wish.drain_millis,
        ready_millis=wish.ready_millis,
        orphan_millis=wish.orphan_millis,
    )


def isolation_to_pb(found: Isolation) -> sessions_pb2.IsolationStatus:
    """A record as a message."""
    told = [
        sessions_pb2.IsolationStep(time=time_to_pb(millis), message=said)
        for millis, said in found.steps
    ]
    return sessions_pb2.IsolationStatus(state=found.state.value, steps=told)


def preview_to_pb(made: Plan, drain_seconds: float) -> sessions_pb2.IsolationPreview:
    """What would be changed, as a message."""
    return sessions_pb2.IsolationPreview(
        namespace=made.namespace,
        pod=made.pod,
        mode=_MODES[made.mode],
        steps=steps(made, drain_seconds),
    )
