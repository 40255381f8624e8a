"""The HTTP application: routes, errors, probes, metrics and its own description."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from memwatch_controller.api import schemas
from memwatch_controller.api.fields import bad_field
from memwatch_controller.api.http import content, findings, heaps, problems, profiles, routes
from memwatch_controller.api.http.calls import CallLog
from memwatch_controller.api.http.gateway import FailedError
from memwatch_controller.api.http.guard import Guard
from memwatch_controller.api.http.routes import Faces
from memwatch_controller.api.status import failure_of, internal_failure
from memwatch_controller.errors import ControllerError
from memwatch_proto import __version__
from memwatch_proto.v1 import (
    agents_pb2,
    clusters_pb2,
    controllers_pb2,
    findings_pb2,
    heaps_pb2,
    profiles_pb2,
    reports_pb2,
    sessions_pb2,
    snapshots_pb2,
    targets_pb2,
)

PREFIX = "/api/v1"

_HEAP_ANSWERS = (
    "Heap",
    "ListHeapClassesResponse",
    "ListHeapObjectsResponse",
    "HeapObjectDetails",
    "ListHeapRetainersResponse",
    "ListHeapReferencesResponse",
    "ListHeapScopesResponse",
    "ListHeapDuplicateStringsResponse",
)

_ROOTS = (
    agents_pb2.Agent.DESCRIPTOR,
    controllers_pb2.Controller.DESCRIPTOR,
    controllers_pb2.DiagnoseResponse.DESCRIPTOR,
    clusters_pb2.AttachAgentRequest.DESCRIPTOR,
    clusters_pb2.AttachAgentResponse.DESCRIPTOR,
    clusters_pb2.DetachAgentResponse.DESCRIPTOR,
    targets_pb2.ListTargetsResponse.DESCRIPTOR,
    targets_pb2.WatchTargetResponse.DESCRIPTOR,
    sessions_pb2.CreateSessionRequest.DESCRIPTOR,
    sessions_pb2.ListSessionsResponse.DESCRIPTOR,
    sessions_pb2.WatchSessionResponse.DESCRIPTOR,
    sessions_pb2.DeleteSessionResponse.DESCRIPTOR,
    snapshots_pb2.ListSnapshotsResponse.DESCRIPTOR,
    snapshots_pb2.DeleteSnapshotResponse.DESCRIPTOR,
    profiles_pb2.StartProfileRequest.DESCRIPTOR,
    profiles_pb2.ListProfilesResponse.DESCRIPTOR,
    profiles_pb2.DeleteProfileResponse.DESCRIPTOR,
    profiles_pb2.CleanupProfilesRequest.DESCRIPTOR,
    profiles_pb2.CleanupProfilesResponse.DESCRIPTOR,
    snapshots_pb2.CleanUpSnapshotsResponse.DESCRIPTOR,
    findings_pb2.ListFindingsResponse.DESCRIPTOR,
    findings_pb2.WatchFindingsResponse.DESCRIPTOR,
    findings_pb2.AcknowledgeFindingRequest.DESCRIPTOR,
    reports_pb2.ListReportsResponse.DESCRIPTOR,
    reports_pb2.CompareSnapshotsRequest.DESCRIPTOR,
    *(heaps_pb2.DESCRIPTOR.message_types_by_name[name] for name in _HEAP_ANSWERS),
)

_DESCRIPTION = (
    "The use cases of memwatch.v1 (gRPC) as JSON. Messages are the protobuf JSON mapping with "
    "the protos' own field names: 64-bit integers are strings, times are RFC 3339. Every path "
    "but /healthz and /readyz needs `Authorization: Bearer TOKEN`."
)

#: Answers /metrics.
Metrics = Callable[[], Awaitable[bytes]]

#: Whether the controller can work: says why not, or nothing.
Ready = Callable[[], Awaitable[str]]


def create_app(faces: Faces, metrics: Metrics, ready: Ready) -> FastAPI:
    """The application, without its guard."""
    app = FastAPI(title="memwatch", version=__version__, docs_url=None, redoc_url=None)
    app.router.redirect_slashes = False
    api = APIRouter(prefix=PREFIX)
    for part in (
        routes.controllers(faces),
        routes.targets(faces),
        routes.sessions(faces),
        routes.snapshots(faces),
        content.router(faces.snapshots),
        routes.reports(faces),
        heaps.router(faces),
        profiles.router(faces.profiles),
        findings.router(faces.findings),
    ):
        api.include_router(part)
    app.include_router(api)
    app.include_router(_probes(metrics, ready))
    app.openapi_url = f"{PREFIX}/openapi.json"
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    app.add_api_route(app.openapi_url, lambda: JSONResponse(app.openapi()), include_in_schema=False)
    _translate_errors(app)
    return app


def create_probes(metrics: Metrics, ready: Ready) -> FastAPI:
    """Probes and metrics alone, for a program that answers no calls."""
    app = FastAPI(title="memwatch", version=__version__, docs_url=None, openapi_url=None)
    app.include_router(_probes(metrics, ready))
    _translate_errors(app)
    return app


def guarded(app: FastAPI, token: str) -> CallLog:
    """The application behind its guard, logged; `token` "" lets every caller of this machine in."""
    return CallLog(Guard(app, token))


def describe(app: FastAPI) -> dict[str, Any]:
    """The application's OpenAPI document."""
    found = get_openapi(
        title="memwatch",
        version="1",
        description=_DESCRIPTION,
        routes=app.routes,
    )
    parts = found.setdefault("components", {})
    parts["schemas"] = {"Error": problems.SCHEMA, **schemas.components(*_ROOTS)}
    parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    found["security"] = [{"token": []}]
    for operations in found["paths"].values():
        for operation in operations.values():
            # FastAPI's own shape of a refused parameter is not ours.
            operation["responses"].pop("422", None)
    return found


