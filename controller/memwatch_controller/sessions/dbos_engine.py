"""The engine on DBOS: each piece of work is one workflow, waiting work a row with a delay.

Why it is arranged so: docs/decisions/0006-dbos.md. In short: DBOS is launched inside the
controller's event loop and adopts it, so that its async workflows run where grpc.aio's
objects live; every workflow has one preemptible step (the handler) and then enqueues what
comes next under an id of ours, so that a second run enqueues nothing new.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
import structlog
from dbos import (
    DBOS,
    DBOSConfig,
    DBOSPortableJSONSerializer,
    SetEnqueueOptions,
    SetWorkflowID,
    SetWorkflowTimeout,
    WorkflowStatus,
)
from dbos import Queue as DbosQueue

from memwatch_controller.errors import StartError
from memwatch_controller.model import Millis
from memwatch_controller.sessions.engine import (
    QUEUES,
    Handler,
    Queue,
    Scheduled,
    Share,
    Work,
    WorkKind,
    WorkState,
)
from memwatch_controller.store.presence import Presence

#: Pinned: DBOS recovers and dequeues only work of its own version, and the default (a hash
#: of the source) would strand every session at a deploy. Raised only when `_perform`
#: changes so that it cannot replay older work, and then with a plan for that.
_APPLICATION_VERSION = "memwatch-1"

#: How often work of programs that died is looked for.
_TAKE_OVER_SECONDS = 2.0

#: How often due work is looked for. DBOS moves delayed work into the queue every second.
_POLL_SECONDS = 0.5

#: No work takes this long: a capture and an analysis have limits of their own, and the rest
#: is waiting for a place in a fleet of a thousand. What is still there then is broken.
_WORK_TIMEOUT_SECONDS = 7 * 24 * 3600

#: A program that was just replaced needs a moment to end.
_NAME_SECONDS = 15.0

#: Workflows asked for, or deleted, in one statement.
_BATCH = 500

#: Threads for DBOS's statements; SQLite serves one writer, PostgreSQL a small pool.
_THREADS = 16

_STATES = {
    "DELAYED": WorkState.WAITING,
    "ENQUEUED": WorkState.WAITING,
    "PENDING": WorkState.RUNNING,
    "SUCCESS": WorkState.DONE,
}
_ENDED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]

_log = structlog.get_logger()


class DbosEngine:
    """Durable work on DBOS. DBOS is one per process, so this is too."""

    def __init__(
        self, database_url: str, executor_id: str, presence: Presence, share: Share
    ) -> None:
        """Prepares an engine.

        Args:
            database_url: `sqlite:///FILE` or `postgresql://…`; DBOS keeps its own tables
                there, in the schema "dbos".
            executor_id: name of this program; no other that lives may have it.
            presence: where programs have their names.
            share: which part of the work is ours.
        """
        self._url = database_url
        self._executor_id = executor_id
        self._presence = presence
        self._share = share
        self._running: set[asyncio.Task[Any]] = set()
        self._handler: Handler | None = None
        self._queues: dict[Queue, DbosQueue] = {}
        self._undertaker: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self, handler: Handler) -> None:
        """Takes up what was left and begins to perform what is due."""
        self._handler = handler
        self._stopping = False
        await self._take_name()
        _quiet_logs()
        _use_wal(self._url)
        DBOS(config=self._config())
        self._workflow = DBOS.workflow(name="perform", max_recovery_attempts=None)(self._perform())
        DBOS.listen_queues([queue.value for queue in self._share.queues])
        DBOS.launch()
        self._queues = {queue: await self._register(queue) for queue in Queue}
        await self._take_over()
        self._undertaker = asyncio.create_task(self._keep_taking_over())

    async def stop(self) -> None:
        """Lets go of everything; what runs is left for the next start."""
        self._stopping = True
        if self._undertaker is not None:
            self._undertaker.cancel()
            await asyncio.gather(self._undertaker, return_exceptions=True)
        for task in tuple(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as outside:
            await loop.run_in_executor(outside, _destroy)
        # DBOS made its own pool the loop's default, and closed it.
        loop.set_default_executor(ThreadPoolExecutor())

    async def schedule(self, scheduled: Collection[Scheduled]) -> None:
        """Writes work down. When this returns it will be done; known ids are left alone."""
        for one in scheduled:
            await self._enqueue(one)

    async def cancel(self, work: Collection[Work]) -> None:
        """Ends work within a moment, whether it waits or runs; unknown ids are no error."""
        for ids in _batches([one.id for one in work]):
            await DBOS.cancel_workflows_async(ids)

    async def states(self, work: Collection[Work]) -> Mapping[Work, WorkState]:
        """What is known of each piece of work."""
        found: dict[str, WorkState] = {}
        for ids in _batches([one.id for one in work]):
            for status in await _list(workflow_ids=ids):
                found[status.workflow_id] = _STATES.get(status.status, WorkState.STOPPED)
        return {one: found.get(one.id, WorkState.UNKNOWN) for one in work}

    async def forget_done(self, before: Millis) -> int:
        """Drops the records of work that ended before a time; how many."""
        until = datetime.fromtimestamp(before / 1000, UTC).isoformat()
        count = 0
        while found := await _list(status=_ENDED, completed_before=until, limit=_BATCH):
            await DBOS.delete_workflows_async([status.workflow_id for status in found])
            count += len(found)
        return count

    def _config(self) -> DBOSConfig:
        return {
            "name": "memwatch",
            "system_database_url": self._url,
            "application_version": _APPLICATION_VERSION,
            "executor_id": self._executor_id,
            "serializer": DBOSPortableJSONSerializer(),
            "enable_otlp": False,
            "log_level": "WARNING",
            "max_executor_threads": _THREADS,
        }

    def _perform(self) -> Any:
        """The workflow: performs work in one step, then enqueues what comes next."""
        # DBOS finds workflows by function, so it is made here, over this engine.

        async def perform(kind: str, session_id: str, target_id: str, number: int) -> None:
            work = Work(WorkKind(kind), session_id, target_id, number)
            with self._noted_as_running():
                following = await DBOS.run_step_async(
                    {"name": "perform", "preemptible": True}, self._handle, work
                )
                if following is not None:
                    await self._enqueue(_from_json(following))

        return perform

    async def _handle(self, work: Work) -> dict[str, Any] | None:
        """Runs the handler; as a step its result is JSON."""
        assert self._handler is not None
        following = await self._handler(work)
        return None if following is None else _to_json(following)

    @contextmanager
    def _noted_as_running(self) -> Iterator[None]:
        """Lets `stop` cancel this workflow; cancelled so, it is left for the next start."""
        task = asyncio.current_task()
        assert task is not None
        if self._stopping:
            raise asyncio.CancelledError
        self._running.add(task)
        try:
            yield
        finally:
            self._running.discard(task)

    async def _enqueue(self, scheduled: Scheduled) -> None:
        work = scheduled.work
        queue = self._queues[QUEUES[work.kind]]
        delay = scheduled.at / 1000 - time.time()
        with (
            SetWorkflowID(work.id),
            SetWorkflowTimeout(_WORK_TIMEOUT_SECONDS),
            SetEnqueueOptions(delay_seconds=delay if delay > 0 else None),
        ):
            await queue.enqueue_async(
                self._workflow, work.kind.value, work.session_id, work.target_id, work.number
            )

    async def _take_name(self) -> None:
        """Lets others know that we live.

        Raises:
            StartError: another program has our name.
        """
        if holder := await self._presence.take(_name_of(self._executor_id), _NAME_SECONDS):
            raise StartError(
                f"the name '{self._executor_id}'",
                f"{holder} has it and works on the same database; set POD_NAME to another",
            )

    async def _register(self, queue: Queue) -> DbosQueue:
        """A queue as DBOS keeps it: once for all programs, by who takes from it."""
        width = self._share.analyses if queue is Queue.ANALYSIS else None
        return await DBOS.register_queue_async(
            queue.value,
            polling_interval_sec=_POLL_SECONDS,
            worker_concurrency=width or (1 if queue is Queue.ANALYSIS else None),
            on_conflict="always_update" if queue in self._share.queues else "never_update",
        )

    async def _keep_taking_over(self) -> None:
        while True:
            await asyncio.sleep(_TAKE_OVER_SECONDS)
            try:
                await self._take_over()
            except Exception:  # noqa: BLE001  outermost of a task: the next round may work
                _log.exception("work of programs that died could not be looked for")

    async def _take_over(self) -> None:
        """Puts back into its queue what programs that died were at.

        DBOS recovers what an earlier life of this executor id left. What others left is
        theirs as long as they live, and their name tells that. Should one live all the same
        (its way to the database was cut), DBOS parks its run, and the handler may be called
        twice by its contract.
        """
        owners = {status.executor_id for status in await self._taken()} - {self._executor_id}
        for owner in owners - {None}:
            async with self._presence.burying(_name_of(str(owner))) as is_dead:
                # Asked again: while nobody has the name, nobody else puts its work back.
                left = [s for s in await self._taken() if s.executor_id == owner]
                for status in left if is_dead else []:
                    _log.info("work taken over", work=status.workflow_id, left_by=owner)
                    await DBOS.resume_workflow_async(
                        status.workflow_id, queue_name=status.queue_name
                    )

    async def _taken(self) -> Sequence[WorkflowStatus]:
        """Work of our queues that somebody is at, or was at when it died."""
        return [
            status
            for queue in self._share.queues
            for status in await _list(status="PENDING", queue_name=queue.value)
        ]


def _name_of(executor_id: str) -> str:
    return f"executor:{executor_id}"


async def _list(**wanted: Any) -> Sequence[WorkflowStatus]:
    return await DBOS.list_workflows_async(load_input=False, load_output=False, **wanted)


def _to_json(scheduled: Scheduled) -> dict[str, Any]:
    work = scheduled.work
    return {
        "kind": work.kind.value,
        "session_id": work.session_id,
        "target_id": work.target_id,
        "number": work.number,
        "at": scheduled.at,
    }


def _from_json(row: dict[str, Any]) -> Scheduled:
    work = Work(WorkKind(row["kind"]), row["session_id"], row["target_id"], row["number"])
    return Scheduled(work, row["at"])


def _use_wal(url: str) -> None:
    """Lets readers of DBOS's SQLite file go on beside its writer; the file remembers it."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        with closing(sqlite3.connect(parsed.database)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")


def _quiet_logs() -> None:
    """Sends DBOS's log through ours; it adds a console of its own where it finds no handler."""
    logger = logging.getLogger("dbos")
    logger.handlers[:] = [logging.NullHandler()]
    logger.propagate = True


def _batches(ids: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), _BATCH):
        yield list(ids[start : start + _BATCH])


def _destroy() -> None:
    DBOS.destroy(destroy_registry=True)
