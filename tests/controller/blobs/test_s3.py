"""Blobs in a real S3: the same promises as in a directory."""

import os
from pathlib import Path

import pytest

from memwatch_controller.analysis.runner import Limits, Runner
from memwatch_controller.api.agents import AgentChannels
from memwatch_controller.errors import BlobLostError, StoreFullError, StoreUnavailableError
from memwatch_controller.model import CaptureOrder
from memwatch_controller.reports import Reports
from memwatch_controller.snapshots.service import Snapshots
from memwatch_controller.store.blobs import BlobStore, blob_key
from memwatch_controller.store.database import open_database
from memwatch_controller.store.intake import Encoding
from memwatch_controller.store.metadata import Metadata
from memwatch_heap.testing import HeapBuilder
from tests.fakes.agent import FakeAgent, serving
from tests.support import s3

pytestmark = pytest.mark.skipif(bool(s3.missing()), reason=s3.missing())

#: More than one part of a multipart upload (5 MiB).
RAW = b"{" + os.urandom(12_000_000) + b"}"


@pytest.fixture(scope="module")
def server():
    """A real server."""
    with s3.s3_server() as found:
        yield found


@pytest.fixture
def blobs(server, tmp_path, monkeypatch) -> BlobStore:
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    return BlobStore.open(server.url, tmp_path, reserve_bytes=0)


async def put(blobs: BlobStore, snapshot_id: str) -> tuple[str, int]:
    async with blobs.begin("it", Encoding.PLAIN) as part:
        for start in range(0, len(RAW), 1_000_000):
            await part.append(RAW[start : start + 1_000_000])
        facts = await part.close()
        key = blob_key(snapshot_id, facts.stored_sha256)
        await blobs.commit(part, key)
    return key, facts.stored_size_bytes


def staged(tmp_path: Path) -> list[str]:
    return [path.name for path in (tmp_path / "incoming").iterdir()]


async def test_blobs_go_up_in_parts_and_come_down_in_ranges(blobs, tmp_path):
    """A blob of several parts reads back whole and from any offset; nothing stays staged."""
    key, size = await put(blobs, "n-1")
    whole = b"".join([piece async for piece in blobs.read(key, size)])
    assert len(whole) == size == await blobs.size(key)
    part = b"".join([piece async for piece in blobs.read(key, size, 6_000_000, 300_000)])
    assert part == whole[6_000_000:6_300_000]
    async with blobs.local(key, size) as path:
        assert path.read_bytes() == whole
    assert staged(tmp_path) == []


async def test_a_deleted_blob_is_lost(blobs):
    """As in a directory: deleting twice is no error, reading is."""
    key, size = await put(blobs, "n-2")
    await blobs.delete(key)
    await blobs.delete(key)
    with pytest.raises(BlobLostError):
        _ = [piece async for piece in blobs.read(key, size)]


async def test_a_bucket_that_is_not_there_is_told(server, tmp_path, monkeypatch):
    """One line with the cause, and the part is removed."""
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    blobs = BlobStore.open("s3://no-such-bucket-here", tmp_path, reserve_bytes=0)
    with pytest.raises(StoreUnavailableError, match="--blob-url") as caught:
        await put(blobs, "n-3")
    assert "\n" not in str(caught.value)
    assert staged(tmp_path) == []


async def test_a_server_that_does_not_answer_is_told(tmp_path, monkeypatch, server):
    """Nobody at the endpoint: one line, soon enough for a probe."""
    for name, value in (server.env | {"AWS_ENDPOINT": "http://127.0.0.1:1"}).items():
        monkeypatch.setenv(name, value)
    blobs = BlobStore.open("s3://snapshots", tmp_path, reserve_bytes=0)
    with pytest.raises(StoreUnavailableError):
        await blobs.check()


async def test_a_copy_that_does_not_fit_is_refused(blobs, server, tmp_path):
    """Analysis needs the blob on a local disk: a full one is STORE_FULL."""
    key, size = await put(blobs, "n-4")
    full = BlobStore.open(server.url, tmp_path, reserve_bytes=1 << 60)
    with pytest.raises(StoreFullError):
        async with full.local(key, size):
            pass


async def test_a_capture_ends_in_s3_and_is_read_from_there(blobs, tmp_path):
    """The whole road with a remote store: pulled over cuts, put, and handed to analysis."""
    database = await open_database(f"sqlite:///{tmp_path}/metadata.sqlite")
    metadata, channels = Metadata(database), AgentChannels("")
    snapshots = Snapshots(metadata, blobs, channels, now=lambda: 1)
    heap = HeapBuilder()
    heap.node("object", "Report", size=64, held_by=0)
    agent = FakeAgent(raw=heap.text())
    async with serving(agent) as port:
        address = f"127.0.0.1:{port}"
        ids = [
            (await snapshots.capture(address, CaptureOrder(f"s-1.t-1.{phase}", "t-1"))).id
            for phase in ("before", "after")
        ]
    reports = Reports(metadata, blobs, Runner(Limits()), now=lambda: 1)
    report = await reports.get(await reports.compare("s-1", "t-1", ids))
    assert "No class grew" in report.summary
    assert staged(tmp_path) == []
    await channels.close()
    await database.close()
