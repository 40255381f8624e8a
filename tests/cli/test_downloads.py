"""From chunks to a whole file: resumed, checked at every step, renamed at the end."""

import gzip
import hashlib
import io
import os
import stat

import pytest
import zstandard

from memwatch_proto import chunks
from memwatch_proto.v1.snapshots_pb2 import Snapshot
from memwatchctl import downloads
from memwatchctl.errors import FileError, OverwriteError, UnreachableError

RAW = os.urandom(900_000) + b"x" * 500_000
STORED = zstandard.ZstdCompressor(level=1).compress(RAW)


def make_snapshot(raw=RAW, stored=STORED, **fields):
    """Metadata of the bytes."""
    return Snapshot(
        **{
            "id": "snap-1",
            "raw_size_bytes": len(raw),
            "raw_sha256": hashlib.sha256(raw).hexdigest(),
            "stored_size_bytes": len(stored),
            "stored_sha256": hashlib.sha256(stored).hexdigest(),
            **fields,
        }
    )


class Source:
    """A stream of chunks that breaks off after `length` chunks, as often as it is told."""

    def __init__(self, stored=STORED, breaks=0, length=1, spoil=-1):
        self.stored, self.breaks, self.length, self.spoil = stored, breaks, length, spoil
        self.offsets = []

    def __call__(self, offset):
        self.offsets.append(offset)
        sha256 = hashlib.sha256(self.stored).hexdigest()
        stream = chunks.read_chunks(io.BytesIO(self.stored), offset, len(self.stored), sha256)
        for number, chunk in enumerate(stream):
            if self.breaks and number == self.length:
                self.breaks -= 1
                raise UnreachableError("a:1", "connection reset")
            if number == self.spoil:
                self.spoil = -1
                chunk.crc32c ^= 1
            yield chunk


def save(source, path, form=downloads.Form.PLAIN, snapshot=None, **more):
    """Saves without waiting."""
    downloads.save(source, snapshot or make_snapshot(), path, form, sleep=lambda _: None, **more)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("a.heapsnapshot", lambda data: data),
        ("a.heapsnapshot.gz", gzip.decompress),
        ("a.heapsnapshot.zst", lambda data: zstandard.ZstdDecompressor().decompress(data, 1 << 24)),
    ],
)
def test_forms(tmp_path, name, read):
    """The name's end says how the file holds the bytes; only its owner may read it."""
    path = tmp_path / name
    save(Source(), path, downloads.form_of(path))

    assert read(path.read_bytes()) == RAW
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == [name]


def test_breaks_are_taken_up(tmp_path):
    """A stream cut after each chunk goes on at the very byte; no chunk is fetched twice."""
    path, source = tmp_path / "a", Source(breaks=100)
    save(source, path)

    assert path.read_bytes() == RAW
    assert source.offsets == list(range(0, len(STORED), chunks.CHUNK_BYTES))


def test_a_spoilt_chunk_is_asked_for_again(tmp_path):
    """A chunk with a wrong checksum is not written."""
    path, source = tmp_path / "a", Source(spoil=1)
    save(source, path)

    assert path.read_bytes() == RAW
    assert source.offsets == [0, chunks.CHUNK_BYTES]


def test_gives_up_and_keeps_the_part(tmp_path):
    """A source that stays away ends it; the next run takes up the part that is there."""
    path = tmp_path / "a"
    with pytest.raises(UnreachableError):
        save(Source(breaks=downloads.MAX_BREAKS, length=0), path)
    part = tmp_path / "a.part"
    part.write_bytes(STORED[:300_000])
    source = Source()
    save(source, path)

    assert source.offsets == [300_000]
    assert path.read_bytes() == RAW
    assert not part.exists()


def test_a_part_of_something_else(tmp_path):
    """A part file that belongs to another snapshot is thrown away, not believed."""
    path = tmp_path / "a"
    (tmp_path / "a.part").write_bytes(b"y" * 1000)
    source = Source()
    save(source, path)

    assert source.offsets == [1000, 0]
    assert path.read_bytes() == RAW


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"stored_sha256": "0" * 64}, "digest of what came is wrong"),
        ({"raw_sha256": "0" * 64}, "digest of the unpacked bytes is wrong"),
        ({"raw_size_bytes": len(RAW) - 1}, "unpacks to more"),
        ({"raw_size_bytes": len(RAW) + 1}, "digest of the unpacked bytes is wrong"),
    ],
)
def test_lies_leave_no_file(tmp_path, fields, cause):
    """Bytes that are not what the metadata says never get the file's name."""
    path = tmp_path / "a"
    with pytest.raises(downloads.BrokenDownloadError, match=cause):
        save(Source(), path, snapshot=make_snapshot(**fields))

    assert not path.exists()
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".tmp")]


def test_a_bomb_is_stopped_early(tmp_path):
    """A blob that unpacks to far more than announced is stopped before it fills the disk."""
    bomb = zstandard.ZstdCompressor().compress(bytes(200 << 20))
    snapshot = make_snapshot(b"x" * 10, bomb)
    with pytest.raises(downloads.BrokenDownloadError, match="unpacks to more"):
        save(Source(bomb), tmp_path / "a", snapshot=snapshot)


def test_not_zstd(tmp_path):
    """A blob that is no zstd stream is told as such."""
    snapshot = make_snapshot(b"x", b"hello world")
    with pytest.raises(downloads.BrokenDownloadError, match="cannot be unpacked"):
        save(Source(b"hello world"), tmp_path / "a", snapshot=snapshot)


def test_never_overwrites_unasked(tmp_path):
    """A file that exists is refused before a byte is fetched, and replaced when asked."""
    path, source = tmp_path / "a", Source()
    path.write_text("mine")
    with pytest.raises(OverwriteError):
        save(source, path)
    assert (source.offsets, path.read_text()) == ([], "mine")

    save(source, path, overwrite=True)
    assert path.read_bytes() == RAW


def test_never_overwrites_a_late_comer(tmp_path):
    """A file that appears while the download runs is left alone."""
    path = tmp_path / "a"
    with pytest.raises(OverwriteError):
        save(Source(), path, on_progress=lambda *_: path.write_text("mine"))
    assert path.read_text() == "mine"


def test_links_are_not_followed(tmp_path):
    """A link planted at the part's name is not written through."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "a.part").symlink_to(victim)
    with pytest.raises(FileError):
        save(Source(), tmp_path / "a")
    assert victim.read_text() == "precious"


def test_folder_that_is_not_there(tmp_path):
    """A folder that does not exist is named."""
    with pytest.raises(FileError, match="there is no folder"):
        save(Source(), tmp_path / "no" / "a")


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b\0c\n", "", "..", ".hidden", "x" * 300])
def test_file_names_are_tamed(name):
    """The name that a controller gives cannot leave the folder."""
    made = downloads.file_name(Snapshot(id="snap-1", file_name=name), downloads.Form.PLAIN)
    assert made.endswith(".heapsnapshot")
    assert "/" not in made
    assert not made.startswith(".")
    assert len(made) < 200


def test_memory_stays_small(tmp_path):
    """A download of 64 MiB holds a few chunks, not the whole: a frozen figure."""
    import tracemalloc

    raw = os.urandom(1 << 20) * 64
    stored = zstandard.ZstdCompressor(level=1).compress(raw)
    snapshot, source = make_snapshot(raw, stored), Source(stored)
    tracemalloc.start()
    save(source, tmp_path / "a", snapshot=snapshot)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 << 20
