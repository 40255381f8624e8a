import gzip
import hashlib
import io
import random

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from memwatch_controller.store.intake import Encoding, Intake, IntakeError

MANY = 1 << 30


def encoded(raw: bytes, encoding: Encoding) -> bytes:
    if encoding is Encoding.ZSTD:
        return zstandard.ZstdCompressor(level=3).compress(raw)
    return gzip.compress(raw) if encoding is Encoding.GZIP else raw


def intake(file, encoding=Encoding.ZSTD, incoming_limit=MANY, raw_limit=MANY) -> Intake:
    return Intake(file, encoding, incoming_limit=incoming_limit, raw_limit=raw_limit)


@given(
    raw=st.binary(max_size=5_000),
    encoding=st.sampled_from(list(Encoding)),
    cuts=st.lists(st.integers(0, 5_000), max_size=5),
)
def test_facts_are_those_of_the_whole_however_it_comes(raw, encoding, cuts):
    """Whatever the encoding and the pieces, raw and stored facts are those of the whole."""
    file, data = io.BytesIO(), encoded(raw, encoding)
    taker = intake(file, encoding)
    edges = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    for start, end in zip(edges, [*edges[1:], len(data)], strict=True):
        taker.feed(data[start:end])
    facts = taker.finish()
    stored = file.getvalue()
    assert zstandard.ZstdDecompressor().decompressobj().decompress(stored) == raw
    assert (facts.raw_size_bytes, facts.raw_sha256) == (
        len(raw),
        hashlib.sha256(raw).hexdigest(),
    )
    assert (facts.stored_size_bytes, facts.stored_sha256) == (
        len(stored),
        hashlib.sha256(stored).hexdigest(),
    )
    assert taker.received == len(data)
    assert taker.incoming_sha256 == hashlib.sha256(data).hexdigest()


def test_zstd_is_kept_as_it_came():
    """What is zstd already is not compressed again."""
    file, data = io.BytesIO(), encoded(b"abc" * 1000, Encoding.ZSTD)
    taker = intake(file)
    taker.feed(data)
    taker.finish()
    assert file.getvalue() == data


@pytest.mark.parametrize("encoding", [Encoding.ZSTD, Encoding.GZIP])
def test_bomb_is_refused_after_one_piece(encoding):
    """Bytes that decompress to more than announced are refused while they come, not held."""
    bomb = encoded(bytes(256 * 1024 * 1024), encoding)
    taker = intake(io.BytesIO(), encoding, raw_limit=1_000)
    with pytest.raises(IntakeError) as caught:
        taker.feed(bomb[: 64 * 1024])
    assert str(caught.value) == "decompressed bytes: got more than 1000, expected at most 1000"


def test_gzip_bomb_within_limits_is_decompressed_piece_by_piece():
    """No piece that a decoder hands on is larger than 1 MiB."""
    sizes = []

    class File(io.BytesIO):
        def write(self, data):
            sizes.append(len(data))
            return len(data)

    taker = intake(File(), Encoding.GZIP)
    taker.feed(encoded(bytes(64 * 1024 * 1024), Encoding.GZIP))
    assert taker.finish().raw_size_bytes == 64 * 1024 * 1024
    assert max(sizes) < 1024 * 1024


def test_endless_sender_is_stopped_at_its_limit():
    """More bytes than announced are refused with both numbers."""
    taker = intake(io.BytesIO(), Encoding.PLAIN, incoming_limit=10)
    taker.feed(b"0123456789")
    with pytest.raises(IntakeError, match="received bytes: got more than 10, expected at most 10"):
        taker.feed(b"!")


@pytest.mark.parametrize("encoding", [Encoding.ZSTD, Encoding.GZIP])
def test_what_cannot_be_decompressed_is_refused(encoding):
    """Garbage under the name of an encoding is refused, not raised through."""
    with pytest.raises(IntakeError, match="expected a sound stream"):
        intake(io.BytesIO(), encoding).feed(b"this is no compressed stream at all")


def test_gzip_of_several_members_is_one_snapshot():
    """Concatenated gzip members decompress to the concatenation, as gunzip does it."""
    taker = intake(io.BytesIO(), Encoding.GZIP)
    taker.feed(gzip.compress(b"{") + gzip.compress(b"}"))
    assert taker.finish().raw_sha256 == hashlib.sha256(b"{}").hexdigest()
    taker.check_document()


@pytest.mark.parametrize(
    ("raw", "whole"),
    [
        (b'{"snapshot":1}', True),
        (b' \n{"a":1}\n' + b" " * 10, True),
        (b'{"a":1', False),
        (b"", False),
        (b"\x7fELF", False),
        (b"[{}]", False),
    ],
)
def test_only_a_whole_json_object_is_a_document(raw, whole):
    """A truncated file, or one of another kind, is not taken for a snapshot."""
    taker = intake(io.BytesIO(), Encoding.PLAIN)
    for byte in raw:
        taker.feed(bytes([byte]))
    if whole:
        taker.check_document()
    else:
        with pytest.raises(IntakeError, match=r"whole \.heapsnapshot"):
            taker.check_document()


def test_truncated_zstd_is_no_document():
    """A compressed upload that was cut is noticed although each of its bytes is right."""
    raw = b'{"a":"' + random.Random(1).randbytes(300_000).hex().encode() + b'"}'
    taker = intake(io.BytesIO())
    taker.feed(encoded(raw, Encoding.ZSTD)[:-5])
    with pytest.raises(IntakeError, match=r"whole \.heapsnapshot"):
        taker.check_document()