def _probes(metrics: Metrics, ready: Ready) -> APIRouter:
    probes = APIRouter(tags=["probes"], default_response_class=PlainTextResponse)
    no_token: dict[str, Any] = {"openapi_extra": {"security": []}}

    @probes.get("/healthz", operation_id="Healthz", **no_token)
    async def healthz() -> Response:
        """Whether the process lives."""
        return PlainTextResponse("ok\n")

    @probes.get(
        "/readyz",
        operation_id="Readyz",
        responses={503: {"description": "Not now; the body says why."}},
        **no_token,
    )
    async def readyz() -> Response:
        """Whether the controller can work: its database and its store answer."""
        why = await ready()
        return PlainTextResponse(why + "\n", 503) if why else PlainTextResponse("ok\n")

    @probes.get("/metrics", operation_id="Metrics")
    async def prometheus() -> Response:
        """Metrics in Prometheus' text format."""
        return Response(await metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return probes


def _translate_errors(app: FastAPI) -> None:
    @app.exception_handler(ControllerError)
    async def of_controller(_request: Request, error: ControllerError) -> Response:
        return problems.response(failure_of(error))

    @app.exception_handler(FailedError)
    async def of_call(_request: Request, error: FailedError) -> Response:
        return problems.response(error.failure)

    @app.exception_handler(RequestValidationError)
    async def of_parameters(_request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][1:]) or "body"
        return problems.response(failure_of(bad_field(name, f"cannot be: {first['msg']}")))

    @app.exception_handler(HTTPException)
    async def of_http(request: Request, error: HTTPException) -> Response:
        asked = f"{request.method} {request.url.path[:200]!r}"
        why = f"{asked}: {error.detail}; see {PREFIX}/openapi.json"
        return problems.of_status(error.status_code, why)

    @app.exception_handler(ClientDisconnect)
    async def of_caller(_request: Request, _error: ClientDisconnect) -> Response:
        return Response(status_code=499)  # nobody reads it

    @app.exception_handler(Exception)
    async def of_bug(request: Request, error: Exception) -> Response:
        return problems.response(internal_failure(f"{request.method} request", error))
