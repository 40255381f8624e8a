"""The routes of profiles, each of which calls the gRPC method of the same name."""

from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from memwatch_controller.api.fields import ident as checked
from memwatch_controller.api.fields import named
from memwatch_controller.api.http import answers
from memwatch_controller.api.http.gateway import Context, body, call
from memwatch_proto.v1 import common_pb2, profiles_pb2

_Id = Annotated[str, Path(description="Its id.", max_length=256)]

#: What a report's response is: in the type that its header says.
_REPORT: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The report, in the type of its format.",
        "content": {
            "application/json": {"schema": {"type": "object", "description": "A document."}},
            "text/html": {"schema": {"type": "string"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    },
    **answers.ERRORS,
}


def router(servicer: Any) -> APIRouter:
    """Profiles."""
    routes = APIRouter(prefix="/profiles", tags=["profiles"])
    one = answers.of(profiles_pb2.Profile)

    @routes.post(
        "",
        operation_id="StartProfile",
        responses=one,
        openapi_extra=answers.body_of(profiles_pb2.StartProfileRequest),
    )
    async def start_profile(request: Request) -> JSONResponse:
        """Starts a recording and answers at once; idempotent by `request_id`."""
        wanted = await body(request, profiles_pb2.StartProfileRequest)
        return await call(servicer.StartProfile, wanted)

    @routes.get(
        "", operation_id="ListProfiles", responses=answers.of(profiles_pb2.ListProfilesResponse)
    )
    async def list_profiles(
        states: Annotated[list[str], Query(description="Only those in one of these states.")] = [],  # noqa: B006  FastAPI copies it
        service: Annotated[str, Query(description="Only those of this service.")] = "",
        target_id: Annotated[str, Query(description="Only those of this target.")] = "",
        kind: Annotated[str, Query(description="Only those of this kind.")] = "",
        page_size: Annotated[int, Query(description="0: 100; at most 1000.", ge=0)] = 0,
        page_token: Annotated[str, Query(description="`next_page_token` of the page before.")] = "",
    ) -> JSONResponse:
        """Profiles, newest first."""
        request = profiles_pb2.ListProfilesRequest(
            states=[
                named(profiles_pb2.ProfileState, "PROFILE_STATE_", "states", s) for s in states
            ],
            service=service,
            target_id=target_id,
            kind=named(common_pb2.ProfileKind, "PROFILE_KIND_", "kind", kind) if kind else None,
            page_size=min(page_size, 1_000),
            page_token=page_token,
        )
        return await call(servicer.ListProfiles, request)

    @routes.post(
        "/cleanup",
        operation_id="CleanupProfiles",
        responses=answers.of(profiles_pb2.CleanupProfilesResponse),
        openapi_extra=answers.body_of(profiles_pb2.CleanupProfilesRequest),
    )
    async def cleanup_profiles(request: Request) -> JSONResponse:
        """Deletes finished profiles of an age, and says which."""
        wanted = await body(request, profiles_pb2.CleanupProfilesRequest)
        return await call(servicer.CleanupProfiles, wanted)

    @routes.get("/{id}", operation_id="GetProfile", responses=one)
    async def get_profile(id: _Id) -> JSONResponse:
        """One profile."""
        request = profiles_pb2.GetProfileRequest(id=checked("id", id))
        return await call(servicer.GetProfile, request)

    @routes.post("/{id}/stop", operation_id="StopProfile", responses=one)
    async def stop_profile(id: _Id) -> JSONResponse:
        """Ends a recording before its time and keeps what was recorded."""
        request = profiles_pb2.StopProfileRequest(id=checked("id", id))
        return await call(servicer.StopProfile, request)

    @routes.delete(
        "/{id}",
        operation_id="DeleteProfile",
        responses=answers.of(profiles_pb2.DeleteProfileResponse),
    )
    async def delete_profile(id: _Id) -> JSONResponse:
        """Deletes a finished profile with its artifact."""
        request = profiles_pb2.DeleteProfileRequest(id=checked("id", id))
        return await call(servicer.DeleteProfile, request)

    @routes.get(
        "/{id}/reports/{report}",
        operation_id="GetProfileReport",
        response_class=StreamingResponse,
        responses=_REPORT,
    )
    async def get_profile_report(
        id: _Id,
        report: Annotated[str, Path(description="Its name.", max_length=64)],
        form: Annotated[str, Query(alias="format", description="`json`, `html`, `raw`.")] = "",
        base_id: Annotated[str, Query(description="An earlier profile to compare with.")] = "",
        limit: Annotated[int, Query(description="Rows of a table.", ge=0, le=10_000)] = 0,
    ) -> Response:
        """One report of a finished profile; made when it is asked for."""
        request = profiles_pb2.GetProfileReportRequest(
            id=checked("id", id), report=report, format=form, base_id=base_id, limit=limit
        )
        return await _download(servicer, request)

    return routes


async def _download(
    servicer: Any, request: profiles_pb2.GetProfileReportRequest
) -> StreamingResponse:
    """The report's bytes; an error of the call comes before the first of them."""
    parts = aiter(servicer.GetProfileReport(request, Context()))
    header = (await anext(parts)).header
    disposition = "inline" if header.format == "json" else "attachment"
    headers = {
        "Content-Length": str(header.size_bytes),
        "Content-Disposition": f"{disposition}; filename*=UTF-8''{quote(header.file_name)}",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        # A page made of a stranger's names runs in a world of its own.
        "Content-Security-Policy": "sandbox allow-scripts",
    }

    async def data() -> AsyncIterator[bytes]:
        async for part in parts:
            yield part.data

    return StreamingResponse(data(), media_type=header.content_type, headers=headers)
