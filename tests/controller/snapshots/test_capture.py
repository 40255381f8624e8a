import asyncio
import dataclasses
import io
import os
import tracemalloc
from pathlib import Path

import grpc
import pytest
import zstandard

from memwatch_controller.api.agents import AgentChannels
from memwatch_controller.api.convert_snapshots import snapshot_from_pb
from memwatch_controller.errors import AgentError, DigestMismatchError, StoreFullError
from memwatch_controller.model import CaptureOrder, CaptureProgress, SnapshotOrigin
from memwatch_controller.snapshots import transfer
from memwatch_controller.snapshots.service import Snapshots
from memwatch_controller.store.blobs import BlobStore, blob_key
from memwatch_proto.chunks import read_chunks
from memwatch_proto.status import Failure, Reason
from memwatch_proto.v1 import agents_pb2, snapshots_pb2
from tests.controller.snapshots.conftest import HASTE
from tests.fakes.agent import FakeAgent, serving
from tests.support.cutting_proxy import cutting_proxy

ORDER = CaptureOrder(request_id="s-1.t-1.before", target_id="t-1", session_id="s-1", phase="before")


def heap(size: int = 600_000) -> bytes:
    """Bytes that hardly compress."""
    return b'{"snapshot":"' + os.urandom(size // 2).hex().encode() + b'"}'


def files(tmp_path: Path) -> list[str]:
    folder = tmp_path / "blobs"
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


async def stored_raw(snapshots: Snapshots, snapshot) -> bytes:
    stored = b"".join([piece async for piece in snapshots.read(snapshot)])
    return zstandard.ZstdDecompressor().decompressobj().decompress(stored)


async def test_a_snapshot_is_taken_stored_and_discarded(snapshots, rows, tmp_path):
    """The whole road: progress, bytes, digests, row, and the agent's spool is free again."""
    agent = FakeAgent(raw=heap())
    seen: list[CaptureProgress] = []
    async with serving(agent) as port:
        snapshot = await snapshots.capture(f"127.0.0.1:{port}", ORDER, seen.append)
    assert await stored_raw(snapshots, snapshot) == agent.raw
    assert (snapshot.session_id, snapshot.phase, snapshot.target_id) == ("s-1", "before", "t-1")
    assert await rows.get_snapshot(snapshot.id) == snapshot
    assert [progress.stage for progress in seen] == ["capturing"]
    assert agent.discarded == [snapshot.id]
    assert files(tmp_path) == [blob_key(snapshot.id, snapshot.stored_sha256)]


async def test_the_same_order_twice_is_one_snapshot(snapshots):
    """A second call with the same request id neither takes nor moves a byte."""
    agent = FakeAgent(raw=heap())
    async with serving(agent) as port:
        first = await snapshots.capture(f"127.0.0.1:{port}", ORDER)
        second = await snapshots.capture(f"127.0.0.1:{port}", ORDER)
    assert first == second
    assert agent.captures == [ORDER.request_id]
    assert agent.calls == ["Capture", "Stream@0"]


async def test_two_callers_at_once_share_one_capture(snapshots):
    """Tasks that ask for the same request at the same time get the same snapshot."""
    agent = FakeAgent(raw=heap())
    async with serving(agent) as port:
        both = await asyncio.gather(
            *(snapshots.capture(f"127.0.0.1:{port}", ORDER) for _ in range(2))
        )
    assert both[0] == both[1]
    assert agent.calls == ["Capture", "Stream@0"]


async def test_a_way_that_is_cut_50_times_ends_with_the_right_digest(snapshots):
    """Received bytes are kept over 50 cuts; the rest is asked for where the last one ended."""
    # At most two chunks pass before a cut, so that 30 MB need more than 50 tries.
    agent = FakeAgent(raw=b'{"s":"' + os.urandom(30_000_000) + b'"}')
    async with serving(agent) as port, cutting_proxy(port, cut_after=600_000, cuts=50) as proxy:
        snapshot = await snapshots.capture(proxy.address, ORDER)
        assert proxy.cuts == 50
    assert await stored_raw(snapshots, snapshot) == agent.raw
    offsets = [int(call.split("@")[1]) for call in agent.calls if call.startswith("Stream")]
    assert offsets == sorted(offsets)
    assert agent.captures == [ORDER.request_id]


async def test_a_capture_is_joined_after_a_cut(snapshots):
    """A way that is cut while the agent works finds the same capture again, and a note tells it."""
    hold, events = asyncio.Event(), []
    agent = FakeAgent(raw=heap(), hold=hold)
    async with serving(agent) as port, cutting_proxy(port, cut_after=None) as proxy:
        cut_once = asyncio.Event()

        def on_progress(progress):
            events.append(progress)
            (hold if cut_once.is_set() else cut_once).set()

        running = asyncio.create_task(snapshots.capture(proxy.address, ORDER, on_progress))
        await cut_once.wait()
        await proxy.stop()
        taken = await running
    assert taken.notes[-1].startswith("not had at the first try: cannot reach the agent at ")
    assert len(events) == 2
    assert agent.captures == [ORDER.request_id]


async def test_an_agent_that_is_not_there_is_told_as_transient(snapshots, tmp_path):
    """Nobody at the address: one line with the address, and a later try makes sense."""
    with pytest.raises(AgentError, match=r"cannot reach the agent at '127\.0\.0\.1:1'") as caught:
        await snapshots.capture("127.0.0.1:1", ORDER)
    assert caught.value.transient
    assert caught.value.reason == "TARGET_UNREACHABLE"
    assert files(tmp_path) == []


async def test_the_agents_refusal_is_passed_on(snapshots):
    """What the agent says, with its reason and facts, is what the caller gets; at once."""
    refusal = Failure(
        grpc.StatusCode.FAILED_PRECONDITION,
        Reason.HEADROOM,
        "cannot take a snapshot of pid 7: it needs 800 bytes and 100 are free; use --force",
        {"needed_bytes": "800"},
    )
    agent = FakeAgent(failure=refusal)
    async with serving(agent) as port:
        with pytest.raises(AgentError, match="needs 800 bytes") as caught:
            await snapshots.capture(f"127.0.0.1:{port}", ORDER)
    assert (caught.value.reason, caught.value.transient) == ("HEADROOM", False)
    assert caught.value.facts == {"needed_bytes": "800"}
    assert agent.calls == ["Capture"]


async def test_a_wrong_token_is_no_cut_way(rows, blobs):
    """An agent with another token answers UNAUTHENTICATED and is not asked again."""
    channels = AgentChannels("wrong")
    service = Snapshots(rows, blobs, channels, now=lambda: 1, patience=HASTE)
    async with serving(FakeAgent(), token="right") as port:
        with pytest.raises(AgentError, match="token") as caught:
            await service.capture(f"127.0.0.1:{port}", ORDER)
    await channels.close()
    assert (caught.value.reason, caught.value.transient) == ("UNAUTHENTICATED", False)


async def test_agents_on_unix_sockets_are_dialled(rows, blobs, tmp_path):
    """An address may be a Unix socket; the token goes with the call."""
    channels = AgentChannels("right")
    service = Snapshots(rows, blobs, channels, now=lambda: 1, patience=HASTE)
    address = f"unix:{tmp_path}/agent.sock"
    async with serving(FakeAgent(), address, token="right"):
        assert (await service.capture(address, ORDER)).raw_size_bytes == len(b'{"snapshot":{}}')
    await channels.close()


def changed(**fields):
    def announce(snapshot: snapshots_pb2.Snapshot) -> None:
        for name, value in fields.items():
            setattr(snapshot, name, value)

    return announce


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"raw_size_bytes": 1_000_000}, "decompressed bytes 15, expected 1000000"),
        ({"raw_size_bytes": 3}, "got decompressed bytes: more than 3, expected at most 3"),
        ({"raw_sha256": "0" * 64}, "decompressed SHA-256"),
        ({"stored_sha256": "0" * 64}, "SHA-256"),
        ({"stored_size_bytes": 5}, "got received bytes: more than 5"),
        ({"stored_size_bytes": 0}, "between 1 and"),
        ({"stored_size_bytes": 1 << 60}, "between 1 and"),
        ({"raw_size_bytes": 1 << 60}, "before compression"),
        ({"stored_sha256": "../../etc/passwd"}, "64 hex digits"),
        ({"request_id": "another"}, "got request 'another'"),
        ({"id": "../../x"}, "is not an id of ours"),
        ({"id": ""}, "is not an id of ours"),
    ],
)
async def test_a_lying_agent_is_found_out(snapshots, rows, tmp_path, fields, words):
    """Whatever figure an agent lies about: one clear line, no row, no blob."""
    agent = FakeAgent(announce=changed(**fields))
    async with serving(agent) as port:
        with pytest.raises(Exception, match="cannot") as caught:
            await snapshots.capture(f"127.0.0.1:{port}", ORDER)
    assert words in str(caught.value)
    assert await rows.find_snapshot_by_request(ORDER.request_id) is None
    assert files(tmp_path) == []
    assert agent.discarded == []


