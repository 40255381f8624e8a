"""`spool.py`: nothing half under a final name, nothing lost, nothing beyond the quota."""

import errno
import hashlib
import io
import json
import os
import stat

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from memwatch_agent import spool as module
from memwatch_agent.errors import SnapshotNotFoundError, SpoolFullError, StateDirError
from memwatch_agent.spool import RESERVE_BYTES, Spool, checked_id, free_bytes
from memwatch_proto.chunks import checked_data, new_digest, read_chunks
from memwatch_proto.v1 import snapshots_pb2

MIB = 1024 * 1024
PLENTY = 1 << 40


def open_spool(path, quota=64 * MIB, free=PLENTY) -> Spool:
    return Spool(path / "spool", quota, lambda _directory: free)


def store(spool, snapshot_id="s-1", data=b"{}", request_id="r-1"):
    writer = spool.create(snapshot_id)
    writer.write(data)
    blob = writer.finish()
    snapshot = snapshots_pb2.Snapshot(
        id=snapshot_id,
        request_id=request_id,
        raw_size_bytes=blob.raw_size_bytes,
        stored_size_bytes=blob.stored_size_bytes,
        raw_sha256=blob.raw_sha256,
        stored_sha256=blob.stored_sha256,
    )
    writer.keep(snapshot)
    return snapshot


def names(path):
    return sorted(os.listdir(path / "spool"))


def test_a_snapshot_is_kept_with_its_digests(tmp_path):
    """What comes out is what went in; sizes and digests of both forms are right."""
    spool = open_spool(tmp_path)
    data = os.urandom(1000) * 300

    snapshot = store(spool, data=data)
    file, found = spool.open("s-1")
    stored = file.read()

    assert found == snapshot
    assert zstandard.ZstdDecompressor().stream_reader(io.BytesIO(stored)).read() == data
    assert snapshot.raw_sha256 == hashlib.sha256(data).hexdigest()
    assert snapshot.stored_sha256 == hashlib.sha256(stored).hexdigest()
    assert (snapshot.raw_size_bytes, snapshot.stored_size_bytes) == (len(data), len(stored))
    assert spool.used_bytes == len(stored)
    assert [one.id for one in spool.snapshots()] == ["s-1"]


def test_files_are_for_their_owner_alone(tmp_path):
    """A heap holds secrets: nobody else may read the spool."""
    store(open_spool(tmp_path))

    for path in [tmp_path / "spool", *(tmp_path / "spool").iterdir()]:
        assert path.stat().st_mode & 0o077 == 0


def test_a_finished_snapshot_survives_a_restart(tmp_path):
    """A later agent offers it again, also by its request id."""
    snapshot = store(open_spool(tmp_path))

    again = open_spool(tmp_path)

    assert list(again.snapshots()) == [snapshot]
    entry = again.by_request("r-1")
    assert entry is not None
    assert (entry.snapshot, entry.discarded) == (snapshot, False)
    assert again.used_bytes == snapshot.stored_size_bytes


@pytest.mark.parametrize("steps", range(5))
def test_a_kill_at_any_step_leaves_all_or_nothing(tmp_path, steps):
    """After each step of a capture a new agent finds a whole snapshot or no trace of it."""
    spool = open_spool(tmp_path)
    store(spool, "s-0", request_id="r-0")
    writer = spool.create("s-1")
    if steps > 0:
        writer.write(os.urandom(MIB))
    if steps > 1:
        writer.finish()
    if steps > 2:  # killed between the two names
        os.rename(tmp_path / "spool/s-1.part", tmp_path / "spool/s-1.heapsnapshot.zst")
    if steps > 3:
        (tmp_path / "spool/s-1.json.new").write_bytes(b'{"format": 1,')

    again = open_spool(tmp_path)

    assert [one.id for one in again.snapshots()] == ["s-0"]
    assert names(tmp_path) == ["s-0.heapsnapshot.zst", "s-0.json"]


def test_an_abort_leaves_nothing(tmp_path):
    """A capture that went wrong leaves no file and takes no room."""
    spool = open_spool(tmp_path)
    writer = spool.create("s-1")
    writer.write(os.urandom(MIB))

    writer.abort()
    writer.abort()

    assert names(tmp_path) == []
    assert spool.used_bytes == 0


def test_an_abort_after_keep_changes_nothing(tmp_path):
    """What was kept stays."""
    spool = open_spool(tmp_path)
    writer = spool.create("s-1")
    writer.write(b"x")
    blob = writer.finish()
    writer.keep(
        snapshots_pb2.Snapshot(id="s-1", request_id="r", stored_size_bytes=blob.stored_size_bytes)
    )

    writer.abort()

    assert spool.used_bytes == blob.stored_size_bytes
    assert len(open_spool(tmp_path).snapshots()) == 1


