"""`memwatchctl sessions`: timed captures, those that run and those that ended."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from memwatchctl import app, deleting, durations
from memwatchctl.commands import snapshots
from memwatchctl.options import group
from memwatchctl.output import Column, Output, plain, word
from memwatchctl.text import age

if TYPE_CHECKING:
    from memwatch_proto.v1.sessions_pb2 import Session, SessionTarget

STATES = (
    "pending",
    "capturing_before",
    "waiting",
    "capturing_after",
    "analysing",
    "succeeded",
    "failed",
    "cancelled",
)

_STYLES = {"succeeded": "green", "failed": "red", "cancelled": "yellow"}


@group("sessions", short_help="Timed captures: list, follow, cancel.")
def command() -> None:
    """Timed captures: those that run and those that ended."""


@command.command("list")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(STATES),
    help="Only in this state (repeatable).",
)
@click.option("--service", "--service-name", default="", help="Only of this service.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="At most this many; 0: all.",
)
@click.pass_context
def list_(context: click.Context, states: tuple[str, ...], service: str, limit: int) -> None:
    """List sessions, newest first.

    \b
    Examples:
      memwatchctl sessions list
      memwatchctl sessions list --state waiting --state failed --limit 20
      memwatchctl sessions list --service shop -o json
    """
    wanted = [1 + STATES.index(state) for state in states]
    out = app.output(context)
    with app.controller(context) as controller:
        out.messages("sessions", controller.sessions(wanted, service, limit), _COLUMNS)


@command.command("get")
@click.argument("session")
@click.pass_context
def get(context: click.Context, session: str) -> None:
    """Show one session with its targets and snapshots."""
    out = app.output(context)
    with app.controller(context) as controller:
        found = controller.session(session)
    if out.is_table:
        show(out, found)
    else:
        out.document(plain(found))


@command.command("watch")
@click.argument("session")
@click.pass_context
def watch(context: click.Context, session: str) -> None:
    """Follow one session to its end; Ctrl-C stops watching, the session goes on.

    With -o json each change is one line. The exit code is the session's, as of capture.
    """
    from memwatchctl import captures
    from memwatchctl.progress import session_step

    out = app.output(context)
    with app.controller(context) as controller:
        last = controller.session(session)
        for change in controller.watch_session(session):
            last = change
            if out.is_table:
                out.line(f"{datetime.now():%H:%M:%S}  {session_step(change, time.time()).text}")
                out.flush()
            else:
                out.event(plain(change))
    captures.check(last)


@command.command("cancel")
@click.argument("sessions", nargs=-1, required=True)
@click.pass_context
def cancel(context: click.Context, sessions: tuple[str, ...]) -> None:
    """End sessions before their time; snapshots already taken stay."""
    out = app.output(context)
    with app.controller(context) as controller:
        found = [controller.cancel_session(session) for session in sessions]
    if out.is_table:
        for session in found:
            out.line(f"session {session.id} is {word(session, 'state')}")
    else:
        out.messages("sessions", found, _COLUMNS)


@command.command("delete")
@click.argument("sessions", nargs=-1, required=True)
@click.pass_context
def delete(context: click.Context, sessions: tuple[str, ...]) -> None:
    """Delete finished sessions with their snapshots and reports."""
    deleting.delete_each(
        context, "session", sessions, lambda controller, name: controller.delete_session(name)
    )


def show(out: Output, session: "Session") -> None:
    """Prints all of one session for people."""
    plan, error = session.plan, session.error
    snapshots_ = max(plan.snapshots, 2)
    ended = session.end_time.ToJsonString() if session.HasField("end_time") else ""
    out.pairs(
        [
            ("Session", session.id),
            ("State", word(session, "state")),
            ("Next", _next(session) if not error.message else ""),
            ("Error", f"in phase {error.phase}: {error.message}" if error.message else ""),
            ("Reason", error.reason),
            ("Service", _service(session)),
            ("Plan", f"{snapshots_} snapshots over {durations.describe(plan.timeframe_millis)}"),
            ("Strategy", plan.strategy),
            ("Labels", ", ".join(f"{k}={v}" for k, v in sorted(plan.labels.items()))),
            ("Created", f"{session.create_time.ToJsonString()} ({_ago(session)} ago)"),
            ("Ended", ended),
            ("Reports", ", ".join(session.report_ids)),
        ]
    )
    if session.targets:
        out.line()
        out.table(_TARGETS, list(session.targets))
    taken = [snapshot for target in session.targets for snapshot in target.snapshots]
    if taken:
        out.line()
        out.table(snapshots.COLUMNS, taken)


def _service(session: "Session") -> str:
    if session.plan.service:
        return session.plan.service
    return ", ".join(dict.fromkeys(t.target.service for t in session.targets if t.target.service))


def _next(session: "Session") -> str:
    """What comes next, and when."""
    if session.HasField("next_capture_time") and word(session, "state") == "waiting":
        due = session.next_capture_time.ToDatetime(UTC) - datetime.now(UTC)
        return f"capture in {age(max(due.total_seconds(), 0))}"
    return session.error.reason.lower()


def _ago(session: "Session") -> str:
    return age((datetime.now(UTC) - session.create_time.ToDatetime(UTC)).total_seconds())


_COLUMNS: Sequence[Column["Session"]] = (
    Column("SESSION", lambda s: s.id),
    Column("SERVICE", lambda s: _service(s) or "-", cut=True),
    Column("STATE", lambda s: word(s, "state"), style=lambda s: _STYLES.get(s, "cyan")),
    Column("TARGETS", lambda s: str(len(s.targets)), right=True),
    Column("SNAPSHOTS", lambda s: str(sum(len(t.snapshots) for t in s.targets)), right=True),
    Column("AGE", _ago, right=True),
    Column("NEXT", lambda s: _next(s) or "-", cut=True),
)

_TARGETS: Sequence[Column["SessionTarget"]] = (
    Column("SERVICE", lambda t: t.target.service or "-"),
    Column("TARGET", lambda t: t.target.id),
    Column("PID", lambda t: str(t.target.pid), right=True),
    Column("STATE", lambda t: word(t, "state"), style=lambda s: _STYLES.get(s, "cyan")),
    Column("SNAPSHOTS", lambda t: str(len(t.snapshots)), right=True),
    Column("ERROR", lambda t: t.error.message or "-", cut=True),
)
