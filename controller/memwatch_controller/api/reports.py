"""ReportService: what the analysis of sessions found."""

import json
from typing import Any, Protocol

from memwatch_controller import model
from memwatch_controller.api import convert_snapshots as convert
from memwatch_controller.api import fields
from memwatch_controller.api.convert_verdicts import verdict_to_pb
from memwatch_controller.api.status import unary
from memwatch_controller.reports import Reports
from memwatch_proto.v1 import reports_pb2 as pb
from memwatch_proto.v1 import reports_pb2_grpc

_CLASS_FIELDS = [field.name for field in pb.ClassGrowth.DESCRIPTOR.fields]
_TOTALS_FIELDS = [field.name for field in pb.HeapTotals.DESCRIPTOR.fields]


class ReportLists(Protocol):
    """Lists reports; `store.metadata.Metadata` does."""

    async def list_reports(
        self, *, session_id: str = "", limit: int, after: tuple[model.Millis, str] | None = None
    ) -> list[model.Report]:
        """Reports, the newest first."""


class ReportServicer(reports_pb2_grpc.ReportServiceServicer):
    """Answers ReportService; reports.proto says what each method promises."""

    def __init__(self, reports: Reports, lists: ReportLists) -> None:
        self._reports = reports
        self._lists = lists

    @unary
    async def GetReport(self, request: pb.GetReportRequest, context: Any) -> pb.Report:  # noqa: N802
        """One report, by its id or its session's."""
        return report_to_pb(await self._reports.get(fields.ident("id", request.id)))

    @unary
    async def CompareSnapshots(  # noqa: N802
        self, request: pb.CompareSnapshotsRequest, context: Any
    ) -> pb.Report:
        """Compares any stored snapshots of one target."""
        ids = [fields.ident("snapshot_ids", wanted) for wanted in request.snapshot_ids]
        return report_to_pb(await self._reports.compare_by_hand(ids))

    @unary
    async def ListReports(  # noqa: N802
        self, request: pb.ListReportsRequest, context: Any
    ) -> pb.ListReportsResponse:
        """Reports, newest first, without their documents and classes."""
        size = fields.page_size(request.page_size)
        found = await self._lists.list_reports(
            session_id=fields.optional_ident("session_id", request.session_id),
            limit=size + 1,
            after=fields.cursor(request.page_token),
        )
        items, last = fields.page(found, size)
        return pb.ListReportsResponse(
            reports=[report_to_pb(item, whole=False) for item in items],
            next_page_token=fields.token(last.create_time, last.id) if last else "",
        )


def report_to_pb(report: model.Report, *, whole: bool = True) -> pb.Report:
    """A report as a message; what is not in the row is read out of its document."""
    document = json.loads(report.json)
    verdict = document.get("verdict")
    return pb.Report(
        id=report.id,
        session_id=report.session_id if report.session_id != report.id else "",
        target_id=report.target_id if report.target_id != report.id else "",
        create_time=convert.time_to_pb(report.create_time),
        snapshot_ids=report.snapshot_ids,
        before=_totals(document.get("before", {})),
        after=_totals(document.get("after", {})),
        classes=[_growth(row) for row in document.get("classes", ())] if whole else (),
        class_count=document.get("class_count", 0),
        summary=report.summary,
        json=report.json if whole else "",
        verdict=None if verdict is None else verdict_to_pb(verdict, whole=whole),
        notes=document.get("notes", ()),
    )


def _totals(found: dict[str, Any]) -> pb.HeapTotals:
    return pb.HeapTotals(**{name: found.get(name, 0) for name in _TOTALS_FIELDS})


def _growth(row: dict[str, Any]) -> pb.ClassGrowth:
    return pb.ClassGrowth(**{name: row.get(name, 0) for name in _CLASS_FIELDS})
