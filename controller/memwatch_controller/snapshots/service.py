"""The snapshots of the store: taken through agents, uploaded, downloaded, deleted."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from uuid import uuid4

import structlog
from prometheus_client import Counter

from memwatch_controller.counters import Counters, outcome_of
from memwatch_controller.errors import (
    AgentError,
    ControllerError,
    DigestMismatchError,
    NotFoundError,
    OffsetOutOfRangeError,
    SnapshotInUseError,
)
from memwatch_controller.model import (
    CaptureOrder,
    CaptureProgress,
    Millis,
    Runtime,
    SessionState,
    Snapshot,
    SnapshotOrigin,
)
from memwatch_controller.snapshots import transfer
from memwatch_controller.snapshots.names import file_name, safe_name
from memwatch_controller.snapshots.ports import Agents, SnapshotRows
from memwatch_controller.snapshots.unpack import unpacked
from memwatch_controller.store.blobs import (
    MAX_RAW_BYTES,
    MAX_STORED_BYTES,
    BlobStore,
    Part,
    blob_key,
)
from memwatch_controller.store.intake import Encoding, Facts

_FINISHED = {SessionState.SUCCEEDED, SessionState.FAILED, SessionState.CANCELLED}

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Upload:
    """What somebody outside says of a snapshot before its bytes.

    Attributes:
        request_id: makes the upload idempotent.
        encoding: how the bytes are compressed.
        size_bytes: their length; None where it is not announced.
        sha256: their SHA-256, lower-case hex; "" where it is not announced.
    """

    request_id: str
    encoding: Encoding = Encoding.PLAIN
    size_bytes: int | None = None
    sha256: str = ""
    file_name: str = ""
    session_id: str = ""
    phase: str = ""
    service: str = ""
    container_id: str = ""
    runtime: Runtime = Runtime.UNKNOWN
    capture_time: Millis = 0


def _ignore(progress: CaptureProgress) -> None:
    """Nobody wants to know."""


class Snapshots:
    """Use cases of snapshots. A snapshot has a row exactly when its blob is whole."""

    def __init__(
        self,
        rows: SnapshotRows,
        blobs: BlobStore,
        agents: Agents,
        now: Callable[[], Millis],
        counters: Counters | None = None,
        patience: transfer.Patience = transfer.Patience(),  # noqa: B008  frozen
    ) -> None:
        self._rows = rows
        self._blobs = blobs
        self._agents = agents
        self._now = now
        self._counters = counters or Counters()
        self._patience = patience
        self._on_removed: list[Callable[[Snapshot], None]] = []
        self._running: dict[str, tuple[asyncio.Lock, int]] = {}

    async def capture(
        self,
        address: str,
        order: CaptureOrder,
        on_progress: transfer.OnProgress = _ignore,
    ) -> Snapshot:
        """Takes a snapshot through the agent at `address` and stores it.

        Idempotent by the order's request id, over restarts of either side: the agent takes
        it once, and once stored it is only looked up. The agent keeps it until it is safe.

        Raises:
            AgentError: the agent refuses, or cannot be reached (`transient`).
            DigestMismatchError: what it sends is not what it announced; nothing is kept.
            StoreFullError: there is no room; nothing is kept here, the agent keeps it.
        """
        async with self._alone(order.request_id):
            stored = await self._rows.find_snapshot_by_request(order.request_id)
            if stored is None:
                with self._counted(self._counters.captures):
                    stored = await self._take_and_store(address, order, on_progress)
        await self.discard(address, stored.id)
        return stored

    async def discard(self, address: str, snapshot_id: str) -> None:
        """Lets an agent drop a stored snapshot; one that is not there now is told later."""
        try:
            await self._agents.discard(address, snapshot_id)
        except AgentError as failure:
            _log.warning(
                "snapshot_not_discarded",
                snapshot_id=snapshot_id,
                address=address,
                error=str(failure),
            )

    async def discard_spooled(self, address: str, session_id: str) -> None:
        """Has an agent drop what it still holds for a session that nobody waits for.

        Raises:
            AgentError: the agent could not be asked.
        """
        for snapshot in await self._agents.spooled(address):
            if snapshot.session_id == session_id:
                await self._agents.discard(address, snapshot.id)

    async def discard_stored(self, address: str, spooled: Sequence[Snapshot]) -> None:
        """Frees an agent's spool of what is safe here; for when it connects again."""
        for snapshot in spooled:
            stored = await self._rows.find_snapshot_by_request(snapshot.request_id)
            if stored is not None and stored.stored_sha256 == snapshot.stored_sha256:
                await self.discard(address, snapshot.id)

    async def take_in(self, address: str, spooled: Sequence[Snapshot]) -> None:
        """Frees an agent of what is safe here, and stores what processes wrote by themselves."""
        await self.discard_stored(address, spooled)
        for snapshot in spooled:
            if snapshot.origin is SnapshotOrigin.NEAR_LIMIT:
                await self._take_in_one(address, snapshot)

    async def _take_in_one(self, address: str, spooled: Snapshot) -> None:
        if spooled.request_id in self._running:
            return  # told again in each heartbeat
        order = CaptureOrder(
            request_id=spooled.request_id,
            target_id=spooled.target_id,
            kind=spooled.kind,
            way=spooled.way,
        )
        try:
            await self.capture(address, order)
        except ControllerError as error:
            _log.warning("snapshot not taken in", snapshot=spooled.id, cause=str(error))

    async def upload(self, upload: Upload, pieces: AsyncIterator[bytes]) -> Snapshot:
        """Stores a snapshot from outside, as one zstd stream whatever it came in.

        Raises:
            DigestMismatchError: length or digest are not as announced, or the bytes are no
                snapshot; nothing is kept.
            StoreFullError: there is no room; nothing is kept.
        """
        async with self._alone(upload.request_id):
            known = await self._rows.find_snapshot_by_request(upload.request_id)
            if known is not None:
                return known
            with self._counted(self._counters.uploads):
                return await self._store_upload(upload, pieces)

    async def get(self, snapshot_id: str) -> Snapshot:
        """One snapshot.

        Raises:
            NotFoundError: there is none with this id.
        """
        snapshot = await self._rows.get_snapshot(snapshot_id)
        if snapshot is None:
            raise NotFoundError("snapshot", snapshot_id)
        return snapshot

    def read(
        self, snapshot: Snapshot, offset: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        """The stored (zstd) bytes of a snapshot, in pieces of at most 256 KiB.

        Raises:
            OffsetOutOfRangeError: `offset` is beyond the end.
            BlobLostError: the blob is not what was stored.
        """
        if not 0 <= offset <= snapshot.stored_size_bytes:
            raise OffsetOutOfRangeError(snapshot.id, offset, snapshot.stored_size_bytes)
        key = blob_key(snapshot.id, snapshot.stored_sha256)
        return self._blobs.read(key, snapshot.stored_size_bytes, offset, length)

    def read_raw(
        self, snapshot: Snapshot, offset: int = 0, length: int | None = None
    ) -> AsyncIterator[bytes]:
        """The `.heapsnapshot` itself; what lies before `offset` is decompressed and dropped.

        Raises:
            OffsetOutOfRangeError: `offset` is beyond the end.
            BlobLostError: the blob is not what was stored.
        """
        size = snapshot.raw_size_bytes
        if not 0 <= offset <= size:
            raise OffsetOutOfRangeError(snapshot.id, offset, size)
        end = size if length is None else min(size, offset + length)
        return unpacked(self.read(snapshot), snapshot.id, offset, end)

    async def delete(self, snapshot_id: str) -> None:
        """Deletes blob and row; an unknown id is no error.

        Raises:
            SnapshotInUseError: its session is not finished.
        """
        snapshot = await self._rows.get_snapshot(snapshot_id)
        if snapshot is None:
            return
        session = await self._rows.get_session(snapshot.session_id) if snapshot.session_id else None
        if session is not None and session.state not in _FINISHED:
            raise SnapshotInUseError(snapshot_id, session.id)
        await self.remove(snapshot)

    async def remove(self, snapshot: Snapshot) -> None:
        """Deletes blob and row, whoever needs them: for the session that owns them.

        The blob goes first: after a crash in between, the row is there to delete again.
        """
        await self._blobs.delete(blob_key(snapshot.id, snapshot.stored_sha256))
        await self._rows.delete_snapshot(snapshot.id)
        for told in self._on_removed:
            told(snapshot)

    def on_removed(self, told: Callable[[Snapshot], None]) -> None:
        """Has `told` called with each snapshot that was deleted."""
        self._on_removed.append(told)

    async def _take_and_store(
        self, address: str, order: CaptureOrder, on_progress: transfer.OnProgress
    ) -> Snapshot:
        taken = await transfer.take(self._agents, address, order, on_progress, self._patience)
        transfer.check_announced(taken, order, MAX_STORED_BYTES)
        owner = await self._rows.get_snapshot(taken.id)
        if owner is not None:
            raise DigestMismatchError(
                f"snapshot '{taken.id}'", "an id that is taken", f"one of {order.request_id!r}"
            )
        snapshot = replace(
            taken,
            target_id=order.target_id,
            session_id=order.session_id,
            phase=order.phase,
            file_name=safe_name(taken.file_name),
        )
        what = f"snapshot '{snapshot.id}'"
        announced = Facts(
            snapshot.raw_size_bytes,
            snapshot.raw_sha256,
            snapshot.stored_size_bytes,
            snapshot.stored_sha256,
        )
        async with self._blobs.begin(
            what,
            incoming_limit=snapshot.stored_size_bytes,
            raw_limit=snapshot.raw_size_bytes,
        ) as part:
            await transfer.pull(self._agents, address, snapshot, part, self._patience)
            _compare(what, await part.close(), announced)
            return await self._record(snapshot, part)

    async def _store_upload(self, upload: Upload, pieces: AsyncIterator[bytes]) -> Snapshot:
        what = f"upload '{safe_name(upload.file_name)}'"
        limit = MAX_STORED_BYTES if upload.size_bytes is None else upload.size_bytes
        async with self._blobs.begin(
            what,
            upload.encoding,
            incoming_limit=limit,
            raw_limit=MAX_RAW_BYTES,
        ) as part:
            async for piece in pieces:
                await part.append(piece)
            part.check_received(upload.size_bytes, upload.sha256)
            facts = await part.close()
            part.check_document()
            return await self._record(self._uploaded(upload, facts), part)

    def _uploaded(self, upload: Upload, facts: Facts) -> Snapshot:
        taken = upload.capture_time or self._now()
        return Snapshot(
            id=f"s-{uuid4().hex}",
            request_id=upload.request_id,
            session_id=upload.session_id,
            phase=upload.phase,
            runtime=upload.runtime,
            service=upload.service,
            container_id=upload.container_id,
            capture_time=taken,
            raw_size_bytes=facts.raw_size_bytes,
            raw_sha256=facts.raw_sha256,
            stored_size_bytes=facts.stored_size_bytes,
            stored_sha256=facts.stored_sha256,
            file_name=file_name(upload.container_id, upload.phase, taken),
            notes=(f"uploaded as {safe_name(upload.file_name)}",),
        )

    async def _record(self, snapshot: Snapshot, part: Part) -> Snapshot:
        """Names the blob, then writes the row; a blob without a row is found by its request."""
        key = blob_key(snapshot.id, snapshot.stored_sha256)
        await self._blobs.commit(part, key)
        stored = await self._rows.insert_snapshot(snapshot)
        self._counters.received_bytes.inc(snapshot.stored_size_bytes)
        if stored.id != snapshot.id:  # another controller stored the same request first
            await self._blobs.delete(key)
        return stored

    @contextlib.contextmanager
    def _counted(self, counter: Counter) -> Iterator[None]:
        """Counts how the block ends."""
        try:
            yield
        except ControllerError as error:
            counter.labels(outcome_of(error)).inc()
            raise
        counter.labels("stored").inc()

    @contextlib.asynccontextmanager
    async def _alone(self, request_id: str) -> AsyncIterator[None]:
        """Lets one task at a time work on a request; the others then find its result."""
        lock, users = self._running.get(request_id, (asyncio.Lock(), 0))
        self._running[request_id] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._running.pop(request_id)
            if users > 1:
                self._running[request_id] = (lock, users - 1)


def _compare(what: str, got: Facts, announced: Facts) -> None:
    """Compares what came with what the agent announced.

    Raises:
        DigestMismatchError: a length or digest differs.
    """
    pairs = (
        ("bytes", got.stored_size_bytes, announced.stored_size_bytes),
        ("SHA-256", got.stored_sha256, announced.stored_sha256),
        ("decompressed bytes", got.raw_size_bytes, announced.raw_size_bytes),
        ("decompressed SHA-256", got.raw_sha256, announced.raw_sha256),
    )
    for figure, came, expected in pairs:
        if came != expected:
            raise DigestMismatchError(what, f"{figure} {came}", f"{expected}")
