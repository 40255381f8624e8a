"""`memwatchctl leaks`: what the detectors of the agents see."""

import getpass
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from memwatchctl import app
from memwatchctl.errors import ExitCode
from memwatchctl.options import group
from memwatchctl.output import Column, Output, plain, word
from memwatchctl.text import age, size

if TYPE_CHECKING:
    from memwatch_proto.v1.findings_pb2 import Finding, ListFindingsRequest

SEVERITIES = ("low", "medium", "high", "critical")
TYPES = ("memory-leak", "memory-growth", "high-memory", "type-growth")
_STYLES = {"critical": "bold red", "high": "red", "medium": "yellow"}

_least = click.option(
    "--min-severity", type=click.Choice(SEVERITIES), default="low", help="So bad, or worse."
)


@group("leaks", short_help="What the leak detector sees.")
def command() -> None:
    """What the leak detector sees: services whose memory grows, and how long they have."""


@command.command("check")
@click.argument("target", required=False, default="")
@_least
@click.pass_context
def check(context: click.Context, target: str, min_severity: str) -> None:
    """Exit with 9 where a leak is seen that nobody has acknowledged, and with 0 where none is.

    With --verbose the numbers, and what to do next.

    \b
    Examples:
      memwatchctl leaks check
      memwatchctl leaks check shop --min-severity high || page-somebody
    """
    out = app.output(context)
    request = _request(target, min_severity, "memory-leak")
    request.unacknowledged_only = True
    with app.controller(context) as controller:
        found = list(controller.findings(request, 0))
    _list(out, found, app.globals_of(context).verbose)
    if found:
        context.exit(ExitCode.VERDICT)
    if out.is_table:
        out.line("no leak is seen")


@command.command("list")
@click.argument("target", required=False, default="")
@click.option("--type", "kind", type=click.Choice(TYPES), help="Only of this type.")
@_least
@click.option("-a", "--all", "include_over", is_flag=True, help="Those that are over too.")
@click.option("--limit", type=click.IntRange(min=0), default=100, help="At most so many; 0: all.")
@click.pass_context
def list_(
    context: click.Context,
    target: str,
    kind: str | None,
    min_severity: str,
    include_over: bool,
    limit: int,
) -> None:
    """List findings, the worst first; with --verbose the numbers, and what to do next.

    \b
    Examples:
      memwatchctl leaks list
      memwatchctl leaks list shop --all -o json
    """
    out = app.output(context)
    request = _request(target, min_severity, kind)
    request.include_over = include_over
    with app.controller(context) as controller:
        found = list(controller.findings(request, limit))
    _list(out, found, app.globals_of(context).verbose)
    if out.is_table and not found:
        app.note("no findings")


@command.command("get")
@click.argument("finding")
@click.pass_context
def get(context: click.Context, finding: str) -> None:
    """Show one finding: its numbers, and what to do next."""
    out = app.output(context)
    with app.controller(context) as controller:
        _show(out, controller.finding(finding))


@command.command("watch")
@click.argument("target", required=False, default="")
@_least
@click.pass_context
def watch(context: click.Context, target: str, min_severity: str) -> None:
    """Show what stands, and each finding again when it changes, until Ctrl-C."""
    from memwatch_proto.v1 import findings_pb2

    out = app.output(context)
    same = _request(target, min_severity, None)
    request = findings_pb2.WatchFindingsRequest(target=same.target, min_severity=same.min_severity)
    with app.controller(context) as controller:
        for seen in controller.watch_findings(request):
            if out.is_table:
                state = "over" if seen.HasField("end_time") else word(seen, "severity")
                out.line(f"{datetime.now():%H:%M:%S}  {state}  {seen.service}: {seen.summary}")
                out.flush()
            else:
                out.event(plain(seen))


@command.command("ack")
@click.argument("finding")
@click.option("--by", default="", help="Who; default: your user name.")
@click.pass_context
def ack(context: click.Context, finding: str, by: str) -> None:
    """Say that somebody knows of a finding: `leaks check` no longer counts it."""
    out = app.output(context)
    with app.controller(context) as controller:
        _show(out, controller.acknowledge(finding, by or getpass.getuser()))


def _request(target: str, min_severity: str, kind: str | None) -> "ListFindingsRequest":
    from memwatch_proto.v1 import findings_pb2
    from memwatchctl import selectors

    type_name = f"FINDING_TYPE_{(kind or 'unspecified').upper().replace('-', '_')}"
    return findings_pb2.ListFindingsRequest(
        target=selectors.selector(target),
        type=findings_pb2.FindingType.Name(findings_pb2.FindingType.Value(type_name)),
        min_severity=f"FINDING_SEVERITY_{min_severity.upper()}",
    )


def _list(out: Output, found: Sequence["Finding"], verbose: bool) -> None:
    if not out.is_table or not verbose:
        if found or not out.is_table:
            out.messages("findings", found, _columns())
        return
    for finding in found:
        _show(out, finding)
        out.line()


def _columns() -> Sequence[Column["Finding"]]:
    return (
        Column("SEVERITY", lambda f: word(f, "severity"), style=lambda s: _STYLES.get(s, "")),
        Column("SERVICE", lambda f: f.service or "-", cut=True),
        Column("TYPE", lambda f: word(f, "type")),
        Column("SINCE", lambda f: _ago(f, "since_time"), right=True),
        Column("STATE", _state),
        Column("FINDING", lambda f: f.id),
        Column("WHAT", lambda f: f.summary, cut=True),
    )


def _state(finding: "Finding") -> str:
    if finding.HasField("end_time"):
        return f"over {_ago(finding, 'end_time')} ago"
    return "acknowledged" if finding.acknowledged_by else "stands"


def _ago(finding: "Finding", field: str) -> str:
    at: Any = getattr(finding, field)
    return age((datetime.now(UTC) - at.ToDatetime(UTC)).total_seconds())


def _number(name: str, number: float) -> str:
    return size(round(number)) if "bytes" in name else f"{number:,.4g}"


def _show(out: Output, finding: "Finding") -> None:
    if not out.is_table:
        out.document(plain(finding))
        return
    numbers = sorted(finding.evidence.items())
    agreeing = f"{finding.replicas_agreeing} of {finding.replicas}" if finding.replicas > 1 else ""
    out.pairs(
        [
            ("Finding", finding.id),
            ("What", finding.summary),
            ("Severity", word(finding, "severity")),
            ("Type", word(finding, "type")),
            ("State", _state(finding)),
            ("Known to", finding.acknowledged_by),
            ("Service", finding.service),
            ("Pod", f"{finding.namespace}/{finding.pod}" if finding.pod else ""),
            ("Target", finding.target_id),
            ("Replicas", agreeing),
            ("Since", finding.since_time.ToJsonString()),
            ("First seen", finding.first_seen_time.ToJsonString()),
            *((f"  {name}", _number(name, number)) for name, number in numbers),
        ]
    )
    for one in finding.recommendations:
        out.line(f"→ {one.text}")
        if one.command:
            out.line(f"    {one.command}")
