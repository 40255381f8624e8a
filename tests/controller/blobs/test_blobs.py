import contextlib
import hashlib
import os
import resource
import subprocess
from pathlib import Path

import pytest
import zstandard

from memwatch_controller.errors import (
    BlobLostError,
    DigestMismatchError,
    InvalidArgumentError,
    OffsetOutOfRangeError,
    StoreFullError,
    StoreUnavailableError,
)
from memwatch_controller.store.blobs import BlobStore, blob_key
from memwatch_controller.store.intake import Encoding

RAW = b'{"snapshot":"' + os.urandom(700_000).hex().encode() + b'"}'
STORED = zstandard.ZstdCompressor(level=1).compress(RAW)
SHA = hashlib.sha256(STORED).hexdigest()


@pytest.fixture
def blobs(tmp_path) -> BlobStore:
    return BlobStore.open(str(tmp_path / "blobs"), tmp_path, reserve_bytes=0)


async def put(blobs: BlobStore, data: bytes = STORED, snapshot_id: str = "n-1") -> str:
    async with blobs.begin("it", incoming_limit=len(data)) as part:
        await part.append(data)
        facts = await part.close()
        key = blob_key(snapshot_id, facts.stored_sha256)
        await blobs.commit(part, key)
    return key


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


async def test_a_committed_blob_reads_back_from_any_offset(blobs):
    """Whole or in ranges, the bytes are those that were put in, in pieces of 256 KiB."""
    key = await put(blobs)
    for offset, length in [(0, None), (1, None), (300_000, 17), (len(STORED) - 1, None)]:
        pieces = [p async for p in blobs.read(key, len(STORED), offset, length)]
        end = len(STORED) if length is None else offset + length
        assert b"".join(pieces) == STORED[offset:end]
        assert max(map(len, pieces)) <= 256 * 1024


async def test_reading_at_the_end_yields_nothing_and_beyond_it_fails(blobs):
    """An offset at the end is an empty rest; one beyond it is out of range."""
    key = await put(blobs)
    assert [p async for p in blobs.read(key, len(STORED), len(STORED))] == []
    with pytest.raises(OffsetOutOfRangeError):
        _ = [p async for p in blobs.read(key, len(STORED), len(STORED) + 1)]


async def test_nothing_lies_under_a_final_name_before_commit(blobs, tmp_path):
    """Until commit there is only a part in the staging folder."""
    async with blobs.begin("it") as part:
        await part.append(STORED)
        await part.close()
        (only,) = files(tmp_path / "blobs")
        assert only.startswith(".incoming/")
        assert await blobs.size(blob_key("n-1", SHA)) is None
    assert files(tmp_path / "blobs") == []


async def test_a_failed_part_leaves_nothing(blobs, tmp_path):
    """An error on the way removes the part, even where the disk is gone."""
    with pytest.raises(DigestMismatchError):
        async with blobs.begin("it") as part:
            await part.append(b"garbage that is no zstd")
    assert files(tmp_path / "blobs") == []


async def test_leftovers_are_swept_at_start(tmp_path):
    """A part that a killed controller left is removed by the next start; blobs stay."""
    blobs = BlobStore.open(str(tmp_path / "blobs"), tmp_path)
    key = await put(blobs)
    (tmp_path / "blobs/.incoming/dead.part").write_bytes(b"x")
    BlobStore.open(str(tmp_path / "blobs"), tmp_path)
    assert files(tmp_path / "blobs") == [key]


async def test_length_and_digest_must_be_as_announced(blobs):
    """What came is compared with what was announced, each figure by itself."""
    async with blobs.begin("upload 'x'", Encoding.PLAIN) as part:
        await part.append(b"{}")
        part.check_received(2, hashlib.sha256(b"{}").hexdigest())
        with pytest.raises(
            DigestMismatchError, match=r"upload 'x'.* got 2 bytes, expected 3 bytes"
        ):
            part.check_received(3, "")
        with pytest.raises(DigestMismatchError, match="SHA-256"):
            part.check_received(2, "0" * 64)


