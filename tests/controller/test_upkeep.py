import os
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch_controller import model
from memwatch_controller.errors import AgentError, StoreFullError
from memwatch_controller.model import SessionError, SessionState
from memwatch_controller.profile import Artifact, Profile, ProfileKind
from memwatch_controller.snapshots.service import Snapshots, Upload
from memwatch_controller.store.blobs import BlobStore, blob_key
from memwatch_controller.store.database import Database, open_database
from memwatch_controller.store.metadata import Metadata
from memwatch_controller.store.profiles import ProfileTable
from memwatch_controller.store.retention import Policy, expired
from memwatch_controller.upkeep import GRACE_MILLIS, Upkeep
from tests.controller.builders import agent, session

NOW = 4_000_000_000_000
DAY = 24 * 3600_000


@given(
    times=st.lists(st.integers(0, 1_000), max_size=30),
    policy=st.builds(Policy, st.integers(0, 1_000), st.integers(0, 30), st.integers(0, 300)),
)
def test_what_is_kept_is_within_every_limit_and_newer_than_what_goes(times, policy):
    """Age, number and bytes hold for what stays; nothing that goes is newer than what stays."""
    newest_first = [
        model.Snapshot(str(n), capture_time=time, stored_size_bytes=10)
        for n, time in enumerate(sorted(times, reverse=True))
    ]
    going = [one.snapshot for one in expired(newest_first, policy, 1_000)]
    kept = [snapshot for snapshot in newest_first if snapshot not in going]
    assert not policy.count or len(kept) <= policy.count
    assert not policy.stored_bytes or 10 * len(kept) <= policy.stored_bytes
    assert all(not policy.age_millis or s.capture_time >= 1_000 - policy.age_millis for s in kept)
    assert going == sorted(going, key=lambda s: (s.capture_time, -int(s.id)))
    if going and kept:
        assert max(s.capture_time for s in going) <= min(s.capture_time for s in kept)
    if policy.keeps_all:
        assert going == []


class Spools:
    """Agents whose spools a test fills."""

    def __init__(self) -> None:
        self.held: list[model.Snapshot] = []
        self.away = False

    async def spooled(self, address: str) -> list[model.Snapshot]:
        if self.away:
            raise AgentError("UNAVAILABLE", "UNAVAILABLE", "away", transient=True)
        return list(self.held)


class Stage:
    """Upkeep over a real store and database."""

    def __init__(self, database: Database, blobs: BlobStore, folder) -> None:
        metadata = Metadata(database)
        self.profiles = ProfileTable(database)
        self.metadata, self.blobs, self.folder = metadata, blobs, folder
        self.snapshots = Snapshots(metadata, blobs, None, now=lambda: NOW)  # type: ignore[arg-type]
        self.spools = Spools()

    def upkeep(self, **policy: int) -> Upkeep:
        return Upkeep(
            self.metadata,
            self.profiles,
            self.blobs,
            self.snapshots,
            self.spools,
            lambda: [agent("a-1")],
            Policy(**policy),
            lambda: NOW,
        )

    async def stored(self, number: int, session_id: str = "") -> model.Snapshot:
        async def pieces() -> AsyncIterator[bytes]:
            yield b'{"snapshot":%d}' % number

        upload = Upload(f"u-{number}", capture_time=NOW - number * DAY, session_id=session_id)
        return await self.snapshots.upload(upload, pieces())

    def path(self, snapshot: model.Snapshot):
        return self.folder / blob_key(snapshot.id, snapshot.stored_sha256)


@pytest.fixture
async def stage(tmp_path) -> AsyncIterator[Stage]:
    database = await open_database(f"sqlite:///{tmp_path}/metadata.sqlite")
    blobs = BlobStore.open(str(tmp_path / "blobs"), tmp_path, reserve_bytes=0)
    yield Stage(database, blobs, tmp_path / "blobs")
    await database.close()


