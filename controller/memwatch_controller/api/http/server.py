"""Serves the application with uvicorn, in the loop that gRPC runs in."""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import structlog
import uvicorn

from memwatch_controller.errors import StartError

#: Streams that are open longer after SIGTERM are cut; their readers come again.
_STOP_SECONDS = 2

#: Requests and streams at once.
_MAX_CONNECTIONS = 1_000

#: A connection that asks nothing is closed after this.
_KEEP_ALIVE_SECONDS = 30

_BACKLOG = 512

#: How often the certificate's files are looked at; Kubernetes writes mounted secrets once a minute.
RENEW_SECONDS = 5.0

_log = structlog.get_logger()


@contextlib.asynccontextmanager
async def http_server(
    address: str, application: Any, cert: Path | None, key: Path | None
) -> AsyncIterator[None]:
    """Serves at "host:port" or "unix:/path" for the length of the block.

    Raises:
        StartError: the address cannot be bound, or the certificate cannot be used.
    """
    listener = _listen(address)
    config = uvicorn.Config(
        application,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        ws="none",
        limit_concurrency=_MAX_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_STOP_SECONDS,
        ssl_certfile=None if cert is None else str(cert),
        ssl_keyfile=None if key is None else str(key),
    )
    server = _Server(config)
    try:
        config.load()
    except (OSError, ValueError) as error:
        listener.close()
        raise StartError("--tls-cert", f"{error}; pass a PEM certificate and its key") from error
    task = asyncio.create_task(server.serve(sockets=[listener]))
    renewing = asyncio.create_task(_renewed(config.ssl, cert, key)) if cert and key else None
    try:
        await asyncio.wait(
            {task, asyncio.ensure_future(server.up.wait())}, return_when=asyncio.FIRST_COMPLETED
        )
        yield
    finally:
        if renewing:
            renewing.cancel()
        server.should_exit = True
        await task
        listener.close()
        if address.startswith("unix:"):
            with contextlib.suppress(OSError):
                os.unlink(address.removeprefix("unix:"))


async def _renewed(context: ssl.SSLContext | None, cert: Path, key: Path) -> None:
    """Takes up a certificate that was renewed in its files: new connections get the new one."""
    assert context
    seen = _written(cert, key)
    while True:
        await asyncio.sleep(RENEW_SECONDS)
        now = _written(cert, key)
        if now == seen:
            continue
        try:
            context.load_cert_chain(cert, key)
        except (OSError, ssl.SSLError) as error:  # half written: the next look has both
            _log.warning("renewed certificate not taken up", cause=str(error))
        else:
            seen = now
            _log.info("renewed certificate taken up")


def _written(*files: Path) -> list[int]:
    """When each file was written last; 0 where it is not there."""
    found = []
    for file in files:
        try:
            found.append(file.stat().st_mtime_ns)
        except OSError:
            found.append(0)
    return found


class _Server(uvicorn.Server):
    """Says when it is up, and leaves the process's signals to the program."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts, and says so."""
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Does not."""
        yield


def _listen(address: str) -> socket.socket:
    """A listening socket; a Unix one is for its owner alone, and replaces a dead one."""
    try:
        if address.startswith("unix:"):
            return _listen_unix(Path(address.removeprefix("unix:")))
        host, _, port = address.rpartition(":")
        family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host.strip("[]"), int(port)))
    except OSError as error:
        cause = f"{error.strerror or error}; see whether another controller runs there"
        raise StartError(f"--http-listen '{address}'", cause) from error
    return listener


def _listen_unix(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)
    try:
        if path.is_socket() and not _answers(path):
            path.unlink()
        listener.bind(str(path))
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(mask)
    return listener


def _answers(path: Path) -> bool:
    """Whether somebody listens at a socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
