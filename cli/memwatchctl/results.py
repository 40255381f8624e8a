"""What a finished capture prints: the reports, the snapshots, the files."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from memwatchctl import durations, replicas, verdicts
from memwatchctl.commands import reports, snapshots
from memwatchctl.output import Column, Output, plain
from memwatchctl.text import printable as plain_text
from memwatchctl.text import size

if TYPE_CHECKING:
    from memwatch_proto.v1.reports_pb2 import Report
    from memwatch_proto.v1.sessions_pb2 import Session
    from memwatch_proto.v1.snapshots_pb2 import Snapshot
    from memwatchctl.client import Controller


def show(
    out: Output,
    controller: "Controller",
    session: "Session",
    files: Sequence[Path],
    top: int,
    fail_on: str | None,
) -> None:
    """Prints what a session found.

    Raises:
        VerdictError: it is what `fail_on` names.
    """
    found = [controller.report(report_id) for report_id in session.report_ids]
    beside = replicas.side_by_side(session, found)
    if out.is_table:
        _show_all(out, controller, session, found, files, top)
        _show_replicas(out, beside)
    else:
        out.document(
            {
                "session": plain(session),
                "reports": [plain(report) for report in found],
                "replicas": replicas.plain(beside),
                "files": [str(path) for path in files],
            }
        )
    for report in found:
        verdicts.check(verdicts.of_report(report), fail_on)


def _show_all(
    out: Output,
    controller: "Controller",
    session: "Session",
    found: Sequence["Report"],
    files: Sequence[Path],
    top: int,
) -> None:
    took = session.end_time.ToMilliseconds() - session.create_time.ToMilliseconds()
    out.line(f"session {session.id} succeeded in {durations.describe(max(took, 0))}", style="green")
    for report in found:
        out.line()
        if len(found) > 1:
            out.line(_whose(session, report.target_id), style="bold")
        reports.show(out, report, top, stored=not files)
    out.line()
    _show_snapshots(out, session, files, controller.connection.dashboard_url)


def _show_replicas(out: Output, found: Sequence[replicas.Replica]) -> None:
    """Pods side by side, and what each holds more of than the fresh one."""
    if not found:
        return
    out.line()
    out.line("pods side by side; the newest is what the others are compared with", style="bold")
    out.table(_REPLICAS, found)
    for one in found:
        for excess in one.excess:
            out.line(
                f"{plain_text(one.name)} holds {size(excess.excess_bytes)} more of "
                f"{plain_text(excess.class_name)} than the newest: {excess.count:,} objects, "
                f"there {excess.fresh_count:,}"
            )


def upload(source: "Controller", session: "Session", destination: "Controller") -> None:
    """Copies a session's snapshots to another controller, grouped as they are."""
    from memwatchctl import app, uploads

    for target in session.targets:
        for snapshot in target.snapshots:
            stored = uploads.forward(source, snapshot, destination)
            app.note(
                f"uploaded {snapshot.phase} to {destination.connection.controller}: {stored.id}"
            )


def _whose(session: "Session", target_id: str) -> str:
    for target in session.targets:
        if target.target.id == target_id:
            return f"{target.target.service or target.target.pod} ({target_id})"
    return target_id


def _show_snapshots(
    out: Output, session: "Session", files: Sequence[Path], dashboard_url: str
) -> None:
    """The snapshots: where their files are, or how to get them."""
    taken = [snapshot for target in session.targets for snapshot in target.snapshots]
    for snapshot in taken:
        if why := snapshots.why_it_paused(snapshot):
            out.line(f"{_phase(snapshot)}: {why}", style="yellow")
    if len(files) == len(taken):
        out.table(_SAVED, list(zip(taken, files, strict=True)))
        return
    out.table(_STORED, taken)
    out.line(f"'memwatchctl snapshots download {taken[0].id}' fetches one" if taken else "")
    if dashboard_url:
        out.line(f"dashboard: {dashboard_url.rstrip('/')}/sessions/{session.id}")


_REPLICAS: Sequence[Column[replicas.Replica]] = (
    Column("POD", lambda r: r.name + (" (newest)" if r.fresh else "")),
    Column("HEAP BEFORE", lambda r: size(r.heap_before_bytes), right=True),
    Column("HEAP AFTER", lambda r: size(r.heap_after_bytes), right=True),
    Column("VERDICT", lambda r: r.verdict or "-"),
)


def _phase(snapshot: "Snapshot") -> str:
    return snapshot.phase + (" (late)" if snapshot.late else "")


_STORED: Sequence[Column["Snapshot"]] = (
    Column("PHASE", _phase),
    Column("SNAPSHOT", lambda s: s.id),
    Column("SIZE", lambda s: size(s.raw_size_bytes), right=True),
    Column("PAUSE", snapshots.pause, right=True),
    Column("FILE NAME", lambda s: s.file_name, cut=True),
)

_SAVED: Sequence[Column[tuple["Snapshot", Path]]] = (
    Column("PHASE", lambda pair: _phase(pair[0])),
    Column("SIZE", lambda pair: size(pair[0].raw_size_bytes), right=True),
    Column("PAUSE", lambda pair: snapshots.pause(pair[0]), right=True),
    Column("FILE", lambda pair: str(pair[1])),
)
