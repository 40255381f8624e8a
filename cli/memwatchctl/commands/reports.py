"""`memwatchctl reports`: what the analysis of a session's snapshots found."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from memwatchctl import app, verdicts
from memwatchctl.options import group
from memwatchctl.output import Column, Output, plain
from memwatchctl.progress import Step, display
from memwatchctl.text import age, signed, signed_size, size

if TYPE_CHECKING:
    from memwatch_proto.v1.reports_pb2 import ClassGrowth, HeapTotals, Report

#: Rows of classes shown to people by default.
TOP = 15


@group("reports", short_help="What the analysis of a session found.")
def command() -> None:
    """What the analysis of a session's snapshots found."""


@command.command("list")
@click.option("--session", default="", help="Only of this session.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="At most this many; 0: all.",
)
@click.pass_context
def list_(context: click.Context, session: str, limit: int) -> None:
    """List reports, newest first."""
    out = app.output(context)
    with app.controller(context) as controller:
        out.messages("reports", controller.reports(session, limit), _COLUMNS)


@command.command("get")
@click.argument("report")
@click.option("--top", type=click.IntRange(min=1), default=TOP, show_default=True, help="Classes.")
@click.option(
    "--fail-on",
    type=click.Choice(list(verdicts.FAIL_ON)),
    help="Exit code 9 on this verdict or a worse one, for CI.",
)
@click.option("--document", is_flag=True, help="The report's own JSON document, and nothing else.")
@click.pass_context
def get(context: click.Context, report: str, top: int, fail_on: str | None, document: bool) -> None:
    """Show a report, by its id or its session's.

    --document prints the stable JSON of docs/formats/report.md.

    \b
    Examples:
      memwatchctl reports get s-42
      memwatchctl reports get s-42 -o json | jq .classes[0]
      memwatchctl reports get s-42 --document > report.json
    """
    out = app.output(context)
    with app.controller(context) as controller:
        found = controller.report(report)
    if document:
        out.text(found.json)
    elif out.is_table:
        show(out, found, top)
    else:
        out.document(plain(found))
    verdicts.check(verdicts.of_report(found), fail_on)


@command.command("compare")
@click.argument("snapshots", nargs=-1, required=True)
@click.option("--top", type=click.IntRange(min=1), default=TOP, show_default=True, help="Classes.")
@click.option(
    "--fail-on",
    type=click.Choice(list(verdicts.FAIL_ON)),
    help="Exit code 9 on this verdict or a worse one, for CI.",
)
@click.pass_context
def compare(
    context: click.Context, snapshots: tuple[str, ...], top: int, fail_on: str | None
) -> None:
    """Compare stored snapshots of one target, oldest first, and keep the report.

    \b
    Example:
      memwatchctl reports compare snap-1 snap-7 snap-9
    """
    if len(snapshots) < 2:
        raise click.UsageError("cannot compare one snapshot: name two or more, oldest first")
    out = app.output(context)
    with app.controller(context) as controller, display(app.no_color(context)) as shown:
        shown.show(Step("", f"comparing {len(snapshots)} snapshots"))
        found = controller.compare(snapshots)
    if out.is_table:
        show(out, found, top)
    else:
        out.document(plain(found))
    verdicts.check(verdicts.of_report(found), fail_on)


def show(out: Output, report: "Report", top: int = TOP, stored: bool = True) -> None:
    """Prints what grew and, where the analysis found it, what leaks; for people.

    A report that is not `stored` is gone after this.
    """
    verdict = verdicts.of_report(report)
    if verdict is None:
        out.line(report.summary, style="bold")
    else:
        verdicts.show(out, verdict)
        out.line()
        out.line(verdicts.without_verdict(report.summary, verdict))
    for note in report.notes:
        out.line(f"note: {note}")
    out.line(f"heap: {_totals(report.before)} before, {_totals(report.after)} after")
    if report.before.rss_bytes and report.after.rss_bytes:
        out.line(f"process: {_memory(report.before)} before, {_memory(report.after)} after")
    out.line()
    hidden = show_classes(out, report.classes, top)
    if hidden and stored:
        out.line(f"'memwatchctl reports get {report.id} --top 500' shows them")


def show_classes(out: Output, classes: Sequence["ClassGrowth"], top: int) -> int:
    """Prints the classes that changed; how many of them are left out."""
    changed = [row for row in classes if _changed(row)]
    out.table(_CLASSES, changed[:top])
    hidden = max(0, len(changed) - top)
    if hidden:
        out.line(f"… and {hidden:,} more classes changed")
    same = len(classes) - len(changed)
    if same:
        out.line(f"{same:,} classes did not change")
    return hidden


def _totals(totals: "HeapTotals") -> str:
    return f"{totals.object_count:,} objects, {size(totals.shallow_size_bytes)}"


def _memory(totals: "HeapTotals") -> str:
    """RSS, and what of it no object explains: slack of the allocator, C libraries, buffers."""
    return f"{size(totals.rss_bytes)}, {size(totals.unexplained_bytes)} of it in no object"


def _changed(row: "ClassGrowth") -> bool:
    return bool(_growth(row) or _count_growth(row) or row.new_count or row.gone_count)


def _growth(row: "ClassGrowth") -> int:
    return row.shallow_size_after_bytes - row.shallow_size_before_bytes


def _count_growth(row: "ClassGrowth") -> int:
    return row.count_after - row.count_before


def _style(cell: str) -> str:
    return {"+": "red", "-": "green"}.get(cell[:1], "")


_CLASSES: Sequence[Column["ClassGrowth"]] = (
    Column("CLASS", lambda c: c.class_name or "-", cut=True),
    Column("BEFORE", lambda c: f"{c.count_before:,}", right=True),
    Column("AFTER", lambda c: f"{c.count_after:,}", right=True),
    Column("GROWTH", lambda c: signed(_count_growth(c)), right=True, style=_style),
    Column("NEW", lambda c: f"{c.new_count:,}", right=True),
    Column("GONE", lambda c: f"{c.gone_count:,}", right=True),
    Column("SIZE AFTER", lambda c: size(c.shallow_size_after_bytes), right=True),
    Column("SIZE GROWTH", lambda c: signed_size(_growth(c)), right=True, style=_style),
)

_COLUMNS: Sequence[Column["Report"]] = (
    Column("REPORT", lambda r: r.id),
    Column("SESSION", lambda r: r.session_id, cut=True),
    Column(
        "AGE",
        lambda r: age((datetime.now(UTC) - r.create_time.ToDatetime(UTC)).total_seconds()),
        right=True,
    ),
    Column(
        "HEAP GROWTH",
        lambda r: signed_size(r.after.shallow_size_bytes - r.before.shallow_size_bytes),
        right=True,
        style=_style,
    ),
    Column("SUMMARY", lambda r: r.summary, cut=True),
)
