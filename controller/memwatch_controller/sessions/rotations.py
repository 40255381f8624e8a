"""Keeps a session's pods out of their service while they are captured, where it asks for that."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import structlog

from memwatch_controller.errors import ControllerError, InvalidArgumentError
from memwatch_controller.isolation import Isolation, Plan, Wish
from memwatch_controller.model import IsolationMode, Session, SessionPlan, SessionTarget, Target

#: A controller that stops puts its pods back in this time; what it does not manage is undone later.
_STOP_SECONDS = 5.0

_log = structlog.get_logger()


class Pods(Protocol):
    """Takes pods out and puts them back (`cluster.isolations`)."""

    async def preview(self, wish: Wish) -> Plan:
        """What would be changed; changes nothing."""

    async def leave(self, wish: Wish) -> None:
        """Takes a pod out of its service; goes on where an earlier try was cut off."""

    async def back(self, id: str, *, last: bool) -> None:
        """Puts a pod back; a detached one stays out after the last snapshot."""


class Records(Protocol):
    """What was done (`store.isolations`)."""

    async def list_of_session(self, session_id: str) -> Sequence[Isolation]:
        """The records of a session."""


class NoClusterHereError(ControllerError):
    """Pods can be isolated by a controller that knows their cluster."""

    reason = "NO_CLUSTER"

    def __str__(self) -> str:
        return (
            "cannot isolate pods: this controller knows no Kubernetes cluster; run it in the "
            "cluster (deploy/helm), or start it with --cluster and a kubeconfig"
        )


class Rotations:
    """Pods in and out of their service; `pods` is None where there is no cluster."""

    def __init__(self, pods: Pods | None, records: Records) -> None:
        self._pods = pods
        self._records = records

    @contextlib.asynccontextmanager
    async def out(
        self, session: Session, part: SessionTarget, *, last: bool
    ) -> AsyncIterator[None]:
        """The target's pod is out of its service while the block runs, where the plan says so.

        Raises:
            IsolationRefusedError: it must not leave; nothing was changed.
            ControllerError: it did not leave; what was changed is undone.
        """
        if session.plan.isolation.mode is IsolationMode.NONE:
            yield
            return
        wish, pods = wish_of(session.id, session.plan, part.target), self._there()
        await pods.leave(wish)
        try:
            yield
        except BaseException:
            await self._back(pods, wish.id, last=False)
            raise
        await self._back(pods, wish.id, last=last)

    async def check(self, plan: SessionPlan, targets: Sequence[Target]) -> None:
        """Sees before a session begins that its pods may leave.

        Raises:
            IsolationRefusedError: one must not.
        """
        await self.preview(plan, targets)

    async def preview(self, plan: SessionPlan, targets: Sequence[Target]) -> Sequence[Plan]:
        """What a session would change for its targets; changes nothing.

        Raises:
            IsolationRefusedError: one of their pods must not leave.
        """
        if plan.isolation.mode is IsolationMode.NONE:
            return []
        pods = self._there()
        wishes = {(t.namespace, t.pod): wish_of("preview", plan, t) for t in targets}
        return [await pods.preview(wish) for wish in wishes.values()]

    async def of_session(self, session: Session) -> Sequence[Isolation]:
        """What was done for a session's pods."""
        if session.plan.isolation.mode is IsolationMode.NONE:
            return []
        return await self._records.list_of_session(session.id)

    def _there(self) -> Pods:
        if self._pods is None:
            raise NoClusterHereError
        return self._pods

    @staticmethod
    async def _back(pods: Pods, id: str, *, last: bool) -> None:
        """Puts a pod back, also while this work is being cancelled; a failure is undone later."""
        back = asyncio.ensure_future(pods.back(id, last=last))
        try:
            await asyncio.shield(back)
        except asyncio.CancelledError:
            await asyncio.wait([back], timeout=_STOP_SECONDS)
            raise
        except ControllerError as error:
            _log.warning("pod is not back yet; it is tried again", id=id, cause=str(error))


def wish_of(session_id: str, plan: SessionPlan, target: Target) -> Wish:
    """What a plan asks for, for one of its targets.

    Raises:
        InvalidArgumentError: the target is in no pod.
    """
    if not target.pod or not target.namespace:
        cause = f"target '{target.id}' is in no pod; leave --isolate out"
        raise InvalidArgumentError("isolate", cause)
    wish = plan.isolation
    return Wish(
        f"{session_id}.{target.id}",
        session_id,
        target.namespace,
        target.pod,
        wish.mode,
        wish.drain_millis,
        wish.ready_millis,
        wish.orphan_millis,
    )
