"""The real controller process over HTTP and gRPC, with a token and with TLS."""

import hashlib
import json
import os
import ssl
import sys
from pathlib import Path

import grpc
import httpx
import pytest

from memwatch_proto.auth import bearer
from memwatch_proto.v1 import snapshots_pb2, snapshots_pb2_grpc
from tests.support.processes import free_port, running, wait_until
from tests.support.stack import program_env

pytestmark = pytest.mark.e2e

RAW = b'{"snapshot":"' + os.urandom(200_000).hex().encode() + b'"}'
BINARY = {"Content-Type": "application/octet-stream"}


def ready(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


class Process:
    """A controller that serves; `url` is its HTTP side, `address` its gRPC side."""

    def __init__(self, folder: Path, scheme: str, *arguments: str) -> None:
        self.folder = folder
        self.address = f"127.0.0.1:{free_port()}"
        listen = f"127.0.0.1:{free_port()}"
        self.url = f"{scheme}://{listen}"
        self.command = [
            *(sys.executable, "-m", "memwatch_controller", "--data-dir", str(folder / "data")),
            *("--listen", self.address, "--http-listen", listen, *arguments),
        ]

    @property
    def token(self) -> str:
        return (self.folder / "data" / "token").read_text().strip()

    @property
    def auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A controller without TLS."""
    process = Process(tmp_path_factory.mktemp("plain"), "http")
    with (
        httpx.Client() as client,
        running(process.command, env=program_env(), log=process.folder / "log"),
    ):
        wait_until(lambda: ready(client, process.url), 60, "the controller to be ready")
        yield process


def test_an_upload_over_http_is_a_download_over_grpc(plain):
    """Both servers show one store."""
    query = {"file_name": "a.heapsnapshot", "request_id": "up-1"}
    answer = httpx.post(
        f"{plain.url}/api/v1/snapshots",
        params=query,
        content=RAW,
        headers={**plain.auth, **BINARY},
    )
    snapshot = answer.json()
    assert snapshot["raw_sha256"] == hashlib.sha256(RAW).hexdigest()
    with grpc.insecure_channel(plain.address) as channel:
        stub = snapshots_pb2_grpc.SnapshotServiceStub(channel)
        request = snapshots_pb2.DownloadSnapshotRequest(id=snapshot["id"])
        chunks = list(stub.DownloadSnapshot(request, metadata=bearer(plain.token)))
    stored = b"".join(chunk.data for chunk in chunks)
    assert hashlib.sha256(stored).hexdigest() == chunks[-1].sha256 == snapshot["stored_sha256"]
    down = httpx.get(f"{plain.url}/api/v1/snapshots/{snapshot['id']}/content", headers=plain.auth)
    assert down.content == RAW


@pytest.mark.parametrize("token", ["", "wrong"])
def test_both_servers_refuse_a_wrong_token(plain, token):
    """UNAUTHENTICATED and 401, with the next step."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = httpx.get(f"{plain.url}/api/v1/snapshots", headers=headers)
    assert (answer.status_code, answer.json()["reason"]) == (401, "UNAUTHENTICATED")
    with grpc.insecure_channel(plain.address) as channel:
        stub = snapshots_pb2_grpc.SnapshotServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.ListSnapshots(snapshots_pb2.ListSnapshotsRequest(), metadata=bearer(token))
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert "--token-file" in str(caught.value.details())


def test_sessions_without_a_target_fail_alike(plain):
    """HTTP and gRPC are one implementation: the same sentence comes out of both."""
    body = {"request_id": "r-1", "plan": {"selector": {"name": "nobody"}}}
    answer = httpx.post(f"{plain.url}/api/v1/sessions", json=body, headers=plain.auth)
    assert answer.status_code == 404
    assert answer.json()["reason"] == "TARGET_NOT_FOUND"
    assert "nobody" in answer.json()["message"]


def test_every_route_of_the_description_answers(plain):
    """Each GET of openapi.json, called with ids that are not there, answers as described."""
    described = httpx.get(f"{plain.url}/api/v1/openapi.json", headers=plain.auth).json()
    for path, operations in described["paths"].items():
        if "get" not in operations:
            continue
        filled = path.replace("{id}", "nothing").replace("{object_id}", "7")
        expected = 404 if "{id}" in path else 200
        # A stream of events may go on for ever: only its beginning is read.
        with httpx.stream("GET", plain.url + filled, headers=plain.auth) as answer:
            assert answer.status_code == expected, path


def test_metrics_of_a_real_controller(plain):
    """The page is there, and says how many agents are connected."""
    page = httpx.get(f"{plain.url}/metrics", headers=plain.auth).text
    assert "memwatch_agents_connected 0.0" in page


def test_both_servers_speak_tls(tmp_path, certificate):
    """With a certificate, a caller that trusts it is served on both sides; a plain one on none."""
    cert, key = certificate
    process = Process(tmp_path, "https", "--tls-cert", str(cert), "--tls-key", str(key))
    context = ssl.create_default_context(cafile=cert)
    with (
        httpx.Client(verify=context) as client,
        running(process.command, env=program_env(), log=tmp_path / "log") as running_process,
    ):
        wait_until(lambda: ready(client, process.url), 60, "the controller to be ready")
        url = f"{process.url}/api/v1/controller"
        assert client.get(url, headers=process.auth).status_code == 200
        with pytest.raises(httpx.TransportError):
            httpx.get(url.replace("https", "http"))
        credentials = grpc.ssl_channel_credentials(cert.read_bytes())
        with grpc.secure_channel(process.address, credentials) as channel:
            stub = snapshots_pb2_grpc.SnapshotServiceStub(channel)
            metadata = bearer(process.token)
            stub.ListSnapshots(snapshots_pb2.ListSnapshotsRequest(), metadata=metadata)
        running_process.terminate()
        assert running_process.wait(30) == 0
    for line in (tmp_path / "log").read_text().splitlines():
        json.loads(line)