async def test_a_bomb_is_stopped_at_the_announced_size(snapshots, tmp_path):
    """Bytes that decompress to gigabytes are refused once they pass what was announced."""
    agent = FakeAgent(raw=bytes(64 * 1024 * 1024), announce=changed(raw_size_bytes=1000))
    async with serving(agent) as port:
        with pytest.raises(DigestMismatchError, match="got decompressed bytes: more than 1000"):
            await snapshots.capture(f"127.0.0.1:{port}", ORDER)
    assert files(tmp_path) == []


async def test_an_endless_stream_is_stopped(snapshots):
    """A stream that goes on after its announced end is cut off there."""

    def endless(snapshot, stored, offset):
        while True:
            for chunk in read_chunks(io.BytesIO(stored), 0, len(stored), ""):
                chunk.offset_bytes = offset
                offset += len(chunk.data)
                yield chunk

    async with serving(FakeAgent(raw=heap(), chunks=endless)) as port:
        with pytest.raises(DigestMismatchError, match="got received bytes: more than"):
            await snapshots.capture(f"127.0.0.1:{port}", ORDER)


async def test_a_stream_of_signs_of_life_only_is_given_up(snapshots):
    """Empty chunks for ever are no progress."""

    def empty(snapshot, stored, offset):
        while True:
            yield snapshots_pb2.Chunk(offset_bytes=offset)

    async with serving(FakeAgent(chunks=empty)) as port:
        with pytest.raises(AgentError, match="empty pieces in a row"):
            await snapshots.capture(f"127.0.0.1:{port}", ORDER)


