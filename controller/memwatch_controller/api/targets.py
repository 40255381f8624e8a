"""TargetService over gRPC."""

from collections.abc import AsyncIterator
from typing import Any

from memwatch_controller.api import convert, fields
from memwatch_controller.api.status import streaming, unary
from memwatch_controller.registry import Registry, check_known_here
from memwatch_proto.v1 import targets_pb2, targets_pb2_grpc

#: A watcher that hears nothing looks again, so that a call that was cut is noticed.
_WATCH_SECONDS = 60.0


class TargetServicer(targets_pb2_grpc.TargetServiceServicer):
    """Answers TargetService; targets.proto says what each method promises."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    @unary
    async def GetTarget(  # noqa: N802
        self, request: targets_pb2.GetTargetRequest, _context: Any
    ) -> targets_pb2.Target:
        """One target."""
        return convert.target_to_pb(self._registry.get(fields.ident("id", request.id)))

    @unary
    async def ListTargets(  # noqa: N802
        self, request: targets_pb2.ListTargetsRequest, _context: Any
    ) -> targets_pb2.ListTargetsResponse:
        """Targets that match a selector, by service and id."""
        size = fields.page_size(request.page_size)
        selector = convert.selector_from_pb(request.selector)
        check_known_here(selector)
        found = self._registry.find(selector, include_absent=request.include_absent)
        cursor = fields.cursor(request.page_token)
        start = 0 if cursor is None else max(0, cursor[0])
        items, last = fields.page(found[start : start + size + 1], size)
        return targets_pb2.ListTargetsResponse(
            targets=[convert.target_to_pb(target) for target in items],
            next_page_token=fields.token(start + size, last.id) if last else "",
        )

    @streaming
    async def WatchTarget(  # noqa: N802
        self, request: targets_pb2.WatchTargetRequest, _context: Any
    ) -> AsyncIterator[targets_pb2.WatchTargetResponse]:
        """A target now, and each time its agent reports it."""
        while True:
            target = self._registry.get(fields.ident("id", request.id))
            yield targets_pb2.WatchTargetResponse(target=convert.target_to_pb(target))
            while not await self._registry.wait_for_report(request.id, _WATCH_SECONDS):
                self._registry.get(request.id)
