import asyncio
import socket
import ssl
import stat

import httpx
import pytest

from memwatch_controller.api.http.server import http_server
from memwatch_controller.errors import StartError
from tests.controller.http.conftest import TOKEN
from tests.support.processes import free_port

AUTH = {"Authorization": f"Bearer {TOKEN}"}


async def test_serves_on_a_tcp_port(stage):
    """Requests are answered while the block runs, and the port is free after it."""
    address = f"127.0.0.1:{free_port()}"
    for _ in range(2):
        async with (
            http_server(address, stage.application(), None, None),
            httpx.AsyncClient() as client,
        ):
            answer = await client.get(f"http://{address}/api/v1/snapshots", headers=AUTH)
            assert answer.status_code == 200
            assert "server" not in answer.headers


async def test_serves_on_a_unix_socket_of_its_owner(stage, tmp_path):
    """The socket is for its owner alone, replaces a dead one, and is removed at the end."""
    path = tmp_path / "http.sock"
    for _ in range(2):
        async with http_server(f"unix:{path}", stage.application(), None, None):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            transport = httpx.AsyncHTTPTransport(uds=str(path))
            async with httpx.AsyncClient(transport=transport) as client:
                answer = await client.get("http://localhost/healthz")
            assert answer.text == "ok\n"
            with pytest.raises(StartError, match="another controller"):
                async with http_server(f"unix:{path}", stage.application(), None, None):
                    pass
        assert not path.exists()
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))


async def test_serves_with_tls(stage, certificate):
    """A caller that trusts the certificate is answered; a plain one is not."""
    cert, key = certificate
    address = f"127.0.0.1:{free_port()}"
    context = ssl.create_default_context(cafile=cert)
    async with (
        http_server(address, stage.application(), cert, key),
        httpx.AsyncClient(verify=context) as client,
    ):
        answer = await client.get(f"https://{address}/api/v1/snapshots", headers=AUTH)
        assert answer.status_code == 200
        with pytest.raises(httpx.TransportError):
            await client.get(f"http://{address}/healthz")


async def test_a_port_that_is_taken_is_told(stage):
    """One line with the address, instead of a traceback."""
    address = f"127.0.0.1:{free_port()}"
    async with http_server(address, stage.application(), None, None):
        with pytest.raises(StartError, match=f"--http-listen '{address}'"):
            async with http_server(address, stage.application(), None, None):
                pass


async def test_a_certificate_that_is_none_is_told(stage, tmp_path):
    """A file that holds no certificate is refused at start."""
    (tmp_path / "cert").write_text("no certificate")
    with pytest.raises(StartError, match="PEM"):
        async with http_server(
            f"127.0.0.1:{free_port()}", stage.application(), tmp_path / "cert", tmp_path / "cert"
        ):
            pass


async def test_open_streams_do_not_hold_up_the_end(stage):
    """A watcher that is connected at SIGTERM is cut after two seconds."""
    forever = asyncio.Event()

    async def watch(request, context):
        from memwatch_proto.v1 import sessions_pb2

        yield sessions_pb2.WatchSessionResponse()
        await forever.wait()

    stage.sessions.WatchSession = watch
    address = f"127.0.0.1:{free_port()}"
    async with httpx.AsyncClient() as client:
        async with asyncio.timeout(20):
            async with http_server(address, stage.application(), None, None):
                url = f"http://{address}/api/v1/sessions/s-1/watch"
                request = client.build_request("GET", url, headers=AUTH)
                answer = await client.send(request, stream=True)
                assert await anext(answer.aiter_lines()) != ""
        await answer.aclose()


async def test_a_caller_that_leaves_in_an_upload_leaves_nothing(stage, tmp_path):
    """A connection that ends half-way keeps no part and no row."""
    address = f"127.0.0.1:{free_port()}"
    async with http_server(address, stage.application(), None, None):
        host, port = address.split(":")
        _reader, writer = await asyncio.open_connection(host, int(port))
        head = (
            f"POST /api/v1/snapshots HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
            f"Content-Type: application/octet-stream\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        )
        writer.write(head.encode() + b'{"snapshot"')
        await writer.drain()
        incoming = tmp_path / "blobs" / ".incoming"
        async with asyncio.timeout(20):
            while not list(incoming.iterdir()):  # noqa: ASYNC110  a file
                await asyncio.sleep(0.01)
            writer.transport.abort()
            while list(incoming.iterdir()):  # noqa: ASYNC110  a file
                await asyncio.sleep(0.01)
    assert await stage.metadata.count_snapshots() == 0
