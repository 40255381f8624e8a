import shutil
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx
import pytest

from memwatch_controller.api.agents import AgentChannels
from memwatch_controller.api.controllers import ControllerServicer
from memwatch_controller.api.findings import FindingServicer
from memwatch_controller.api.http.application import create_app, guarded
from memwatch_controller.api.http.readiness import Readiness
from memwatch_controller.api.http.routes import Faces
from memwatch_controller.api.metrics import MetricsPage
from memwatch_controller.api.reports import ReportServicer
from memwatch_controller.api.snapshots import SnapshotServicer
from memwatch_controller.api.status import streaming, unary
from memwatch_controller.counters import Counters
from memwatch_controller.diagnosis.service import Diagnosis
from memwatch_controller.errors import NotFoundError, TooManySessionsError
from memwatch_controller.findings import Findings
from memwatch_controller.registry import Registry
from memwatch_controller.reports import Reports
from memwatch_controller.snapshots.service import Snapshots
from memwatch_controller.store.blobs import BlobStore
from memwatch_controller.store.database import open_database
from memwatch_controller.store.findings import FindingTable
from memwatch_controller.store.metadata import Metadata
from memwatch_controller.store.profiles import ProfileTable
from memwatch_controller.store.retention import Policy
from memwatch_controller.upkeep import Upkeep
from memwatch_proto import __version__
from memwatch_proto.v1 import agents_pb2, sessions_pb2, sessions_pb2_grpc

TOKEN = "the-token"


@dataclass
class Sessions(sessions_pb2_grpc.SessionServiceServicer):
    """Plays sessions; keeps the requests."""

    requests: list[object] = field(default_factory=list)
    fail: Exception | None = None

    @unary
    async def CreateSession(self, request, context):  # noqa: N802
        self.requests.append(request)
        if self.fail is not None:
            raise self.fail
        return sessions_pb2.Session(id="s-1", request_id=request.request_id, plan=request.plan)

    @unary
    async def GetSession(self, request, context):  # noqa: N802
        raise NotFoundError("session", request.id)

    @unary
    async def ListSessions(self, request, context):  # noqa: N802
        self.requests.append(request)
        return sessions_pb2.ListSessionsResponse()

    @unary
    async def PreviewIsolation(self, request, context):  # noqa: N802
        return sessions_pb2.PreviewIsolationResponse()

    @unary
    async def CancelSession(self, request, context):  # noqa: N802
        return sessions_pb2.Session(id=request.id, state=sessions_pb2.SESSION_STATE_CANCELLED)

    @unary
    async def DeleteSession(self, request, context):  # noqa: N802
        self.requests.append(request)
        return sessions_pb2.DeleteSessionResponse()

    @streaming
    async def WatchSession(self, request, context):  # noqa: N802
        if request.id == "s-none":
            raise NotFoundError("session", request.id)
        for state in (sessions_pb2.SESSION_STATE_WAITING, sessions_pb2.SESSION_STATE_SUCCEEDED):
            session = sessions_pb2.Session(id=request.id, state=state)
            yield sessions_pb2.WatchSessionResponse(session=session)
        if request.id == "s-breaks":
            raise TooManySessionsError(1, 30.0)


@dataclass
class Stage:
    """The parts behind the HTTP application under test."""

    metadata: Metadata
    snapshots: Snapshots
    registry: Registry
    faces: Faces
    sessions: Sessions
    counters: Counters
    findings: Findings
    why_not_ready: str = ""

    def application(self, token: str = TOKEN):
        async def ready() -> str:
            return self.why_not_ready

        metrics = MetricsPage(self.counters, self.metadata, self.registry, self.findings, lambda: 3)
        return guarded(create_app(self.faces, metrics, ready), token)


@pytest.fixture
async def stage(tmp_path) -> AsyncIterator[Stage]:
    """Real snapshots and reports over SQLite and a directory; scripted sessions."""
    database = await open_database(f"sqlite:///{tmp_path}/metadata.sqlite")
    metadata, channels, counters = Metadata(database), AgentChannels(""), Counters()
    blobs = BlobStore.open(str(tmp_path / "blobs"), tmp_path, reserve_bytes=0)
    snapshots = Snapshots(metadata, blobs, channels, lambda: 1_700_000_000_123, counters)
    reports = Reports(metadata, blobs, None, lambda: 1)  # type: ignore[arg-type]
    registry, sessions = Registry(metadata, lambda: 1, 5_000), Sessions()
    connected, policy = registry.connected, Policy(count=1)
    upkeep = Upkeep(
        metadata,
        ProfileTable(database),
        blobs,
        snapshots,
        channels,
        connected,
        policy,
        lambda: 2,
    )
    ready = Readiness(metadata, blobs)
    findings = Findings(FindingTable(database), registry, lambda: 5)
    diagnosis = Diagnosis(registry, ready, None, "", (), __version__, lambda: 2)
    faces = Faces(
        controllers=ControllerServicer(1, "127.0.0.1:9467", diagnosis, lambda: 2),
        targets=None,
        sessions=sessions,
        snapshot_service=SnapshotServicer(snapshots, metadata, upkeep),
        reports=ReportServicer(reports, metadata),
        heaps=None,
        profiles=None,
        clusters=None,
        findings=FindingServicer(findings, registry),
        agents=lambda: [agents_pb2.Agent(id="a-1", host="h")],
        snapshots=snapshots,
    )
    yield Stage(metadata, snapshots, registry, faces, sessions, counters, findings)
    await channels.close()
    await database.close()


@pytest.fixture
async def http(stage) -> AsyncIterator[httpx.AsyncClient]:
    """A caller with the token."""
    transport = httpx.ASGITransport(app=stage.application(), raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://127.0.0.1:9467", headers=headers
    ) as client:
        yield client


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A self-signed certificate of 127.0.0.1, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("making a certificate needs openssl")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = (
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        f"-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1,DNS:localhost "
        f"-keyout {key} -out {cert}"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    return cert, key
