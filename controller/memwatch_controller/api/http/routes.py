"""The routes of /api/v1, each of which calls the gRPC method of the same name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from memwatch_controller.api.fields import bad_field, named
from memwatch_controller.api.fields import ident as checked
from memwatch_controller.api.http import answers
from memwatch_controller.api.http.gateway import Context, body, call, events
from memwatch_controller.snapshots.service import Snapshots
from memwatch_proto.v1 import (
    agents_pb2,
    clusters_pb2,
    common_pb2,
    controllers_pb2,
    reports_pb2,
    sessions_pb2,
    snapshots_pb2,
    targets_pb2,
)


@dataclass(frozen=True)
class Faces:
    """What HTTP shows: the same servicers that gRPC serves.

    Attributes:
        agents: the agents that are known.
        snapshots: for the bytes of snapshots, which are no messages here.
    """

    controllers: Any
    targets: Any
    sessions: Any
    snapshot_service: Any
    reports: Any
    heaps: Any
    profiles: Any
    clusters: Any
    findings: Any
    agents: Callable[[], Sequence[agents_pb2.Agent]]
    snapshots: Snapshots


_Id = Annotated[str, Path(description="Its id.", max_length=256)]
_PageSize = Annotated[int, Query(description="At most so many; 0: 100; at most 1000.", ge=0)]
_PageToken = Annotated[str, Query(description="`next_page_token` of the page before.")]
_Session = Annotated[str, Query(description="Only those of this session.")]
_Labels = Annotated[list[str], Query(description="`key=value`; each must match.")]
_Runtime = Annotated[str, Query(pattern="^(|node|python)$", description="`node` or `python`.")]
_States = Annotated[list[str], Query(description="Only those in one of these states.")]

_RUNTIMES = {
    "": common_pb2.RUNTIME_UNSPECIFIED,
    "node": common_pb2.RUNTIME_NODE,
    "python": common_pb2.RUNTIME_PYTHON,
}


def controllers(faces: Faces) -> APIRouter:
    """The controller itself, and its agents."""
    routes = APIRouter(tags=["controller"])

    @routes.get(
        "/controller",
        operation_id="GetController",
        responses=answers.of(controllers_pb2.Controller),
    )
    async def get_controller() -> JSONResponse:
        """Version and addresses."""
        request = controllers_pb2.GetControllerRequest()
        return await call(faces.controllers.GetController, request)

    @routes.get(
        "/diagnosis",
        operation_id="Diagnose",
        responses=answers.of(controllers_pb2.DiagnoseResponse),
    )
    async def diagnose(
        namespace: Annotated[str, Query(description="Only its pods and targets.")] = "",
    ) -> JSONResponse:
        """Whether everything that captures need is in order; changes nothing."""
        request = controllers_pb2.DiagnoseRequest(namespace=namespace)
        return await call(faces.controllers.Diagnose, request)

    @routes.get("/agents", operation_id="ListAgents", responses=answers.list_of(agents_pb2.Agent))
    async def list_agents() -> JSONResponse:
        """The agents that this controller has heard of."""
        return answers.listed("agents", faces.agents())

    @routes.post(
        "/agents/attach",
        operation_id="AttachAgent",
        responses=answers.of(clusters_pb2.AttachAgentResponse),
        openapi_extra=answers.body_of(clusters_pb2.AttachAgentRequest),
    )
    async def attach_agent(request: Request) -> JSONResponse:
        """Puts an agent into a running pod as an ephemeral container, and waits for it."""
        wanted = await body(request, clusters_pb2.AttachAgentRequest)
        return await call(faces.clusters.AttachAgent, wanted)

    @routes.post(
        "/agents/{id}/detach",
        operation_id="DetachAgent",
        responses=answers.of(clusters_pb2.DetachAgentResponse),
    )
    async def detach_agent(id: _Id) -> JSONResponse:
        """Ends an attached agent; a sidecar is refused."""
        request = clusters_pb2.DetachAgentRequest(agent_id=checked("agent_id", id))
        return await call(faces.clusters.DetachAgent, request)

    return routes


def targets(faces: Faces) -> APIRouter:
    """Targets."""
    routes = APIRouter(prefix="/targets", tags=["targets"])

    @routes.get(
        "", operation_id="ListTargets", responses=answers.of(targets_pb2.ListTargetsResponse)
    )
    async def list_targets(
        name: Annotated[str, Query(description="An id, service, pod, container or pid.")] = "",
        service: Annotated[str, Query(description="Service name, exactly.")] = "",
        container_id: Annotated[str, Query(description="Container id prefix.")] = "",
        namespace: Annotated[str, Query(description="Kubernetes namespace, exactly.")] = "",
        pid: Annotated[int, Query(description="Pid; 0: any.", ge=0, le=2**32 - 1)] = 0,
        labels: _Labels = [],  # noqa: B006  FastAPI copies it
        runtime: _Runtime = "",
        include_absent: Annotated[
            bool, Query(description="Unreachable and gone ones too.")
        ] = False,
        page_size: _PageSize = 0,
        page_token: _PageToken = "",
    ) -> JSONResponse:
        """Targets that match, ordered by service and id."""
        selector = targets_pb2.TargetSelector(
            name=name,
            service=service,
            container_id=container_id,
            namespace=namespace,
            pid=pid,
            labels=_labels(labels),
            runtime=_RUNTIMES[runtime],
        )
        request = targets_pb2.ListTargetsRequest(
            selector=selector,
            include_absent=include_absent,
            page_size=_page_size(page_size),
            page_token=page_token,
        )
        return await call(faces.targets.ListTargets, request)

    @routes.get("/{id}", operation_id="GetTarget", responses=answers.of(targets_pb2.Target))
    async def get_target(id: _Id) -> JSONResponse:
        """One target."""
        return await call(
            faces.targets.GetTarget, targets_pb2.GetTargetRequest(id=checked("id", id))
        )

    @routes.get(
        "/{id}/watch",
        operation_id="WatchTarget",
        response_class=StreamingResponse,
        responses=answers.stream_of(targets_pb2.WatchTargetResponse),
    )
    async def watch_target(id: _Id) -> Response:
        """The target now, and again each time its agent reports it."""
        request = targets_pb2.WatchTargetRequest(id=checked("id", id))
        return await events(faces.targets.WatchTarget, request)

    return routes


def sessions(faces: Faces) -> APIRouter:
    """Sessions."""
    routes = APIRouter(prefix="/sessions", tags=["sessions"])
    one = answers.of(sessions_pb2.Session)

    @routes.post(
        "",
        operation_id="CreateSession",
        responses=one,
        openapi_extra=answers.body_of(sessions_pb2.CreateSessionRequest),
    )
    async def create_session(request: Request) -> JSONResponse:
        """Starts a session; idempotent by `request_id`."""
        wanted = await body(request, sessions_pb2.CreateSessionRequest)
        return await call(faces.sessions.CreateSession, wanted)

    @routes.get(
        "", operation_id="ListSessions", responses=answers.of(sessions_pb2.ListSessionsResponse)
    )
    async def list_sessions(
        states: _States = [],  # noqa: B006  FastAPI copies it
        service: Annotated[str, Query(description="Only those of this service.")] = "",
        page_size: _PageSize = 0,
        page_token: _PageToken = "",
    ) -> JSONResponse:
        """Sessions, newest first."""
        request = sessions_pb2.ListSessionsRequest(
            states=[
                named(sessions_pb2.SessionState, "SESSION_STATE_", "states", state)
                for state in states
            ],
            service=service,
            page_size=_page_size(page_size),
            page_token=page_token,
        )
        return await call(faces.sessions.ListSessions, request)

    @routes.get("/{id}", operation_id="GetSession", responses=one)
    async def get_session(id: _Id) -> JSONResponse:
        """One session."""
        request = sessions_pb2.GetSessionRequest(id=checked("id", id))
        return await call(faces.sessions.GetSession, request)

    @routes.get(
        "/{id}/watch",
        operation_id="WatchSession",
        response_class=StreamingResponse,
        responses=answers.stream_of(sessions_pb2.WatchSessionResponse),
    )
    async def watch_session(id: _Id) -> Response:
        """The session now and at each change, until it is finished."""
        request = sessions_pb2.WatchSessionRequest(id=checked("id", id))
        return await events(faces.sessions.WatchSession, request)

    @routes.post("/{id}/cancel", operation_id="CancelSession", responses=one)
    async def cancel_session(id: _Id) -> JSONResponse:
        """Ends a session before its time; snapshots already taken stay."""
        request = sessions_pb2.CancelSessionRequest(id=checked("id", id))
        return await call(faces.sessions.CancelSession, request)

    @routes.delete(
        "/{id}",
        operation_id="DeleteSession",
        responses=answers.of(sessions_pb2.DeleteSessionResponse),
    )
    async def delete_session(id: _Id) -> JSONResponse:
        """Deletes a finished session with its snapshots and reports."""
        request = sessions_pb2.DeleteSessionRequest(id=checked("id", id))
        return await call(faces.sessions.DeleteSession, request)

    return routes


def snapshots(faces: Faces) -> APIRouter:
    """Metadata of snapshots; `content` has their bytes."""
    routes = APIRouter(prefix="/snapshots", tags=["snapshots"])

    @routes.get(
        "", operation_id="ListSnapshots", responses=answers.of(snapshots_pb2.ListSnapshotsResponse)
    )
    async def list_snapshots(
        session_id: _Session = "",
        target_id: Annotated[str, Query(description="Only those of this target.")] = "",
        page_size: _PageSize = 0,
        page_token: _PageToken = "",
    ) -> JSONResponse:
        """Snapshots, newest first."""
        request = snapshots_pb2.ListSnapshotsRequest(
            session_id=session_id,
            target_id=target_id,
            page_size=_page_size(page_size),
            page_token=page_token,
        )
        return await call(faces.snapshot_service.ListSnapshots, request)

    @routes.get("/{id}", operation_id="GetSnapshot", responses=answers.of(snapshots_pb2.Snapshot))
    async def get_snapshot(id: _Id) -> JSONResponse:
        """One snapshot's metadata."""
        request = snapshots_pb2.GetSnapshotRequest(id=checked("id", id))
        return await call(faces.snapshot_service.GetSnapshot, request)

    @routes.delete(
        "/{id}",
        operation_id="DeleteSnapshot",
        responses=answers.of(snapshots_pb2.DeleteSnapshotResponse),
    )
    async def delete_snapshot(id: _Id) -> JSONResponse:
        """Deletes the bytes and the metadata; not while a running session needs them."""
        request = snapshots_pb2.DeleteSnapshotRequest(id=checked("id", id))
        return await call(faces.snapshot_service.DeleteSnapshot, request)

    @routes.post(
        ":cleanUp",
        operation_id="CleanUpSnapshots",
        responses=answers.of(snapshots_pb2.CleanUpSnapshotsResponse),
    )
    async def clean_up_snapshots(
        dry_run: Annotated[bool, Query(description="Say what would be done.")] = False,
        delete_orphans: Annotated[
            bool, Query(description="Delete blobs that no snapshot knows.")
        ] = False,
    ) -> JSONResponse:
        """A round of upkeep: expired snapshots go, what does not fit together is named."""
        request = snapshots_pb2.CleanUpSnapshotsRequest(
            dry_run=dry_run, delete_orphans=delete_orphans
        )
        return await call(faces.snapshot_service.CleanUpSnapshots, request)

    return routes


