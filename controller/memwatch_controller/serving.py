"""The two servers of a controller, and what they answer with."""

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from memwatch_controller import model
from memwatch_controller.api.calls import CallLog
from memwatch_controller.api.clusters import ClusterServicer
from memwatch_controller.api.controllers import ControllerServicer
from memwatch_controller.api.convert import agent_to_pb
from memwatch_controller.api.findings import FindingServicer
from memwatch_controller.api.heaps import HeapServicer
from memwatch_controller.api.http.application import create_app, guarded
from memwatch_controller.api.http.readiness import Readiness
from memwatch_controller.api.http.routes import Faces
from memwatch_controller.api.http.server import http_server
from memwatch_controller.api.metrics import MetricsPage
from memwatch_controller.api.profiles import ProfileServicer
from memwatch_controller.api.registry import RegistryServicer
from memwatch_controller.api.reports import ReportServicer
from memwatch_controller.api.sessions import SessionServicer
from memwatch_controller.api.snapshots import SnapshotServicer
from memwatch_controller.api.targets import TargetServicer
from memwatch_controller.cluster.attachments import Attachments
from memwatch_controller.cluster.client import Client
from memwatch_controller.cluster.watchdog import Watchdog as InjectionWatchdog
from memwatch_controller.counters import Counters
from memwatch_controller.diagnosis.service import Diagnosis
from memwatch_controller.errors import StartError
from memwatch_controller.findings import Findings
from memwatch_controller.heaps import Heaps
from memwatch_controller.profiles.service import Profiles
from memwatch_controller.registry import Registry
from memwatch_controller.reports import Reports
from memwatch_controller.sessions.service import SessionService
from memwatch_controller.settings import Settings, is_local
from memwatch_controller.snapshots.service import Snapshots
from memwatch_controller.store.blobs import BlobStore
from memwatch_controller.store.metadata import Metadata
from memwatch_controller.upkeep import Upkeep
from memwatch_proto import __version__, auth, keepalive
from memwatch_proto.v1 import (
    clusters_pb2,
    clusters_pb2_grpc,
    controllers_pb2,
    controllers_pb2_grpc,
    findings_pb2,
    findings_pb2_grpc,
    heaps_pb2,
    heaps_pb2_grpc,
    profiles_pb2,
    profiles_pb2_grpc,
    registry_pb2,
    registry_pb2_grpc,
    reports_pb2,
    reports_pb2_grpc,
    sessions_pb2,
    sessions_pb2_grpc,
    snapshots_pb2,
    snapshots_pb2_grpc,
    targets_pb2,
    targets_pb2_grpc,
)

#: Calls that run longer after SIGTERM are cancelled; agents and watchers come again.
STOP_GRACE_SECONDS = 2.0

#: Calls at once: a stream for each agent, and room for callers.
MAX_CALLS = 12_000

_SERVICES = (
    controllers_pb2.DESCRIPTOR.services_by_name["ControllerService"].full_name,
    clusters_pb2.DESCRIPTOR.services_by_name["ClusterService"].full_name,
    registry_pb2.DESCRIPTOR.services_by_name["RegistryService"].full_name,
    sessions_pb2.DESCRIPTOR.services_by_name["SessionService"].full_name,
    targets_pb2.DESCRIPTOR.services_by_name["TargetService"].full_name,
    snapshots_pb2.DESCRIPTOR.services_by_name["SnapshotService"].full_name,
    reports_pb2.DESCRIPTOR.services_by_name["ReportService"].full_name,
    heaps_pb2.DESCRIPTOR.services_by_name["HeapService"].full_name,
    profiles_pb2.DESCRIPTOR.services_by_name["ProfileService"].full_name,
    findings_pb2.DESCRIPTOR.services_by_name["FindingService"].full_name,
    health.SERVICE_NAME,
    reflection.SERVICE_NAME,
)

_log = structlog.get_logger()


@dataclass(frozen=True)
class Parts:
    """What the faces of a controller are made of."""

    settings: Settings
    token: str
    metadata: Metadata
    registry: Registry
    blobs: BlobStore
    snapshots: Snapshots
    reports: Reports
    heaps: Heaps
    sessions: SessionService
    profiles: Profiles
    findings: Findings
    upkeep: Upkeep
    counters: Counters
    attachments: Attachments
    cluster: Client | None
    injection: InjectionWatchdog | None
    left_alone: Sequence[str]
    now: Callable[[], model.Millis]


@asynccontextmanager
async def served(parts: Parts) -> AsyncIterator[None]:
    """Both servers, while the block runs.

    Raises:
        StartError: an address cannot be bound.
    """
    faces = _faces(parts)
    async with _http_server(parts, faces), _grpc_server(parts, faces):
        yield