def test_the_quota_is_never_passed(tmp_path):
    """A snapshot that does not fit is refused with both numbers; nothing of it stays."""
    spool = open_spool(tmp_path, quota=3 * MIB)
    store(spool, data=os.urandom(MIB))
    writer = spool.create("s-2")

    def fill() -> None:
        for _ in range(10):
            writer.write(os.urandom(MIB))

    with pytest.raises(SpoolFullError, match="its quota is used up") as error:
        fill()
    writer.abort()

    assert error.value.quota_bytes == 3 * MIB
    assert error.value.used_bytes <= 3 * MIB
    assert names(tmp_path) == ["s-1.heapsnapshot.zst", "s-1.json"]


def test_the_disk_keeps_a_reserve(tmp_path):
    """The agent does not take the last bytes of a disk that it may share with the service."""
    spool = open_spool(tmp_path, free=RESERVE_BYTES - 1)

    with pytest.raises(SpoolFullError, match="the disk has"):
        spool.create("s-1")


@pytest.mark.parametrize("call", ["write", "fsync"])
@pytest.mark.parametrize("nth", range(1, 4))
def test_a_disk_that_fills_up_leaves_nothing_half(tmp_path, monkeypatch, call, nth):
    """ENOSPC at any write is SPOOL_FULL, and the spool is as it was."""
    spool = open_spool(tmp_path)
    real, calls = getattr(os, call), []

    def failing(*arguments):
        calls.append(arguments)
        if len(calls) == nth:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments)

    monkeypatch.setattr(os, call, failing)
    writer = spool.create("s-1")
    try:
        for _ in range(3):
            writer.write(os.urandom(MIB))
        blob = writer.finish()
        writer.keep(snapshots_pb2.Snapshot(id="s-1", stored_size_bytes=blob.stored_size_bytes))
    except SpoolFullError as error:
        assert "No space left on device" in str(error)  # noqa: PT017 either outcome is right
        writer.abort()
        monkeypatch.undo()
        assert spool.used_bytes == 0
        assert names(tmp_path) == []
        assert list(open_spool(tmp_path).snapshots()) == []
    else:
        assert len(open_spool(tmp_path).snapshots()) == 1


def test_a_discard_frees_the_room_and_is_remembered(tmp_path):
    """Bytes go, metadata stays: a late second call takes no second snapshot."""
    spool = open_spool(tmp_path)
    store(spool)

    spool.discard("s-1")
    spool.discard("s-1")
    spool.discard("s-unknown")
    spool.discard("../../etc/passwd")

    for one in (spool, open_spool(tmp_path)):
        assert one.used_bytes == 0
        assert list(one.snapshots()) == []
        entry = one.by_request("r-1")
        assert entry is not None and entry.discarded
        with pytest.raises(SnapshotNotFoundError, match="it was discarded"):
            one.open("s-1")
    assert names(tmp_path) == ["s-1.json"]


def test_a_kill_in_a_discard_is_finished_later(tmp_path):
    """A blob whose metadata says discarded is removed at the next start."""
    spool = open_spool(tmp_path)
    store(spool)
    blob = (tmp_path / "spool/s-1.heapsnapshot.zst").read_bytes()
    spool.discard("s-1")
    (tmp_path / "spool/s-1.heapsnapshot.zst").write_bytes(blob)

    open_spool(tmp_path)

    assert names(tmp_path) == ["s-1.json"]


def test_discarded_snapshots_are_forgotten_at_last(tmp_path, monkeypatch):
    """The memory of what was discarded is bounded; the oldest go first."""
    monkeypatch.setattr(module, "MAX_DISCARDED", 3)
    spool = open_spool(tmp_path)
    for number in range(5):
        store(spool, f"s-{number}", request_id=f"r-{number}")
        spool.discard(f"s-{number}")

    assert names(tmp_path) == ["s-2.json", "s-3.json", "s-4.json"]
    assert spool.by_request("r-0") is None
    assert spool.by_request("r-4") is not None


def test_the_number_of_snapshots_is_bounded(tmp_path, monkeypatch):
    """All of them stand in one message, so there is a most."""
    monkeypatch.setattr(module, "MAX_SNAPSHOTS", 1)
    spool = open_spool(tmp_path)
    store(spool)

    with pytest.raises(SpoolFullError, match="it holds 1 snapshots"):
        spool.create("s-2")


@pytest.mark.parametrize(
    "snapshot_id",
    ["", ".", "..", "../x", "a/b", "a\0b", "a\nb", "-x", ".hidden", "x" * 129, "ü"],
)
def test_a_name_that_is_no_id_is_not_touched(tmp_path, snapshot_id):
    """Whatever a caller sends as an id, no path is made of it."""
    spool = open_spool(tmp_path)

    with pytest.raises(SnapshotNotFoundError):
        checked_id(snapshot_id)
    with pytest.raises(SnapshotNotFoundError):
        spool.open(snapshot_id)
    with pytest.raises(SnapshotNotFoundError):
        spool.create(snapshot_id)


