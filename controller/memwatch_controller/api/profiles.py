"""ProfileService: recordings, and their reports."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from memwatch_controller.api import convert, fields
from memwatch_controller.api import convert_profiles as profiles
from memwatch_controller.api.status import streaming, unary
from memwatch_controller.profiles.reporting import ReportOrder
from memwatch_controller.profiles.service import Profiles, usual_options
from memwatch_proto.chunks import CHUNK_BYTES
from memwatch_proto.v1 import profiles_pb2 as pb
from memwatch_proto.v1 import profiles_pb2_grpc


class ProfileServicer(profiles_pb2_grpc.ProfileServiceServicer):
    """Answers ProfileService; profiles.proto says what each method promises."""

    def __init__(self, service: Profiles) -> None:
        self._profiles = service

    @unary
    async def StartProfile(self, request: pb.StartProfileRequest, context: Any) -> pb.Profile:  # noqa: N802
        """Starts a recording."""
        kind = profiles.KINDS_BACK.get(request.kind)
        if kind is None:
            raise fields.bad_field("kind", "is missing, or not one that is known")
        started = await self._profiles.start(
            fields.ident("request_id", request.request_id),
            convert.selector_from_pb(request.selector),
            kind,
            profiles.options_from_pb(request.options, usual_options(kind)),
            force=request.force,
        )
        return profiles.profile_to_pb(started)

    @unary
    async def StopProfile(self, request: pb.StopProfileRequest, context: Any) -> pb.Profile:  # noqa: N802
        """Ends a recording before its time."""
        return profiles.profile_to_pb(await self._profiles.stop(fields.ident("id", request.id)))

    @unary
    async def GetProfile(self, request: pb.GetProfileRequest, context: Any) -> pb.Profile:  # noqa: N802
        """One profile."""
        return profiles.profile_to_pb(await self._profiles.get(fields.ident("id", request.id)))

    @unary
    async def ListProfiles(  # noqa: N802
        self, request: pb.ListProfilesRequest, context: Any
    ) -> pb.ListProfilesResponse:
        """Profiles, newest first."""
        size = fields.page_size(request.page_size)
        found = await self._profiles.list(
            states=[profiles.STATES_BACK[s] for s in request.states if s in profiles.STATES_BACK],
            service=fields.name("service", request.service),
            target_id=fields.optional_ident("target_id", request.target_id),
            kind=profiles.KINDS_BACK.get(request.kind),
            limit=size + 1,
            after=fields.cursor(request.page_token),
        )
        items, last = fields.page(found, size)
        return pb.ListProfilesResponse(
            profiles=[profiles.profile_to_pb(item) for item in items],
            next_page_token=fields.token(last.create_time, last.id) if last else "",
        )

    @unary
    async def DeleteProfile(  # noqa: N802
        self, request: pb.DeleteProfileRequest, context: Any
    ) -> pb.DeleteProfileResponse:
        """Deletes a finished profile."""
        await self._profiles.delete(fields.ident("id", request.id))
        return pb.DeleteProfileResponse()

    @streaming
    async def GetProfileReport(  # noqa: N802
        self, request: pb.GetProfileReportRequest, context: Any
    ) -> AsyncIterator[pb.GetProfileReportResponse]:
        """One report: a header, then its bytes."""
        order = ReportOrder(
            report=fields.name("report", request.report),
            format=fields.name("format", request.format),
            base_id=fields.optional_ident("base_id", request.base_id),
            limit=request.limit,
        )
        async with self._profiles.report(fields.ident("id", request.id), order) as rendered:
            header = pb.ProfileReportHeader(
                report=rendered.report,
                format=rendered.format,
                content_type=rendered.content_type,
                file_name=rendered.file_name,
                size_bytes=rendered.size_bytes,
            )
            yield pb.GetProfileReportResponse(header=header)
            with rendered.path.open("rb") as file:
                while data := await asyncio.to_thread(file.read, CHUNK_BYTES):
                    yield pb.GetProfileReportResponse(data=data)

    @unary
    async def CleanupProfiles(  # noqa: N802
        self, request: pb.CleanupProfilesRequest, context: Any
    ) -> pb.CleanupProfilesResponse:
        """Deletes old profiles."""
        if request.older_than_millis > 1 << 50:
            raise fields.bad_field("older_than_millis", "is longer than anything was kept")
        cleaned = await self._profiles.clean_up(request.older_than_millis, dry_run=request.dry_run)
        return pb.CleanupProfilesResponse(
            profile_ids=cleaned.profile_ids, freed_bytes=cleaned.freed_bytes
        )
