"""Takes pods out of their service and puts them back; every change is written down first.

The record (`Isolation`) is the undo ledger: it says how the pod was before anything was done.
Each step can be done again, looks at what is there first, and is found half-done after a crash
by `reconcile`, which runs at the start and on a timer. A lease keeps two controllers apart.
"""

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import structlog

from memwatch_controller.cluster import isolation_gate as gate
from memwatch_controller.cluster import isolation_plan as planning
from memwatch_controller.cluster import resources
from memwatch_controller.cluster.client import Client, PatchKind
from memwatch_controller.cluster.errors import ClusterConflictError, ClusterNotFoundError
from memwatch_controller.cluster.isolation_plan import Facts
from memwatch_controller.cluster.isolation_states import IsolationEvent, next_state
from memwatch_controller.cluster.resources import Resource
from memwatch_controller.errors import ControllerError
from memwatch_controller.isolation import CLEAN, Isolation, IsolationState, Plan, Wish
from memwatch_controller.model import IsolationMode
from memwatch_controller.rounds import rounds

Object = dict[str, Any]

#: A lease lasts so long after its holder last said that it lives.
LEASE_MILLIS = 60_000

#: How often leases are renewed, and what was left is looked for.
TICK_SECONDS = 10.0

#: A gate's False holds so long unless it is renewed: the longest that a dead controller keeps a
#: pod out while anybody (the webhook is enough) looks after the gates.
OUT_MILLIS = 300_000

#: Between two looks at what the cluster makes of a change.
POLL_SECONDS = 0.5

#: A pod that left the rotation is missing in the EndpointSlices within moments.
LEAVE_SECONDS = 60.0

#: Newest steps kept in a record.
MAX_STEPS = 200

#: Another program may change a pod just before us; more often in a row is a fight.
_MAX_CONFLICTS = 8

#: The highest cost of deletion: a ReplicaSet ends every other pod first.
_COST = ("controller.kubernetes.io/pod-deletion-cost", "2147483647")

#: What an orphan is found by.
_ORPHAN = "memwatch.dev/isolated-by"

#: Records of isolations that are over are kept so long.
KEEP_MILLIS = 30 * 24 * 3600_000

_log = structlog.get_logger()


class IsolationFailedError(ControllerError):
    """The cluster did not do what a change was made for; the change was undone.

    Attributes:
        pod, namespace: which.
        cause: what was waited for, and what was there.
    """

    reason = "ISOLATION_REFUSED"

    def __init__(self, namespace: str, pod: str, cause: str) -> None:
        super().__init__(namespace, pod, cause)
        self.namespace = namespace
        self.pod = pod
        self.cause = cause

    def __str__(self) -> str:
        return f"cannot isolate pod '{self.pod}' in namespace '{self.namespace}': {self.cause}"


class Ledger(Protocol):
    """Keeps records; each call is one transaction that is on the disk when it returns."""

    async def insert(self, isolation: Isolation) -> Isolation:
        """Writes a new one; where its id is known, returns that one instead."""

    async def get(self, id: str) -> Isolation | None:
        """One record."""

    async def list_open(self) -> Sequence[Isolation]:
        """Those with something left to be undone."""

    async def change(
        self, id: str, change: Callable[[Isolation], Isolation | None]
    ) -> Isolation | None:
        """Applies a change in one transaction; the record after it, None where it is gone."""

    async def forget(self, before: int) -> None:
        """Drops records that were over before a time."""