async def test_a_deleted_blob_is_gone_and_may_be_deleted_again(blobs):
    """Deleting twice is no error; reading afterwards says that the blob is lost."""
    key = await put(blobs)
    await blobs.delete(key)
    await blobs.delete(key)
    with pytest.raises(BlobLostError):
        _ = [p async for p in blobs.read(key, len(STORED))]


async def test_a_blob_of_another_length_is_lost(blobs, tmp_path):
    """A blob that somebody cut is not handed out."""
    key = await put(blobs)
    os.truncate(tmp_path / "blobs" / key, 100)
    with pytest.raises(BlobLostError, match="it has 100 bytes"):
        _ = [p async for p in blobs.read(key, len(STORED))]
    with pytest.raises(BlobLostError):
        async with blobs.local(key, len(STORED)):
            pass


async def test_local_gives_a_path_without_a_copy(blobs, tmp_path):
    """A directory's blob is opened where it lies."""
    key = await put(blobs)
    async with blobs.local(key, len(STORED)) as path:
        assert path == tmp_path / "blobs" / key


async def test_files_are_private(blobs, tmp_path):
    """Heaps hold secrets: nobody else may enter the folders."""
    await put(blobs)
    for folder in ("blobs/.incoming", "blobs/snapshots"):
        assert (tmp_path / folder).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "bad", ["", "../x", "a/b", "a\x00b", "a\nb", "-a", ".a", "ü", "a" * 129, "a b"]
)
def test_keys_are_made_of_our_ids_only(bad):
    """A name from outside never becomes a path."""
    with pytest.raises(InvalidArgumentError):
        blob_key(bad, SHA)
    with pytest.raises(InvalidArgumentError):
        blob_key("n-1", bad)


def test_an_unusable_url_is_refused(tmp_path):
    """A URL of a kind we do not know is named in the error."""
    with pytest.raises(InvalidArgumentError, match="gopher://x"):
        BlobStore.open("gopher://x", tmp_path)


def test_an_unwritable_directory_is_refused(tmp_path):
    """A directory that cannot be made is named in the error."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailableError, match="file/blobs"):
        BlobStore.open(str(tmp_path / "file/blobs"), tmp_path)


async def test_a_blob_that_cannot_fit_is_refused_before_it_comes(tmp_path):
    """The announced size is compared with the free space less the reserve."""
    blobs = BlobStore.open(str(tmp_path / "blobs"), tmp_path, reserve_bytes=1 << 60)
    with pytest.raises(StoreFullError, match="needs 10 bytes and 0 are free"):
        blobs.begin("it", incoming_limit=10)


async def test_more_than_is_ever_taken_is_refused(blobs):
    """A promise of petabytes is refused at once."""
    with pytest.raises(DigestMismatchError):
        blobs.begin("it", incoming_limit=1 << 50)


async def test_a_file_size_limit_reads_as_a_full_store(blobs, tmp_path):
    """A disk that refuses bytes half-way: STORE_FULL, and nothing partial stays."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StoreFullError):
            await put(blobs)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(tmp_path / "blobs") == []


async def put_unannounced(blobs: BlobStore) -> None:
    async with blobs.begin("it") as part:
        await part.append(STORED)
        await part.close()


@contextlib.contextmanager
def small_disk(folder: Path):
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small tmpfs: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
async def test_a_full_disk_keeps_nothing_partial(tmp_path):
    """On a disk of 512 KiB a larger blob ends in STORE_FULL, and the room is free again."""
    with small_disk(tmp_path / "disk"):
        blobs = BlobStore.open(str(tmp_path / "disk"), tmp_path, reserve_bytes=0)
        with pytest.raises(StoreFullError, match="delete snapshots"):
            await put_unannounced(blobs)
        assert files(tmp_path / "disk") == []
        key = await put(blobs, zstandard.ZstdCompressor().compress(bytes(1000)))
        assert files(tmp_path / "disk") == [key]
