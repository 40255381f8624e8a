"""How a blob crosses a call: chunks with a checksum each and a digest at the end."""

import hashlib
from collections.abc import Iterator
from typing import BinaryIO, Protocol

import google_crc32c

from memwatch_proto.v1 import snapshots_pb2

#: Larger chunks were measured slower: docs/decisions/0003-chunk-size.md.
CHUNK_BYTES = 256 * 1024


class Digest(Protocol):
    """What hashlib's digests can do."""

    def update(self, data: bytes, /) -> None:
        """Takes in more bytes."""

    def hexdigest(self) -> str:
        """The digest so far, lower-case hex."""


class ChunkError(Exception):
    """A chunk that is not what its sender said; the blob must be asked for again."""


def read_chunks(
    file: BinaryIO, offset: int, total_size: int, sha256: str
) -> Iterator[snapshots_pb2.Chunk]:
    """The chunks of a file from `offset` on; the last one carries the digest.

    One chunk is held at a time. A file shorter than `total_size` ends the stream
    without a digest, so the receiver knows that it is cut.
    """
    file.seek(offset)
    while True:
        data = file.read(min(CHUNK_BYTES, total_size - offset))
        end = offset + len(data)
        yield snapshots_pb2.Chunk(
            offset_bytes=offset,
            data=data,
            crc32c=google_crc32c.value(data),
            sha256=sha256 if end == total_size else "",
            total_size_bytes=total_size,
        )
        if end == total_size or not data:
            return
        offset = end


def checked_data(chunk: snapshots_pb2.Chunk, offset: int) -> bytes:
    """The data of a chunk that must start at `offset`.

    Raises:
        ChunkError: it starts elsewhere, is too long, or its checksum is wrong.
    """
    if chunk.offset_bytes != offset:
        raise ChunkError(f"chunk starts at {chunk.offset_bytes}, expected {offset}")
    if len(chunk.data) > CHUNK_BYTES:
        raise ChunkError(f"chunk of {len(chunk.data)} bytes, expected at most {CHUNK_BYTES}")
    if google_crc32c.value(chunk.data) != chunk.crc32c:
        raise ChunkError(f"checksum of the chunk at {offset} is wrong")
    return chunk.data


def new_digest() -> Digest:
    """An empty SHA-256."""
    return hashlib.sha256()