class Isolations:
    """Every pod that is out of its service for a session."""

    def __init__(
        self,
        client: Client,
        ledger: Ledger,
        owner: str,
        now: Callable[[], int],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._holder = owner
        self._now = now
        self._sleep = sleep
        self._active: set[str] = set()
        #: By record: who changes it now. A session that goes on after a restart waits for
        #: `reconcile`, which may be putting the same pod back.
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    async def preview(self, wish: Wish) -> Plan:
        """What would be changed; changes nothing.

        Raises:
            IsolationRefusedError: nothing may be.
            ClusterError: the API server cannot be asked.
        """
        return planning.plan(await self._facts(wish.namespace, wish.pod), wish.mode)

    async def leave(self, wish: Wish) -> None:
        """Takes a pod out of its service; goes on where an earlier try was cut off.

        Raises:
            IsolationRefusedError: it must not leave; nothing is changed.
            IsolationFailedError: the cluster gave no replacement, and all is undone.
            ClusterError: the API server cannot be asked.
        """
        self._active.add(wish.id)
        async with self._lock(wish.id):
            record = await self._record(wish)
            if record.state in (IsolationState.OUT, IsolationState.ORPHANED):
                await self._lease(record.id)
                return
            if record.state is IsolationState.RETURNING:
                await self._return(record)
            record = await self._step(wish.id, IsolationEvent.LEAVE, "leave the rotation")
            try:
                await self._leave(record)
            except ControllerError:
                self._active.discard(wish.id)
                await self._return(record)
                raise

    async def back(self, id: str, *, last: bool) -> None:
        """Puts a pod back; a detached one stays out after the last snapshot, and is deleted later.

        Raises:
            ClusterError: the API server cannot be asked; `reconcile` tries again.
        """
        try:
            async with self._lock(id):
                record = await self._ledger.get(id)
                if record is None or record.state in CLEAN | {IsolationState.ORPHANED}:
                    return
                if last and record.plan.mode is IsolationMode.DETACH:
                    await self._orphan(record)
                else:
                    await self._return(record)
        finally:
            self._active.discard(id)

    async def run(self) -> None:
        """Looks again and again; never returns."""
        await rounds("look after isolated pods", self.reconcile, TICK_SECONDS, self._sleep)

    async def reconcile(self) -> None:
        """Renews what is at work, ends orphans whose time is over, undoes what was left.

        What is over is remembered for a month: the session has its steps as well.
        """
        for record in await self._ledger.list_open():
            try:
                await self._look_after(record)
            except ControllerError as error:
                _log.warning("pod cannot be looked after", pod=record.plan.pod, cause=str(error))
        await self._ledger.forget(self._now() - KEEP_MILLIS)

    async def _look_after(self, record: Isolation) -> None:
        now = self._now()
        if record.state is IsolationState.ORPHANED:
            if now >= record.retire_at:
                await self._retire(record)
        elif record.id in self._active:
            await self._lease(record.id)
            if record.plan.mode is IsolationMode.READINESS and record.state is IsolationState.OUT:
                await self._say_out(record)
        elif record.lease_until <= now:
            async with self._lock(record.id):
                found = await self._ledger.get(record.id)
                if found is not None and found.lease_until <= now and await self._taken(found.id):
                    _log.warning("putting back a pod that was left out", pod=found.plan.pod)
                    await self._return(found)

    def _lock(self, id: str) -> asyncio.Lock:
        return self._locks.setdefault(id, asyncio.Lock())

    async def _record(self, wish: Wish) -> Isolation:
        """The record of a wish, its plan made where the pod is in its service."""
        record = await self._ledger.get(wish.id)
        if record is None:
            return await self._ledger.insert(Isolation(wish, await self.preview(wish)))
        if record.state is IsolationState.IN:
            await self._decide_again(record)
        return record

    async def _decide_again(self, record: Isolation) -> None:
        """For a later snapshot: what was right at the first one may not be now."""
        made = await self.preview(replace(record.wish, mode=record.plan.mode))
        await self._ledger.change(record.id, lambda found: replace(found, plan=made))

    async def _leave(self, record: Isolation) -> None:
        made = record.plan
        if made.mode is IsolationMode.READINESS:
            await self._note(record.id, f"set {gate.CONDITION} False")
            await self._say_out(record)
        else:
            await self._take_off(record, made.off_workload)
            await self._wait_replaced(record)
            if made.off_services:
                await self._take_off(record, made.off_services)
        await self._wait_out(record)
        await self._sleep(record.wish.drain_millis / 1000)
        await self._step(record.id, IsolationEvent.LEFT, "out of the rotation, and drained")

    async def _return(self, record: Isolation) -> None:
        """Puts everything back; a pod that is gone needs nothing."""
        await self._step(record.id, IsolationEvent.RETURN, "return to the rotation")
        try:
            if record.plan.mode is IsolationMode.READINESS:
                await self._patch_status(record, gate.in_rotation(self._now()))
            else:
                await self._reattach(record)
        except ClusterNotFoundError:
            await self._step(record.id, IsolationEvent.GONE, "the pod is gone")
            return
        await self._step(record.id, IsolationEvent.RETURNED, "back in the rotation")

    async def _reattach(self, record: Isolation) -> None:
        """The services first, so that nothing is missed when the ReplicaSet ends the newcomer."""
        made = record.plan
        cost = {"annotations": {_COST[0]: _COST[1], _ORPHAN: None}}
        await self._note(record.id, f"set labels {_shown(made.off_services)}")
        await self._patch_metadata(record, {"labels": dict(made.off_services), **cost})
        await self._note(record.id, f"set labels {_shown(made.off_workload)}")
        await self._patch_metadata(record, {"labels": dict(made.off_workload)})
        await self._wait_adopted(record)
        await self._patch_metadata(record, {"annotations": {_COST[0]: None}})

    async def _orphan(self, record: Isolation) -> None:
        at = self._now() + record.wish.orphan_millis

        def change(found: Isolation) -> Isolation:
            state = next_state(found.state, IsolationEvent.ORPHAN)
            told = self._with_step(found, "captured; it is deleted later")
            return replace(told, state=state, retire_at=at)

        await self._ledger.change(record.id, change)

    async def _retire(self, record: Isolation) -> None:
        """Deletes an orphan whose time is over."""
        if not await self._taken(record.id):
            return
        await self._note(record.id, "delete the pod")
        event = IsolationEvent.RETIRE
        try:
            await self._client.delete(
                resources.PODS, record.plan.pod, record.plan.namespace, uid=record.plan.uid
            )
        except (ClusterNotFoundError, ClusterConflictError):
            event = IsolationEvent.GONE
        await self._step(record.id, event, "deleted")

    async def _wait_replaced(self, record: Isolation) -> None:
        """Returns when the ReplicaSet has all its pods ready without this one.

        Raises:
            IsolationFailedError: it did not get there in time.
        """
        made = record.plan
        said = "no pod yet"
        for _ in range(_polls(record.wish.ready_millis / 1000)):
            ready, said = await self._ready_pods(record)
            if ready >= made.replicas:
                return
            await self._sleep(POLL_SECONDS)
        cause = (
            f"ReplicaSet '{made.owner}' has no replacement ready after "
            f"{record.wish.ready_millis / 1000:g} s: {said}; everything is as before"
        )
        raise IsolationFailedError(made.namespace, made.pod, cause)

    async def _ready_pods(self, record: Isolation) -> tuple[int, str]:
        """How many of the ReplicaSet's pods are ready, and what the others wait for."""
        made = record.plan
        listing = await self._client.list(resources.PODS, made.namespace)
        theirs = [
            pod
            for pod in listing.items
            if (planning.controller_of(pod) or {}).get("uid") == made.owner_uid
            and pod["metadata"]["uid"] != made.uid
            and not pod["metadata"].get("deletionTimestamp")
        ]
        waiting = [pod for pod in theirs if not planning.is_ready(pod)]
        said = "; ".join(f"pod '{_name(pod)}' {_waits_for(pod)}" for pod in waiting[:3])
        return len(theirs) - len(
            waiting
        ), said or f"{len(theirs)} of {made.replicas} pods are there"

    async def _wait_adopted(self, record: Isolation) -> None:
        """Waits until the ReplicaSet has taken the pod back and ended the one too many."""
        made = record.plan
        for _ in range(_polls(LEAVE_SECONDS)):
            pod = await self._pod(record)
            is_owned = (planning.controller_of(pod) or {}).get("uid") == made.owner_uid
            if is_owned and (await self._ready_pods(record))[0] < made.replicas:
                return
            await self._sleep(POLL_SECONDS)

    async def _wait_out(self, record: Isolation) -> None:
        """Returns when no EndpointSlice sends anybody to the pod any more.

        Raises:
            IsolationFailedError: one still does.
        """
        made = record.plan
        for _ in range(_polls(LEAVE_SECONDS)):
            slices = await self._client.list(resources.ENDPOINT_SLICES, made.namespace)
            if not any(_sends_to(found, made.uid) for found in slices.items):
                return
            await self._sleep(POLL_SECONDS)
        cause = f"an EndpointSlice still has it ready after {LEAVE_SECONDS:.0f} s"
        raise IsolationFailedError(made.namespace, made.pod, cause)

    async def _say_out(self, record: Isolation) -> None:
        now = self._now()
        until = now + OUT_MILLIS
        await self._patch_status(record, gate.out_of_rotation(record.wish.session_id, until, now))

    async def _take_off(self, record: Isolation, labels: Mapping[str, str]) -> None:
        await self._note(record.id, f"take off labels {_shown(labels)}")
        marked = {_ORPHAN: record.wish.session_id}
        await self._patch_metadata(record, {"labels": dict.fromkeys(labels), "annotations": marked})

    async def _patch_metadata(self, record: Isolation, change: Object) -> None:
        await self._patch(record, {"metadata": change}, PatchKind.MERGE, "")

    async def _patch_status(self, record: Isolation, change: Object) -> None:
        await self._patch(record, change, PatchKind.STRATEGIC, "status")

    async def _patch(self, record: Isolation, body: Object, kind: PatchKind, sub: str) -> None:
        """Changes the pod that is meant, and no later one of its name."""
        made = record.plan
        for left in range(_MAX_CONFLICTS - 1, -1, -1):
            version = (await self._pod(record))["metadata"]["resourceVersion"]
            metadata = {**body.get("metadata", {}), "resourceVersion": version}
            try:
                await self._client.patch(
                    resources.PODS,
                    made.pod,
                    {**body, "metadata": metadata},
                    made.namespace,
                    kind=kind,
                    subresource=sub,
                )
            except ClusterConflictError:
                if not left:
                    raise
                await self._sleep(POLL_SECONDS / 5)
            else:
                return

    async def _pod(self, record: Isolation) -> Object:
        """The pod that is meant.

        Raises:
            ClusterNotFoundError: it is gone, whoever has its name now.
        """
        made = record.plan
        pod = await self._client.get(resources.PODS, made.pod, made.namespace)
        if pod["metadata"]["uid"] != made.uid:
            raise ClusterNotFoundError(f"find pod '{made.pod}'", "another pod has its name now")
        return dict(pod)

    async def _facts(self, namespace: str, name: str) -> Facts:
        pod = await self._client.get(resources.PODS, name, namespace)
        owner = await self._owner(pod, namespace)
        services = await self._client.list(resources.SERVICES, namespace)
        budgets = await self._client.list(resources.DISRUPTION_BUDGETS, namespace)
        deployment = await self._owner(owner, namespace) if owner else None
        return Facts(pod, owner, deployment, services.items, budgets.items)

    async def _owner(self, found: Mapping[str, Any], namespace: str) -> Object | None:
        """What controls an object, where it is of a kind that we know."""
        reference = planning.controller_of(found)
        if reference is None:
            return None
        resource = _OWNERS.get(reference["kind"])
        if resource is None:
            return {
                "kind": reference["kind"],
                "metadata": {"name": reference["name"], "uid": reference["uid"]},
                "spec": {},
            }
        owner = dict(await self._client.get(resource, reference["name"], namespace))
        return {**owner, "kind": reference["kind"]}

    async def _taken(self, id: str) -> bool:
        """Whether this controller has the record's lease now."""
        record = await self._lease(id)
        return record is not None and record.owner == self._holder

    async def _lease(self, id: str) -> Isolation | None:
        now = self._now()

        def change(found: Isolation) -> Isolation | None:
            if found.owner not in ("", self._holder) and found.lease_until > now:
                return None
            return replace(found, owner=self._holder, lease_until=now + LEASE_MILLIS)

        return await self._ledger.change(id, change)

    async def _step(self, id: str, event: IsolationEvent, said: str) -> Isolation:
        """Writes an event down before what it stands for is done."""

        def change(found: Isolation) -> Isolation:
            lease = self._now() + LEASE_MILLIS
            moved = replace(found, state=next_state(found.state, event))
            return replace(self._with_step(moved, said), owner=self._holder, lease_until=lease)

        record = await self._ledger.change(id, change)
        assert record is not None, id
        _log.info("isolation", pod=record.plan.pod, namespace=record.plan.namespace, step=said)
        return record

    async def _note(self, id: str, said: str) -> None:
        await self._ledger.change(id, lambda found: self._with_step(found, said))

    def _with_step(self, record: Isolation, said: str) -> Isolation:
        return replace(record, steps=(*record.steps[1 - MAX_STEPS :], (self._now(), said)))


_OWNERS: dict[str, Resource] = {
    "ReplicaSet": resources.REPLICA_SETS,
    "StatefulSet": resources.STATEFUL_SETS,
    "DaemonSet": resources.DAEMON_SETS,
    "Deployment": resources.DEPLOYMENTS,
    "Job": resources.JOBS,
}


def _sends_to(found: Mapping[str, Any], uid: str) -> bool:
    """Whether an EndpointSlice has a pod among those that serve."""
    return any(
        (endpoint.get("targetRef") or {}).get("uid") == uid
        # An absent `ready` means that nobody knows, and callers take it for ready.
        and (endpoint.get("conditions") or {}).get("ready") is not False
        for endpoint in found.get("endpoints") or ()
    )


def _waits_for(pod: Mapping[str, Any]) -> str:
    """Why a pod is not ready, in the cluster's own words."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    for condition in conditions:
        if condition["status"] != "True" and condition.get("message"):
            return f"is not ready: {str(condition['message'])[:200]}"
    return "is not ready yet"


def _name(found: Mapping[str, Any]) -> str:
    return str(found["metadata"]["name"])


def _shown(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(labels.items())) or "none"


def _polls(seconds: float) -> int:
    return max(1, round(seconds / POLL_SECONDS))
