"""Decompresses a stored snapshot while it is read, in bounded pieces, off the loop."""

import asyncio
import io
from collections.abc import AsyncIterator
from typing import BinaryIO, cast

import zstandard

from memwatch_controller.errors import BlobLostError
from memwatch_proto.chunks import CHUNK_BYTES

#: Bytes handed out at once; all that is held, however well the blob was compressed.
_PIECE_BYTES = 4 * CHUNK_BYTES

_MAX_WINDOW_BYTES = 1 << 27


class _Pull(io.RawIOBase):
    """A file whose reads, made in a thread, are answered by an iterator of the loop."""

    def __init__(self, pieces: AsyncIterator[bytes], loop: asyncio.AbstractEventLoop) -> None:
        self._pieces = pieces
        self._loop = loop

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        return asyncio.run_coroutine_threadsafe(self._next(), self._loop).result()

    async def _next(self) -> bytes:
        return await anext(self._pieces, b"")


async def unpacked(
    stored: AsyncIterator[bytes], name: str, start: int, end: int
) -> AsyncIterator[bytes]:
    """The bytes from `start` to `end` of what `stored` is when decompressed.

    Raises:
        BlobLostError: it is no sound zstd stream, or shorter than `end`.
    """
    context = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
    pull = _Pull(stored, asyncio.get_running_loop())
    reader = context.stream_reader(cast(BinaryIO, pull), read_across_frames=True)
    at = 0
    while at < end:
        try:
            data = await asyncio.to_thread(reader.read, _PIECE_BYTES)
        except zstandard.ZstdError as error:
            raise BlobLostError(name, f"it cannot be decompressed ({error})") from error
        if not data:
            raise BlobLostError(name, f"it ends after {at} of {end} decompressed bytes")
        piece = data[max(0, start - at) : end - at]
        at += len(data)
        if piece:
            yield piece
