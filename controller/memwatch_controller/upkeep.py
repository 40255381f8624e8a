"""Keeps store, database and agents' spools in step: a round can run at any time, and be killed.

A round lets expired snapshots go, names blobs that no row knows and rows whose blob is gone,
and looks into the spools of the agents that are connected: what is stored is discarded there,
and what the store had no room for is fetched once there is some. Each step is whole by itself
(`Snapshots.delete` takes the blob first, so that the row stays to be deleted again), and the
next round finds what a killed one left.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from memwatch_controller.errors import (
    AgentError,
    ControllerError,
    SnapshotInUseError,
    StoreFullError,
)
from memwatch_controller.model import Agent, CaptureOrder, Millis, Session, Snapshot
from memwatch_controller.profile import Profile
from memwatch_controller.sessions.model import only_spooled, part_of
from memwatch_controller.store.blobs import BlobStore, StoredBlob, blob_key
from memwatch_controller.store.retention import Expired, Policy, expired

#: Between two rounds.
_INTERVAL_SECONDS = 3600.0

#: The first round lets agents connect.
_FIRST_SECONDS = 60.0

#: A blob gets its row in the moment after its name; what has none after this never will.
GRACE_MILLIS = 3600_000

#: Snapshots read at once.
_PAGE = 500

#: What one round names of each kind; the rest is counted.
MAX_NAMED = 1_000

_log = structlog.get_logger()


class Rows(Protocol):
    """The metadata that is needed; `store.metadata.Metadata` is one."""

    async def list_snapshots(
        self, *, limit: int, after: tuple[Millis, str] | None = None
    ) -> list[Snapshot]:
        """Snapshots, the newest first."""

    async def get_snapshot(self, id: str) -> Snapshot | None:
        """One snapshot."""

    async def get_session(self, id: str) -> Session | None:
        """One session."""


class ProfileRows(Protocol):
    """The metadata of profiles, whose blobs lie among those of snapshots."""

    async def list(self, *, limit: int, after: tuple[Millis, str] | None = None) -> list[Profile]:
        """Profiles, the newest first."""


class Stored(Protocol):
    """Snapshots as they are taken in and let go; `snapshots.service.Snapshots` is one."""

    async def delete(self, snapshot_id: str) -> None:
        """Deletes blob and row; raises SnapshotInUseError while a session needs them."""

    async def capture(self, address: str, order: CaptureOrder) -> Snapshot:
        """Stores what an agent has taken for an order."""

    async def discard_stored(self, address: str, spooled: Sequence[Snapshot]) -> None:
        """Frees an agent's spool of what is safe here."""


class Spools(Protocol):
    """What agents hold."""

    async def spooled(self, address: str) -> Sequence[Snapshot]:
        """The finished snapshots that an agent holds."""


@dataclass(slots=True)
class Round:
    """What a round did, or would do.

    Attributes:
        deleted: expired snapshots.
        orphans: blobs that no snapshot knows, older than the grace time.
        orphans_deleted: whether they were deleted.
        lost: snapshots whose blob is gone.
        fetched: snapshots that waited with their agents for room in the store.
    """

    deleted: list[Expired] = field(default_factory=list)
    orphans: list[StoredBlob] = field(default_factory=list)
    orphans_deleted: bool = False
    lost: list[Snapshot] = field(default_factory=list)
    fetched: list[Snapshot] = field(default_factory=list)

    @property
    def freed_bytes(self) -> int:
        """Bytes in the store that are free now, or would be."""
        gone = sum(one.snapshot.stored_size_bytes for one in self.deleted)
        return gone + sum(blob.size for blob in self.orphans if self.orphans_deleted)


