"""A faulty way between two programs: a TCP proxy that cuts connections after so many bytes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class CuttingProxy:
    """Forwards to a TCP port of loopback and cuts what comes back.

    Attributes:
        port: where it listens, on loopback.
        cut_after: bytes from the server after which a connection ends; None: never.
        cuts_left: how many more connections are cut; then the way is good.
        cuts: how many were cut.
        connections: how many were made.
    """

    def __init__(self, upstream_port: int, cut_after: int | None, cuts: int) -> None:
        self.port = 0
        self.cut_after = cut_after
        self.cuts_left = cuts
        self.cuts = 0
        self.connections = 0
        self._upstream_port = upstream_port
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        """Where to dial it."""
        return f"127.0.0.1:{self.port}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side ends it or it is cut."""
        self.connections += 1
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        except OSError:
            writer.transport.abort()
            return
        forth = asyncio.create_task(_copy(reader, up_writer))
        try:
            await self._back(up_reader, writer)
        finally:
            forth.cancel()
            up_writer.transport.abort()
            writer.close()  # what was forwarded still arrives, as from a peer that died

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        limit = self.cut_after if self.cuts_left > 0 else None
        with contextlib.suppress(OSError):
            while data := await reader.read(16 * 1024):
                if limit is not None:
                    limit -= len(data)
                    if limit < 0:
                        self.cuts += 1
                        self.cuts_left -= 1
                        return
                writer.write(data)
                await writer.drain()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Starts a connection's task."""
        task = asyncio.create_task(self.handle(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Cuts every connection."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(16 * 1024):
            writer.write(data)
            await writer.drain()


@contextlib.asynccontextmanager
async def cutting_proxy(
    upstream_port: int, cut_after: int | None, cuts: int = 1_000_000
) -> AsyncIterator[CuttingProxy]:
    """A proxy in front of a port that runs for the length of the block."""
    proxy = CuttingProxy(upstream_port, cut_after, cuts)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.stop()