@pytest.mark.parametrize("size", [300 * 1024, 5 * 1024 * 1024])
async def test_a_huge_chunk_is_refused(snapshots, size):
    """A chunk above 256 KiB is not taken, whether gRPC or we notice."""

    def huge(snapshot, stored, offset):
        yield snapshots_pb2.Chunk(offset_bytes=0, data=bytes(size))

    async with serving(FakeAgent(chunks=huge)) as port:
        with pytest.raises(AgentError):
            await snapshots.capture(f"127.0.0.1:{port}", ORDER)


async def test_a_corrupted_chunk_is_asked_for_again(snapshots):
    """A wrong checksum counts as a cut: the chunk comes again, the snapshot is right."""
    spoilt = iter([True])

    def corrupt(snapshot, stored, offset):
        for chunk in read_chunks(io.BytesIO(stored), offset, len(stored), snapshot.stored_sha256):
            if next(spoilt, False):
                chunk.crc32c ^= 1
            yield chunk

    agent = FakeAgent(raw=heap(), chunks=corrupt)
    async with serving(agent) as port:
        snapshot = await snapshots.capture(f"127.0.0.1:{port}", ORDER)
    assert await stored_raw(snapshots, snapshot) == agent.raw


async def test_a_snapshot_id_of_another_is_not_overwritten(snapshots):
    """An agent that reuses an id cannot replace what is stored under it."""
    agent = FakeAgent(raw=heap(), announce=changed(id="n-same"))
    async with serving(agent) as port:
        first = await snapshots.capture(f"127.0.0.1:{port}", ORDER)
        other = dataclasses.replace(ORDER, request_id="s-2.t-1.before")
        with pytest.raises(DigestMismatchError, match="an id that is taken"):
            await snapshots.capture(f"127.0.0.1:{port}", other)
    assert await stored_raw(snapshots, first) == agent.raw


@pytest.mark.parametrize("step", ["commit", "insert", "discard"])
async def test_dying_between_two_steps_loses_nothing_and_takes_nothing_twice(
    step, snapshots, rows, blobs, channels, tmp_path, monkeypatch
):
    """Whatever step a controller died at, its successor ends with one snapshot, one blob."""

    class DiedError(Exception):
        pass

    async def die(*args, **kwargs):
        raise DiedError

    agent = FakeAgent(raw=heap())
    owner = {"commit": blobs, "insert": rows, "discard": channels}[step]
    name = {"commit": "commit", "insert": "insert_snapshot", "discard": "discard"}[step]
    async with serving(agent) as port:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, die)
            with pytest.raises(DiedError):
                await snapshots.capture(f"127.0.0.1:{port}", ORDER)
        blobs = BlobStore.open(str(tmp_path / "blobs"), tmp_path, reserve_bytes=0)
        again = Snapshots(rows, blobs, channels, now=lambda: 1, patience=HASTE)
        snapshot = await again.capture(f"127.0.0.1:{port}", ORDER)
    assert agent.captures == [ORDER.request_id]
    assert agent.discarded == [snapshot.id]
    assert files(tmp_path) == [blob_key(snapshot.id, snapshot.stored_sha256)]
    assert await stored_raw(again, snapshot) == agent.raw


