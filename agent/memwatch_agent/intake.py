"""Takes a snapshot's bytes from a driver into the spool: off the event loop, in constant memory."""

import asyncio

from memwatch_agent.spool import Blob, Writer

#: Bytes are handed to a thread in pieces of this size: a hand-over costs as much as
#: compressing some 50 KiB. Two pieces exist at most, one filling and one being written.
BATCH_BYTES = 1024 * 1024


class Intake:
    """A driver's sink: returns at once until the disk is behind by one batch."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._batch: list[bytes] = []
        self._size = 0
        self._writing: asyncio.Task[None] | None = None
        self.received_bytes = 0

    async def take(self, data: bytes) -> None:
        """Takes the next bytes.

        Raises:
            SpoolFullError: the spool has no room for bytes given before.
        """
        self._batch.append(data)
        self._size += len(data)
        self.received_bytes += len(data)
        if self._size >= BATCH_BYTES:
            await self._flush()

    async def finish(self) -> Blob:
        """Waits until every byte is on the disk.

        Raises:
            SpoolFullError: the spool has no room for them.
        """
        await self._flush()
        await self._written()
        return await asyncio.to_thread(self._writer.finish)

    async def abort(self) -> None:
        """Removes what was written, after a write that still runs."""
        if self._writing is not None:
            await asyncio.wait([self._writing])
            if not self._writing.cancelled():
                self._writing.exception()  # seen; there is nothing to say about it any more
        await asyncio.to_thread(self._writer.abort)

    async def _flush(self) -> None:
        await self._written()
        batch, self._batch, self._size = self._batch, [], 0
        self._writing = asyncio.create_task(asyncio.to_thread(self._write, batch))

    async def _written(self) -> None:
        """Waits for the write that runs; a cancel does not stop it half-way."""
        if self._writing is not None:
            await asyncio.shield(self._writing)

    def _write(self, batch: list[bytes]) -> None:
        for data in batch:
            self._writer.write(data)