class Upkeep:
    """Rounds of upkeep, one at a time."""

    def __init__(
        self,
        rows: Rows,
        profiles: ProfileRows,
        blobs: BlobStore,
        stored: Stored,
        spools: Spools,
        connected: Callable[[], Sequence[Agent]],
        policy: Policy,
        now: Callable[[], Millis],
    ) -> None:
        self._rows = rows
        self._profiles = profiles
        self._blobs = blobs
        self._stored = stored
        self._spools = spools
        self._connected = connected
        self._policy = policy
        self._now = now
        self._one = asyncio.Lock()

    async def run(self) -> None:
        """A round now and then, for ever."""
        pause = _FIRST_SECONDS
        while True:
            await asyncio.sleep(pause)
            pause = _INTERVAL_SECONDS
            try:
                await self.round()
            except Exception:  # noqa: BLE001  outermost of a task: the next round may work
                _log.exception("a round of upkeep failed")

    async def round(self, *, dry_run: bool = False, delete_orphans: bool = False) -> Round:
        """One round; says what it did, or with `dry_run` what it would do.

        Raises:
            StoreUnavailableError: the store does not answer.
        """
        async with self._one:
            done = Round(orphans_deleted=delete_orphans)
            # Blobs first: a snapshot that is stored meanwhile has its row when rows are read.
            blobs = {blob.key: blob async for blob in self._blobs.list("snapshots/")}
            snapshots = [snapshot async for snapshot in self._snapshots()]
            for key in await self._profile_keys():
                blobs.pop(key, None)
            await self._compare(blobs, snapshots, done)
            await self._expire(snapshots, done, dry_run=dry_run)
            if delete_orphans and not dry_run:
                for blob in done.orphans:
                    await self._blobs.delete(blob.key)
            if not dry_run:
                await self._look_into_spools(done)
            self._tell(done, dry_run=dry_run)
            return done

    async def _snapshots(self) -> AsyncIterator[Snapshot]:
        """All of them, the newest first."""
        after: tuple[Millis, str] | None = None
        while page := await self._rows.list_snapshots(limit=_PAGE, after=after):
            for snapshot in page:
                yield snapshot
            after = (page[-1].capture_time, page[-1].id)

    async def _profile_keys(self) -> set[str]:
        """The blobs that are profiles': no business of ours."""
        keys: set[str] = set()
        after: tuple[Millis, str] | None = None
        while page := await self._profiles.list(limit=_PAGE, after=after):
            for profile in page:
                if artifact := profile.artifact:
                    keys.add(blob_key(artifact.id, artifact.stored_sha256))
            after = (page[-1].create_time, page[-1].id)
        return keys

    async def _compare(
        self, blobs: dict[str, StoredBlob], snapshots: Sequence[Snapshot], done: Round
    ) -> None:
        """Names what has no other half."""
        keys = {blob_key(found.id, found.stored_sha256): found for found in snapshots}
        done.orphans = [
            blob
            for key, blob in blobs.items()
            if key not in keys and blob.modified < self._now() - GRACE_MILLIS
        ]
        for key, snapshot in keys.items():
            if key in blobs or await self._blobs.size(key) is not None:
                continue
            if await self._rows.get_snapshot(snapshot.id) is not None:  # not deleted meanwhile
                done.lost.append(snapshot)

    async def _expire(self, snapshots: Sequence[Snapshot], done: Round, *, dry_run: bool) -> None:
        if self._policy.keeps_all:
            return
        for one in expired(snapshots, self._policy, self._now()):
            try:
                if not dry_run:
                    await self._stored.delete(one.snapshot.id)
            except SnapshotInUseError:
                continue  # its session goes on; a later round comes again
            done.deleted.append(one)

    async def _look_into_spools(self, done: Round) -> None:
        for agent in self._connected():
            try:
                spooled = await self._spools.spooled(agent.address)
                await self._stored.discard_stored(agent.address, spooled)
                for snapshot in spooled:
                    await self._fetch(agent.address, snapshot, done)
            except AgentError as error:
                _log.info("spool not looked into", agent=agent.id, cause=str(error))
            except StoreFullError:
                return  # still no room: a later round comes again

    async def _fetch(self, address: str, spooled: Snapshot, done: Round) -> None:
        """Stores a snapshot that its session failed for, for want of room.

        The session stays failed, since nothing leads out of that; the snapshot is its own.
        """
        session = await self._rows.get_session(spooled.session_id) if spooled.session_id else None
        part = part_of(session, spooled.target_id) if session else None
        if session is None or part is None or not only_spooled(part):
            return
        order = CaptureOrder(
            request_id=spooled.request_id,
            target_id=spooled.target_id,
            kind=session.plan.kind,
            way=session.plan.way,
            session_id=session.id,
            phase=spooled.phase,
        )
        try:
            done.fetched.append(await self._stored.capture(address, order))
        except StoreFullError:
            raise
        except ControllerError as error:
            _log.warning("spooled snapshot not fetched", snapshot=spooled.id, cause=str(error))

    def _tell(self, done: Round, *, dry_run: bool) -> None:
        """Says in the log what was done, each by its name up to a limit."""
        for one in done.deleted[:MAX_NAMED]:
            _log.info("snapshot expired", snapshot=one.snapshot.id, why=one.why, dry_run=dry_run)
        for blob in done.orphans[:MAX_NAMED]:
            _log.warning("blob without a snapshot", key=blob.key, size_bytes=blob.size)
        for snapshot in done.lost[:MAX_NAMED]:
            _log.warning("snapshot without its blob", snapshot=snapshot.id)
        _log.info(
            "upkeep",
            deleted=len(done.deleted),
            orphans=len(done.orphans),
            lost=len(done.lost),
            fetched=len(done.fetched),
            freed_bytes=done.freed_bytes,
            dry_run=dry_run,
        )