async def test_expired_snapshots_go_and_are_told(stage):
    """With a dry run they are told and stay; what a running session needs stays always."""
    await stage.metadata.insert_session(session("s-1"))
    found = [await stage.stored(number) for number in range(4)]
    needed = await stage.stored(9, "s-1")
    upkeep = stage.upkeep(age_millis=3 * DAY, count=2)

    told = await upkeep.round(dry_run=True)
    assert [one.snapshot.id for one in told.deleted][-2:] == [found[3].id, found[2].id]
    assert await stage.metadata.count_snapshots() == 5

    done = await upkeep.round()
    assert [(one.snapshot.id, one.why) for one in done.deleted] == [
        (found[3].id, "count"),
        (found[2].id, "count"),
    ]
    assert done.freed_bytes == found[2].stored_size_bytes + found[3].stored_size_bytes
    assert not stage.path(found[3]).exists()
    assert stage.path(needed).exists()
    assert (await upkeep.round()).deleted == []


async def test_halves_are_named_and_orphans_deleted_only_when_asked(stage):
    """A blob without a row after its grace time, and a row without a blob."""
    lost, fine = await stage.stored(1), await stage.stored(2)
    stage.path(lost).unlink()
    for name, age in (("old", GRACE_MILLIS + 1_000), ("young", GRACE_MILLIS - 60_000)):
        path = stage.folder / f"snapshots/{name}.zst"
        path.write_bytes(b"12345")
        os.utime(path, ((NOW - age) / 1000,) * 2)
    for keep in (True, False):
        done = await stage.upkeep().round(dry_run=keep, delete_orphans=True)
        assert [blob.key for blob in done.orphans] == ["snapshots/old.zst"]
        assert [snapshot.id for snapshot in done.lost] == [lost.id]
    left = {path.name for path in (stage.folder / "snapshots").iterdir()}
    assert left == {"young.zst", stage.path(fine).name}


async def test_blobs_of_profiles_are_no_orphans(stage):
    """A profile's artifact lies among the snapshots and has a row of its own."""
    artifact = Artifact("p-blob", "r-1", "t-1", next(iter(ProfileKind)), stored_sha256="0" * 64)
    profile = Profile("p-1", "r-1", model.Target("t-1"), next(iter(ProfileKind)), artifact=artifact)
    await stage.profiles.insert(profile)
    path = stage.folder / blob_key(artifact.id, artifact.stored_sha256)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"1")
    os.utime(path, (1, 1))
    done = await stage.upkeep().round(delete_orphans=True)
    assert (done.orphans, path.exists()) == ([], True)


async def test_a_round_that_was_killed_is_finished_by_the_next(stage):
    """Killed between blob and row, a deletion leaves a row, which the next round deletes."""
    found = await stage.stored(5)
    stage.path(found).unlink()  # where the kill came
    done = await stage.upkeep(age_millis=DAY).round()
    assert [one.snapshot.id for one in done.deleted] == [found.id]
    assert await stage.metadata.get_snapshot(found.id) is None


def failed_for_room() -> model.Session:
    """A session whose snapshot the store had no room for."""
    made = session("s-2")
    (part,) = made.targets
    error = SessionError("capturing_before", StoreFullError.reason, "no room")
    failed = replace(part, state=SessionState.FAILED, error=error)
    return replace(made, state=SessionState.FAILED, targets=(failed,))


async def test_what_waited_for_room_is_fetched(stage, monkeypatch):
    """Once there is room, and only of the session that failed for want of it."""
    failed = failed_for_room()
    await stage.metadata.insert_session(failed)
    request = f"s-2.{failed.targets[0].target.id}.before"
    waits = model.Snapshot(
        "n-1", request_id=request, session_id="s-2", target_id=failed.targets[0].target.id
    )
    other = replace(waits, id="n-2", request_id="else", session_id="gone")
    stage.spools.held = [other, waits]
    orders, full = [], [True]

    async def capture(address: str, order: model.CaptureOrder) -> model.Snapshot:
        orders.append(order)
        if full[0]:
            raise StoreFullError("it", 2, 1)
        return waits

    monkeypatch.setattr(stage.snapshots, "capture", capture)
    assert (await stage.upkeep().round()).fetched == []
    full[0] = False
    done = await stage.upkeep().round()
    assert done.fetched == [waits]
    assert {order.request_id for order in orders} == {request}
    stage.spools.away = True
    assert (await stage.upkeep().round()).fetched == []
