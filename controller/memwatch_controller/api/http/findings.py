"""The routes of findings, each of which calls the gRPC method of the same name."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from memwatch_controller.api.fields import ident as checked
from memwatch_controller.api.fields import named
from memwatch_controller.api.http import answers
from memwatch_controller.api.http.gateway import body, call, events
from memwatch_proto.v1 import findings_pb2, targets_pb2

_Id = Annotated[str, Path(description="Its id.", max_length=256)]
_Target = Annotated[str, Query(description="An id, service, pod, container or pid.")]
_Least = Annotated[str, Query(description="`low`, `medium`, `high` or `critical`, or worse.")]


def router(servicer: Any) -> APIRouter:
    """Findings."""
    routes = APIRouter(prefix="/findings", tags=["findings"])
    one = answers.of(findings_pb2.Finding)

    @routes.get(
        "", operation_id="ListFindings", responses=answers.of(findings_pb2.ListFindingsResponse)
    )
    async def list_findings(
        target: _Target = "",
        kind: Annotated[
            str, Query(alias="type", description="Only of this type: `memory_leak`.")
        ] = "",
        min_severity: _Least = "",
        include_over: Annotated[bool, Query(description="Those that are over too.")] = False,
        unacknowledged_only: Annotated[bool, Query(description="Only those nobody knows.")] = False,
        page_size: Annotated[int, Query(description="0: 100; at most 1000.", ge=0)] = 0,
        page_token: Annotated[str, Query(description="`next_page_token` of the page before.")] = "",
    ) -> JSONResponse:
        """Findings, the worst first, then the newest."""
        request = findings_pb2.ListFindingsRequest(
            target=targets_pb2.TargetSelector(name=target),
            type=named(findings_pb2.FindingType, "FINDING_TYPE_", "type", kind) if kind else None,
            min_severity=_severity(min_severity),
            include_over=include_over,
            unacknowledged_only=unacknowledged_only,
            page_size=min(page_size, 1_000),
            page_token=page_token,
        )
        return await call(servicer.ListFindings, request)

    @routes.get(
        "/watch",
        operation_id="WatchFindings",
        response_class=StreamingResponse,
        responses=answers.stream_of(findings_pb2.WatchFindingsResponse),
    )
    async def watch_findings(target: _Target = "", min_severity: _Least = "") -> Response:
        """What stands now, and each finding again when it changes."""
        request = findings_pb2.WatchFindingsRequest(
            target=targets_pb2.TargetSelector(name=target), min_severity=_severity(min_severity)
        )
        return await events(servicer.WatchFindings, request)

    @routes.get("/{id}", operation_id="GetFinding", responses=one)
    async def get_finding(id: _Id) -> JSONResponse:
        """One finding."""
        return await call(servicer.GetFinding, findings_pb2.GetFindingRequest(id=checked("id", id)))

    @routes.post(
        "/{id}/acknowledge",
        operation_id="AcknowledgeFinding",
        responses=one,
        openapi_extra=answers.body_of(findings_pb2.AcknowledgeFindingRequest),
    )
    async def acknowledge_finding(id: _Id, request: Request) -> JSONResponse:
        """Says that somebody knows of it."""
        wanted = await body(request, findings_pb2.AcknowledgeFindingRequest)
        wanted.id = checked("id", id)
        return await call(servicer.AcknowledgeFinding, wanted)

    return routes


def _severity(name: str) -> Any:
    if not name:
        return findings_pb2.FINDING_SEVERITY_UNSPECIFIED
    return named(findings_pb2.FindingSeverity, "FINDING_SEVERITY_", "min_severity", name)