@asynccontextmanager
async def _http_server(parts: Parts, faces: Faces) -> AsyncIterator[None]:
    """The HTTP server, where it is not switched off."""
    settings = parts.settings
    if not settings.http_listen:
        yield
        return
    watchdog = parts.injection
    uninjected = (lambda: watchdog.missing) if watchdog else (lambda: None)
    metrics = MetricsPage(
        parts.counters, parts.metadata, parts.registry, parts.findings, uninjected
    )
    app = guarded(create_app(faces, metrics, Readiness(parts.metadata, parts.blobs)), parts.token)
    async with http_server(settings.http_listen, app, settings.tls_cert, settings.tls_key):
        yield


@asynccontextmanager
async def _grpc_server(parts: Parts, faces: Faces) -> AsyncIterator[grpc.aio.Server]:
    """The gRPC server; its health says SERVING while the block runs."""
    interceptors: Sequence[grpc.aio.ServerInterceptor] = [CallLog()]
    if parts.token:
        interceptors = [*interceptors, auth.TokenInterceptor(parts.token)]
    server = grpc.aio.server(
        interceptors=interceptors,
        options=keepalive.SERVER_OPTIONS,
        maximum_concurrent_rpcs=MAX_CALLS,
    )
    _add_services(server, parts, faces)
    health_service = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_service, server)
    reflection.enable_server_reflection(_SERVICES, server)
    _bind(server, parts.settings)
    await server.start()
    await health_service.set("", health_pb2.HealthCheckResponse.SERVING)
    try:
        yield server
    finally:
        await health_service.enter_graceful_shutdown()
        await server.stop(STOP_GRACE_SECONDS)


def _faces(parts: Parts) -> Faces:
    """What both servers answer with."""
    return Faces(
        controllers=ControllerServicer(
            parts.now(), parts.settings.http_listen, _diagnosis(parts), parts.now
        ),
        targets=TargetServicer(parts.registry),
        sessions=SessionServicer(parts.sessions),
        snapshot_service=SnapshotServicer(parts.snapshots, parts.metadata, parts.upkeep),
        reports=ReportServicer(parts.reports, parts.metadata),
        heaps=HeapServicer(parts.heaps),
        profiles=ProfileServicer(parts.profiles),
        clusters=ClusterServicer(parts.attachments),
        findings=FindingServicer(parts.findings, parts.registry),
        agents=lambda: [agent_to_pb(agent) for agent in parts.registry.agents()],
        snapshots=parts.snapshots,
    )


def _diagnosis(parts: Parts) -> Diagnosis:
    return Diagnosis(
        parts.registry,
        Readiness(parts.metadata, parts.blobs),
        parts.cluster,
        parts.settings.webhook_name,
        parts.left_alone,
        __version__,
        parts.now,
        parts.settings.namespaces,
    )


def _add_services(server: grpc.aio.Server, parts: Parts, faces: Faces) -> None:
    registry = RegistryServicer(
        parts.registry, parts.snapshots.take_in, parts.profiles.take_in, parts.findings.report
    )
    registry_pb2_grpc.add_RegistryServiceServicer_to_server(registry, server)
    controllers_pb2_grpc.add_ControllerServiceServicer_to_server(faces.controllers, server)
    clusters_pb2_grpc.add_ClusterServiceServicer_to_server(faces.clusters, server)
    sessions_pb2_grpc.add_SessionServiceServicer_to_server(faces.sessions, server)
    targets_pb2_grpc.add_TargetServiceServicer_to_server(faces.targets, server)
    snapshots_pb2_grpc.add_SnapshotServiceServicer_to_server(faces.snapshot_service, server)
    reports_pb2_grpc.add_ReportServiceServicer_to_server(faces.reports, server)
    heaps_pb2_grpc.add_HeapServiceServicer_to_server(faces.heaps, server)
    profiles_pb2_grpc.add_ProfileServiceServicer_to_server(faces.profiles, server)
    findings_pb2_grpc.add_FindingServiceServicer_to_server(faces.findings, server)


def _bind(server: grpc.aio.Server, settings: Settings) -> None:
    """Binds the address; a Unix socket is for its owner alone.

    Raises:
        StartError: it cannot be bound.
    """
    mask = os.umask(0o177)
    try:
        if settings.tls_cert and settings.tls_key:
            pair = [(settings.tls_key.read_bytes(), settings.tls_cert.read_bytes())]
            server.add_secure_port(settings.listen, grpc.ssl_server_credentials(pair))
        else:
            server.add_insecure_port(settings.listen)
            if not is_local(settings.listen):
                _log.warning("serving without TLS: pass --tls-cert and --tls-key")
    except (RuntimeError, OSError) as error:
        cause = "the address cannot be bound; see whether another controller runs there"
        raise StartError(f"--listen '{settings.listen}'", cause) from error
    finally:
        os.umask(mask)