async def test_a_full_store_leaves_the_snapshot_with_the_agent(rows, channels, tmp_path):
    """STORE_FULL: nothing partial here, and nothing is lost there; room made, it is pulled."""
    full = BlobStore.open(str(tmp_path / "blobs"), tmp_path, reserve_bytes=1 << 60)
    service = Snapshots(rows, full, channels, now=lambda: 1, patience=HASTE)
    agent = FakeAgent(raw=heap())
    async with serving(agent) as port:
        with pytest.raises(StoreFullError, match="0 are free; delete snapshots"):
            await service.capture(f"127.0.0.1:{port}", ORDER)
        assert (files(tmp_path), agent.discarded) == ([], [])
        roomy = BlobStore.open(str(tmp_path / "blobs"), tmp_path, reserve_bytes=0)
        service = Snapshots(rows, roomy, channels, now=lambda: 1, patience=HASTE)
        await service.capture(f"127.0.0.1:{port}", ORDER)
    assert agent.captures == [ORDER.request_id]


async def test_a_capture_that_never_ends_is_given_up(snapshots, monkeypatch):
    """After the order's timeout and a margin the caller gets an error, not silence."""
    monkeypatch.setattr(transfer, "TIMEOUT_MARGIN_SECONDS", 0)
    order = dataclasses.replace(ORDER, timeout_millis=200)
    async with serving(FakeAgent(hold=asyncio.Event())) as port:
        with pytest.raises(AgentError, match="ask for a longer timeout") as caught:
            await snapshots.capture(f"127.0.0.1:{port}", order)
    assert caught.value.reason == "DEADLINE_EXCEEDED"


async def test_what_nobody_waits_for_is_discarded(snapshots):
    """An agent drops the spooled snapshots of one session, and keeps the others."""
    agent = FakeAgent()
    async with serving(agent) as port:
        address = f"127.0.0.1:{port}"
        for session in ("s-1", "s-2"):
            agent.take(agents_pb2.CaptureRequest(request_id=f"{session}.x", session_id=session))
        await snapshots.discard_spooled(address, "s-1")
    assert [snapshot.session_id for snapshot, _ in agent.spool.values()] == ["s-2"]


async def test_what_is_safe_is_discarded_when_an_agent_connects_again(snapshots):
    """A spool that still holds a stored snapshot is freed; an unknown one is kept."""
    agent = FakeAgent()
    async with serving(agent) as port:
        address = f"127.0.0.1:{port}"
        stored = await snapshots.capture(address, ORDER)
        agent.discarded.clear()
        unknown = dataclasses.replace(stored, id="n-9", request_id="r-9")
        await snapshots.discard_stored(address, [stored, unknown])
    assert agent.discarded == [stored.id]


async def test_what_a_dying_process_wrote_is_brought_in_once(snapshots, rows):
    """Of what is spooled, the snapshot of a heap's limit; what somebody asked for is left."""
    agent = FakeAgent()
    async with serving(agent) as port:
        address = f"127.0.0.1:{port}"
        for request in ("sampled.t-1.17", "r-asked"):
            agent.take(agents_pb2.CaptureRequest(request_id=request, target_id="t-1"))
        left, asked = (snapshot_from_pb(message) for message, _ in agent.spool.values())
        left = dataclasses.replace(left, origin=SnapshotOrigin.NEAR_LIMIT)
        await snapshots.take_in(address, [left, asked])
        await snapshots.take_in(address, [left])
    assert await rows.find_snapshot_by_request("sampled.t-1.17") is not None
    assert await rows.find_snapshot_by_request("r-asked") is None
    assert set(agent.discarded) == {left.id}


async def test_memory_does_not_grow_with_the_snapshot(snapshots):
    """A snapshot of 40 MB passes through a few chunks' worth of memory."""
    agent = FakeAgent(raw=b'{"s":"' + os.urandom(20_000_000).hex().encode() + b'"}')
    agent.take(agents_pb2.CaptureRequest(request_id=ORDER.request_id, target_id="t-1"))
    async with serving(agent) as port:
        tracemalloc.start()
        try:
            await snapshots.capture(f"127.0.0.1:{port}", ORDER)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 8 * 1024 * 1024
