"""SessionService over gRPC: converts, calls the use case, converts back."""

from collections.abc import AsyncIterator
from typing import Any

import structlog

from memwatch_controller import model
from memwatch_controller.api import convert, convert_isolations, fields
from memwatch_controller.api.status import streaming, unary
from memwatch_controller.sessions.service import SessionService
from memwatch_proto.v1 import sessions_pb2, sessions_pb2_grpc


class SessionServicer(sessions_pb2_grpc.SessionServiceServicer):
    """Answers SessionService; sessions.proto says what each method promises."""

    def __init__(self, service: SessionService) -> None:
        self._service = service

    @unary
    async def CreateSession(  # noqa: N802
        self, request: sessions_pb2.CreateSessionRequest, _context: Any
    ) -> sessions_pb2.Session:
        """Starts a session."""
        plan = convert.plan_from_pb(request.plan)
        session = await self._service.create(request.request_id, plan, request.session_id)
        _named(session.id)
        return convert.session_to_pb(session)

    @unary
    async def GetSession(  # noqa: N802
        self, request: sessions_pb2.GetSessionRequest, _context: Any
    ) -> sessions_pb2.Session:
        """One session."""
        return await self._told(await self._service.get(_named(request.id)))

    @unary
    async def ListSessions(  # noqa: N802
        self, request: sessions_pb2.ListSessionsRequest, _context: Any
    ) -> sessions_pb2.ListSessionsResponse:
        """Sessions, newest first."""
        size = fields.page_size(request.page_size)
        states = [convert.session_state_from_pb(state) for state in request.states]
        known = [state for state in states if state is not None]
        if states and not known:
            return sessions_pb2.ListSessionsResponse()
        found = await self._service.list(
            states=known,
            service=request.service,
            limit=size + 1,
            after=fields.cursor(request.page_token),
        )
        items, last = fields.page(found, size)
        return sessions_pb2.ListSessionsResponse(
            sessions=[convert.session_to_pb(session) for session in items],
            next_page_token=fields.token(last.create_time, last.id) if last else "",
        )

    @streaming
    async def WatchSession(  # noqa: N802
        self, request: sessions_pb2.WatchSessionRequest, _context: Any
    ) -> AsyncIterator[sessions_pb2.WatchSessionResponse]:
        """A session now and at each change, until it is finished."""
        async for session in self._service.watch(_named(request.id)):
            yield sessions_pb2.WatchSessionResponse(session=await self._told(session))

    @unary
    async def PreviewIsolation(  # noqa: N802
        self, request: sessions_pb2.PreviewIsolationRequest, _context: Any
    ) -> sessions_pb2.PreviewIsolationResponse:
        """What a session would change around its targets."""
        plan = convert.plan_from_pb(request.plan)
        made = await self._service.preview(plan)
        drain = plan.isolation.drain_millis / 1000
        return sessions_pb2.PreviewIsolationResponse(
            pods=[convert_isolations.preview_to_pb(found, drain) for found in made]
        )

    async def _told(self, session: model.Session) -> sessions_pb2.Session:
        """A session with what was changed around its targets."""
        told = convert.session_to_pb(session)
        records = {found.id: found for found in await self._service.isolations(session)}
        for part in told.targets:
            if found := records.get(f"{session.id}.{part.target.id}"):
                part.isolation.CopyFrom(convert_isolations.isolation_to_pb(found))
        return told

    @unary
    async def CancelSession(  # noqa: N802
        self, request: sessions_pb2.CancelSessionRequest, _context: Any
    ) -> sessions_pb2.Session:
        """Ends a session before its time."""
        return convert.session_to_pb(await self._service.cancel(_named(request.id)))

    @unary
    async def DeleteSession(  # noqa: N802
        self, request: sessions_pb2.DeleteSessionRequest, _context: Any
    ) -> sessions_pb2.DeleteSessionResponse:
        """Deletes a finished session."""
        await self._service.delete(_named(request.id))
        return sessions_pb2.DeleteSessionResponse()


def _named(id: str) -> str:
    """A session's id, checked, and from now on in the log records of this call."""
    structlog.contextvars.bind_contextvars(session=fields.ident("id", id))
    return id
