"""A pod out of its service for a session, as values; the store and the cluster know them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from memwatch_controller.model import IsolationMode, Millis


class IsolationState(StrEnum):
    """Where a pod is; every state but `IN` and `RETIRED` has something to be undone."""

    IN = "in"  # nothing of ours is on it
    LEAVING = "leaving"
    OUT = "out"
    RETURNING = "returning"
    ORPHANED = "orphaned"  # detached and captured; it lives until its time is over
    RETIRED = "retired"  # it is deleted, or ended by itself


#: In these nothing is left to be undone.
CLEAN = frozenset({IsolationState.IN, IsolationState.RETIRED})


@dataclass(frozen=True)
class Wish:
    """What a session asks for, for one of its targets.

    Attributes:
        id: name of the record.
        session_id, namespace, pod: whose.
        mode: how.
        drain_millis: how long is waited after no EndpointSlice has the pod any more.
        ready_millis: longest wait for a replacement.
        orphan_millis: how long a detached pod lives after its last snapshot.
    """

    id: str
    session_id: str
    namespace: str
    pod: str
    mode: IsolationMode
    drain_millis: int = 15_000
    ready_millis: int = 300_000
    orphan_millis: int = 300_000


@dataclass(frozen=True)
class Plan:
    """What is to be changed.

    Attributes:
        mode: `READINESS` or `DETACH`.
        namespace, pod, uid: which pod.
        off_workload: labels whose absence makes the ReplicaSet start a replacement.
        off_services: labels whose absence takes the pod out of every service.
        owner, owner_uid, replicas: the ReplicaSet that has to replace it; empty and 0 otherwise.
        services: names of the services that select it.
    """

    mode: IsolationMode
    namespace: str
    pod: str
    uid: str
    off_workload: Mapping[str, str] = field(default_factory=dict)
    off_services: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""
    owner_uid: str = ""
    replicas: int = 0
    services: tuple[str, ...] = ()


@dataclass(frozen=True)
class Isolation:
    """The record of one pod, the undo ledger: what was before, and what was done.

    Attributes:
        wish, plan: what is asked for, and what is changed for it.
        state: see `cluster.isolation_states`.
        owner, lease_until: which controller works on it, and until when others leave it alone.
        retire_at: when an orphan is deleted; 0: never.
        steps: what was begun, oldest first: (milliseconds since the epoch, sentence).
    """

    wish: Wish
    plan: Plan
    state: IsolationState = IsolationState.IN
    owner: str = ""
    lease_until: Millis = 0
    retire_at: Millis = 0
    steps: tuple[tuple[Millis, str], ...] = ()

    @property
    def id(self) -> str:
        """Its name."""
        return self.wish.id