@pytest.mark.parametrize(
    "metadata",
    [
        b"",
        b"{",
        b"[]",
        b'{"format": 1}',
        b'{"format": 1, "discarded": false, "snapshot": {"id": "s-other"}}',
        b'{"format": 1, "discarded": false, "snapshot": {"id": "s-1", "stored_size_bytes": "9"}}',
        b'{"format": 1, "discarded": false, "snapshot": []}',
    ],
)
def test_metadata_that_lies_is_removed_with_its_blob(tmp_path, metadata):
    """A snapshot is offered only where its metadata is whole and its blob has the right size."""
    spool = open_spool(tmp_path)
    store(spool)
    (tmp_path / "spool/s-1.json").write_bytes(metadata)

    assert list(open_spool(tmp_path).snapshots()) == []
    assert names(tmp_path) == []


def test_a_newer_agent_s_snapshots_are_left_alone(tmp_path):
    """After a downgrade nothing that this agent does not understand is deleted."""
    spool = open_spool(tmp_path)
    store(spool)
    meta = tmp_path / "spool/s-1.json"
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "format": 2}))

    assert list(open_spool(tmp_path).snapshots()) == []
    assert names(tmp_path) == ["s-1.heapsnapshot.zst", "s-1.json"]


def test_links_are_not_followed(tmp_path):
    """A planted link leads neither out of the spool nor into it."""
    spool = open_spool(tmp_path)
    store(spool)
    secret = tmp_path / "secret"
    secret.write_text("x")
    (tmp_path / "spool/s-1.heapsnapshot.zst").unlink()
    (tmp_path / "spool/s-1.heapsnapshot.zst").symlink_to(secret)
    (tmp_path / "spool/s-2.part").symlink_to(secret)

    with pytest.raises(SnapshotNotFoundError):
        spool.open("s-1")
    with pytest.raises(OSError, match="exists"):
        spool.create("s-2")
    assert secret.read_text() == "x"


def test_a_link_in_the_spool_s_place_is_refused(tmp_path):
    """The spool's directory itself may not be a link."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "spool").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(StateDirError):
        open_spool(tmp_path)


def test_an_open_snapshot_can_be_read_to_its_end(tmp_path):
    """A discard while it is streamed does not cut the stream."""
    spool = open_spool(tmp_path)
    snapshot = store(spool, data=os.urandom(MIB))

    file, _ = spool.open("s-1")
    spool.discard("s-1")

    assert hashlib.sha256(file.read()).hexdigest() == snapshot.stored_sha256


def test_a_slow_disk_holds_nobody_up(tmp_path):
    """What is in memory can be asked for while the disk works on a change."""
    spool = open_spool(tmp_path)
    store(spool)

    with spool._disk:
        assert len(spool.snapshots()) == 1
        assert spool.by_request("r-1") is not None
        spool.create("s-2").abort()
        file, _ = spool.open("s-1")
        file.close()


def test_foreign_files_stay(tmp_path):
    """What is not the spool's own is none of its business."""
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool/README").write_text("x")
    (tmp_path / "spool/dir.json").mkdir()

    open_spool(tmp_path)

    assert "README" in names(tmp_path)


@settings(max_examples=40, deadline=None)
@given(
    pieces=st.lists(st.binary(max_size=3000), max_size=20),
    cuts=st.lists(st.integers(0, 40_000), max_size=6),
)
def test_any_pieces_and_any_resumes_give_the_same_blob(tmp_path_factory, pieces, cuts):
    """However it was written and wherever a stream was cut and resumed, the digest is right."""
    path = tmp_path_factory.mktemp("resume")
    spool = open_spool(path)
    writer = spool.create("s-1")
    for piece in pieces:
        writer.write(piece)
    blob = writer.finish()
    writer.keep(
        snapshots_pb2.Snapshot(
            id="s-1",
            request_id="r",
            stored_size_bytes=blob.stored_size_bytes,
            stored_sha256=blob.stored_sha256,
        )
    )
    received = b""
    for cut in [*sorted(min(cut, blob.stored_size_bytes) for cut in cuts), 1 << 62]:
        file, snapshot = spool.open("s-1")
        with file:
            for chunk in read_chunks(
                file, len(received), snapshot.stored_size_bytes, snapshot.stored_sha256
            ):
                data = checked_data(chunk, len(received))
                received += data[: max(0, cut - len(received))]
                if len(received) >= cut:
                    break
    digest = new_digest()
    digest.update(received)

    assert digest.hexdigest() == blob.stored_sha256
    assert blob.raw_sha256 == hashlib.sha256(b"".join(pieces)).hexdigest()


def test_free_bytes_asks_the_file_system(tmp_path):
    """The real figure is there and sensible."""
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        assert 0 < free_bytes(directory) < 1 << 60
        assert stat.S_ISDIR(os.fstat(directory).st_mode)
    finally:
        os.close(directory)
