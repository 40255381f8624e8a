import gzip
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import zstandard

from memwatch_controller.errors import (
    DigestMismatchError,
    NotFoundError,
    OffsetOutOfRangeError,
    SnapshotInUseError,
)
from memwatch_controller.model import SessionState
from memwatch_controller.snapshots.names import file_name, safe_name
from memwatch_controller.snapshots.service import Snapshots, Upload
from memwatch_controller.store.intake import Encoding
from tests.controller.builders import session

RAW = b'{"snapshot":"' + os.urandom(400_000).hex().encode() + b'"}'
ENCODED = {
    Encoding.PLAIN: RAW,
    Encoding.GZIP: gzip.compress(RAW, 1),
    Encoding.ZSTD: zstandard.ZstdCompressor(level=1).compress(RAW),
}


async def pieces(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def announced(data: bytes, encoding: Encoding = Encoding.PLAIN, **fields) -> Upload:
    digest = hashlib.sha256(data).hexdigest()
    return Upload("up-1", encoding, len(data), digest, **fields)


async def read(snapshots: Snapshots, snapshot) -> bytes:
    stored = b"".join([piece async for piece in snapshots.read(snapshot)])
    return zstandard.ZstdDecompressor().decompressobj().decompress(stored)


@pytest.mark.parametrize("encoding", list(Encoding))
async def test_uploads_of_any_encoding_are_stored_as_zstd(snapshots, encoding):
    """Plain, gzip or zstd: the raw bytes and their digest are the same afterwards."""
    data = ENCODED[encoding]
    upload = announced(
        data, encoding, file_name="a.heapsnapshot", session_id="old-1", phase="before"
    )
    snapshot = await snapshots.upload(upload, pieces(data))
    assert await read(snapshots, snapshot) == RAW
    assert snapshot.raw_sha256 == hashlib.sha256(RAW).hexdigest()
    assert (snapshot.session_id, snapshot.phase) == ("old-1", "before")
    assert (
        snapshot.file_name
        == "session_upload_1700000000123_before_2023-11-14T22-13-20-123Z.heapsnapshot"
    )
    assert snapshot.notes == ("uploaded as a.heapsnapshot",)


async def test_an_upload_is_idempotent_by_its_request(snapshots):
    """The same request again returns the first snapshot and reads no byte."""

    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("read")
        yield b""

    first = await snapshots.upload(announced(RAW), pieces(RAW))
    assert await snapshots.upload(announced(RAW), never()) == first


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        ({"size_bytes": len(RAW) + 1}, "expected"),
        ({"size_bytes": len(RAW) - 1}, "got received bytes: more than"),
        ({"sha256": "0" * 64}, "expected 0000"),
        ({"encoding": Encoding.GZIP}, "a sound stream"),
        ({"encoding": Encoding.ZSTD}, "a sound stream"),
    ],
)
async def test_a_lying_upload_keeps_nothing(snapshots, rows, tmp_path, lie, words):
    """Length, digest or encoding that is not as announced: refused, nothing stays."""
    with pytest.raises(DigestMismatchError) as caught:
        await snapshots.upload(replace(announced(RAW), **lie), pieces(RAW))
    assert words in str(caught.value)
    assert await rows.find_snapshot_by_request("up-1") is None
    assert not [p for p in (tmp_path / "blobs").rglob("*") if p.is_file()]


async def test_what_is_no_snapshot_is_refused(snapshots):
    """A text file is not stored as a heap."""
    with pytest.raises(DigestMismatchError, match="whole"):
        await snapshots.upload(announced(b"hello"), pieces(b"hello"))


async def test_hostile_names_are_shown_safely(snapshots):
    """Paths, controls and newlines in a name reach neither a path nor a line of output."""
    upload = announced(RAW, file_name="../../etc/pass\x00wd\n.heapsnapshot", phase="../x")
    snapshot = await snapshots.upload(
        replace(upload, container_id="../../0123456789abcdef"), pieces(RAW)
    )
    assert snapshot.notes == ("uploaded as etc_pass_wd_.heapsnapshot",)
    assert "/" not in snapshot.file_name
    assert ".." not in snapshot.file_name


async def test_downloads_start_anywhere(snapshots):
    """From an offset, up to a length; behind the end is an error."""
    snapshot = await snapshots.upload(announced(RAW), pieces(RAW))
    stored = b"".join([p async for p in snapshots.read(snapshot)])
    rest = b"".join([p async for p in snapshots.read(snapshot, 1000)])
    assert rest == stored[1000:]
    with pytest.raises(OffsetOutOfRangeError, match=f"'{snapshot.id}'"):
        snapshots.read(snapshot, len(stored) + 1)


async def test_a_running_sessions_snapshot_is_not_deleted(snapshots, rows):
    """While its session needs it a snapshot stays; afterwards it goes, blob and row."""
    await rows.insert_session(session("s-1"))
    snapshot = await snapshots.upload(announced(RAW, session_id="s-1"), pieces(RAW))
    with pytest.raises(SnapshotInUseError, match="sessions cancel s-1"):
        await snapshots.delete(snapshot.id)
    running = await rows.get_session("s-1")
    await rows.update_session(running, replace(running, state=SessionState.CANCELLED))
    await snapshots.delete(snapshot.id)
    await snapshots.delete(snapshot.id)
    with pytest.raises(NotFoundError, match="snapshots list"):
        await snapshots.get(snapshot.id)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a.heapsnapshot", "a.heapsnapshot"),
        ("../../x", "x"),
        ("..", "unnamed"),
        ("", "unnamed"),
        ("a/b\\c", "a_b_c"),
        ("ü\x00\n", "unnamed"),
        ("-rf", "rf"),
        ("x" * 300, "x" * 200),
    ],
)
def test_safe_names(name, safe):
    """Names from outside become names that are safe on every file system."""
    assert safe_name(name) == safe


def test_file_names_keep_the_ancestors_pattern():
    """Twelve characters of the container, milliseconds, phase, and a time without colons."""
    assert (
        file_name("0123456789abcdef", "after", 1_700_000_000_007)
        == "session_0123456789ab_1700000000007_after_2023-11-14T22-13-20-007Z.heapsnapshot"
    )
