"""FindingService: what the detectors saw."""

from collections.abc import AsyncIterator
from typing import Any

from memwatch_controller.api import convert, fields
from memwatch_controller.api.convert_findings import (
    SEVERITIES_BACK,
    TYPES_BACK,
    finding_to_pb,
)
from memwatch_controller.api.status import streaming, unary
from memwatch_controller.finding import Finding, Severity
from memwatch_controller.findings import Findings
from memwatch_controller.model import Selector
from memwatch_controller.registry import Registry
from memwatch_controller.selection import matches
from memwatch_proto.v1 import findings_pb2 as pb
from memwatch_proto.v1 import findings_pb2_grpc


class FindingServicer(findings_pb2_grpc.FindingServiceServicer):
    """Answers FindingService; findings.proto says what each method promises."""

    def __init__(self, findings: Findings, registry: Registry) -> None:
        self._findings = findings
        self._registry = registry

    @unary
    async def GetFinding(self, request: pb.GetFindingRequest, _context: Any) -> pb.Finding:  # noqa: N802
        """One finding."""
        return self._shown(await self._findings.get(fields.ident("id", request.id)))

    @unary
    async def ListFindings(  # noqa: N802
        self, request: pb.ListFindingsRequest, _context: Any
    ) -> pb.ListFindingsResponse:
        """Findings, the worst first, then the newest."""
        size = fields.page_size(request.page_size)
        found = await self._findings.list(
            convert.selector_from_pb(request.target),
            kind=TYPES_BACK.get(request.type),
            min_severity=SEVERITIES_BACK.get(request.min_severity, Severity.LOW),
            include_over=request.include_over,
            unacknowledged_only=request.unacknowledged_only,
            limit=size + 1,
            after=fields.cursor(request.page_token),
        )
        items, last = fields.page(found, size)
        return pb.ListFindingsResponse(
            findings=[self._shown(item) for item in items],
            next_page_token=fields.token(last.rank, last.id) if last else "",
        )

    @streaming
    async def WatchFindings(  # noqa: N802
        self, request: pb.WatchFindingsRequest, _context: Any
    ) -> AsyncIterator[pb.WatchFindingsResponse]:
        """What stands, and what changes."""
        selector = convert.selector_from_pb(request.target)
        least = SEVERITIES_BACK.get(request.min_severity, Severity.LOW)
        async for finding in self._findings.watch():
            if finding.severity >= least and self._meant(selector, finding):
                yield pb.WatchFindingsResponse(finding=self._shown(finding))

    @unary
    async def AcknowledgeFinding(  # noqa: N802
        self, request: pb.AcknowledgeFindingRequest, _context: Any
    ) -> pb.Finding:
        """Says that somebody knows."""
        by = fields.name("by", request.by)
        if not by:
            raise fields.bad_field("by", "is missing; say who knows of it")
        known = await self._findings.acknowledge(fields.ident("id", request.id), by)
        return self._shown(known)

    def _meant(self, selector: Selector, finding: Finding) -> bool:
        if selector == Selector():
            return True
        targets = (t for t in self._registry.targets() if t.id == finding.target_id)
        return any(matches(selector, target) for target in targets)

    def _shown(self, finding: Finding) -> pb.Finding:
        return finding_to_pb(finding, self._findings.agreement(finding))