def reports(faces: Faces) -> APIRouter:
    """Reports."""
    routes = APIRouter(prefix="/reports", tags=["reports"])

    @routes.get(
        "", operation_id="ListReports", responses=answers.of(reports_pb2.ListReportsResponse)
    )
    async def list_reports(
        session_id: _Session = "", page_size: _PageSize = 0, page_token: _PageToken = ""
    ) -> JSONResponse:
        """Reports, newest first, without their classes and documents."""
        request = reports_pb2.ListReportsRequest(
            session_id=session_id, page_size=_page_size(page_size), page_token=page_token
        )
        return await call(faces.reports.ListReports, request)

    @routes.post(
        "",
        operation_id="CompareSnapshots",
        responses=answers.of(reports_pb2.Report),
        openapi_extra=answers.body_of(reports_pb2.CompareSnapshotsRequest),
    )
    async def compare_snapshots(request: Request) -> JSONResponse:
        """Compares any stored snapshots of one target, oldest first; may take minutes."""
        wanted = await body(request, reports_pb2.CompareSnapshotsRequest)
        return await call(faces.reports.CompareSnapshots, wanted)

    @routes.get("/{id}", operation_id="GetReport", responses=answers.of(reports_pb2.Report))
    async def get_report(id: _Id) -> JSONResponse:
        """One report, by its id or by its session's id."""
        request = reports_pb2.GetReportRequest(id=checked("id", id))
        return await call(faces.reports.GetReport, request)

    @routes.get("/{id}/document", operation_id="GetReportDocument", responses=answers.DOCUMENT)
    async def get_document(id: _Id) -> Response:
        """The report as the stable document of docs/formats/report.md."""
        request = reports_pb2.GetReportRequest(id=checked("id", id))
        return answers.document(await faces.reports.GetReport(request, Context()))

    return routes


def _labels(pairs: Sequence[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise bad_field("labels", f"is {pair[:80]!r}, expected key=value")
        found[key] = value
    return found


def _page_size(size: int) -> int:
    """A size that fits the message's 32 bits; the service lowers it further."""
    return min(size, 1_000)
