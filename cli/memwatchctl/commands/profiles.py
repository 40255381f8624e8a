"""`memwatchctl profiles`: recordings over time, and their reports."""

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from memwatchctl import app, deleting, durations
from memwatchctl.errors import ExitCode, ProfileError, exit_code
from memwatchctl.options import group, millis
from memwatchctl.output import Column, Output, plain, word
from memwatchctl.text import age, signed, signed_size, size

if TYPE_CHECKING:
    from memwatch_proto.v1.profiles_pb2 import Profile
    from memwatchctl.client import Controller

KINDS = (
    "types",
    "allocations",
    "native",
    "sampling",
    "node-allocations",
    "stats",
    "near-limit",
)
STATES = ("pending", "recording", "storing", "succeeded", "failed", "cancelled")

_OPEN = STATES[:3]
_STYLES = {"succeeded": "green", "failed": "red", "cancelled": "yellow"}

#: How often a profile that is waited for is looked at.
_LOOK_SECONDS = 0.3

MIB = 1024 * 1024


@group("profiles", short_help="Recordings: types, allocations, native memory.")
def command() -> None:
    """Recordings over time of one process: what is allocated where, and their reports."""


@command.command("start")
@click.argument("target")
@click.option("--kind", type=click.Choice(KINDS), required=True, help="What to record.")
@click.option(
    "-t",
    "--duration",
    type=click.UNPROCESSED,
    callback=millis("s"),
    metavar="TIME",
    help="How long: 30 (seconds), 5m. Default: types looks once, the others record 30 s.",
)
@click.option(
    "--frames",
    type=click.IntRange(1, 128),
    default=16,
    show_default=True,
    help="Frames of each stack that are kept.",
)
@click.option(
    "--max-size",
    type=click.IntRange(1, 16_384),
    default=100,
    show_default=True,
    metavar="MIB",
    help="Ends early when the artifact is so large.",
)
@click.option("--native-traces", is_flag=True, help="native: follow frames of C code; slower.")
@click.option("--python-allocator", is_flag=True, help="native: trace Python's allocator too.")
@click.option("--aggregate", is_flag=True, help="native: a small artifact, without `stats`.")
@click.option(
    "--interval",
    type=click.IntRange(1, 1 << 31),
    default=32_768,
    show_default=True,
    metavar="BYTES",
    help="sampling: mean bytes between samples.",
)
@click.option("--gc", is_flag=True, help="Collect garbage before each look.")
@click.option("--force", is_flag=True, help="Record although the headroom is too small.")
@click.option("-d", "--detach", is_flag=True, help="Print the id and leave it recording.")
@click.pass_context
def start(context: click.Context, /, target: str, detach: bool, **flags: Any) -> None:
    """Record a profile of TARGET, and wait until it is stored.

    TARGET is as in capture: an id, service, pod, container id prefix or pid. Ctrl-C leaves the
    recording; `profiles stop` ends it early and keeps what was recorded.

    \b
    Examples:
      memwatchctl profiles start shop --kind types
      memwatchctl profiles start shop --kind allocations --duration 1m --frames 25
      memwatchctl profiles start pid/4711 --kind native -t 30 --detach
    """
    from memwatchctl import selectors

    out = app.output(context)
    with app.controller(context) as controller:
        profile = controller.start_profile(
            selectors.selector(target), _kind(flags["kind"]), _options(flags), flags["force"]
        )
        if detach:
            out.identifier("profile_id", profile.id)
            return
        app.note(f"profile {profile.id} records {_planned(profile)}")
        _show_ended(out, _followed(controller, profile))


@command.command("stop")
@click.argument("profile")
@click.option("-d", "--detach", is_flag=True, help="Do not wait until it is stored.")
@click.pass_context
def stop(context: click.Context, profile: str, detach: bool) -> None:
    """End a recording early; what was recorded is kept."""
    out = app.output(context)
    with app.controller(context) as controller:
        found = controller.stop_profile(profile)
        if detach:
            _show(out, found)
            return
        _show_ended(out, _followed(controller, found))


@command.command("list")
@click.option(
    "--state", "states", multiple=True, type=click.Choice(STATES), help="Only in this state."
)
@click.option("--kind", type=click.Choice(KINDS), help="Only of this kind.")
@click.option("--service", "--service-name", default="", help="Only of this service.")
@click.option("--target", default="", help="Only of this target's id.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="At most this many; 0: all.",
)
@click.pass_context
def list_(
    context: click.Context,
    states: tuple[str, ...],
    kind: str | None,
    service: str,
    target: str,
    limit: int,
) -> None:
    """List profiles, newest first."""
    wanted = [1 + STATES.index(state) for state in states]
    out = app.output(context)
    with app.controller(context) as controller:
        number = _kind(kind) if kind else 0
        out.messages(
            "profiles", controller.profiles(wanted, number, service, target, limit), _COLUMNS
        )


@command.command("get")
@click.argument("profile")
@click.pass_context
def get(context: click.Context, profile: str) -> None:
    """Show one profile: what it cost, and which reports it has."""
    out = app.output(context)
    with app.controller(context) as controller:
        _show(out, controller.profile(profile))


@command.command("report")
@click.argument("profile")
@click.argument("report", required=False, default="")
@click.option(
    "--format",
    "form",
    type=click.Choice(("json", "html", "pprof", "raw")),
    help="Else the report's own.",
)
@click.option("--base", default="", help="An earlier profile to compare with.")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=30,
    show_default=True,
    help="Rows of a table.",
)
@click.option(
    "--output",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the report into this file.",
)
@click.option("--force", is_flag=True, help="Overwrite the file.")
@click.pass_context
def report(
    context: click.Context,
    profile: str,
    report: str,
    form: str | None,
    base: str,
    limit: int,
    path: Path | None,
    force: bool,
) -> None:
    """Show a report of a profile, or write it into a file.

    REPORT is one that `profiles get` lists; without it the first. Pages of HTML and the artifact
    itself need --output.

    \b
    Examples:
      memwatchctl profiles report p-1
      memwatchctl profiles report p-1 lines --limit 50 -o json
      memwatchctl profiles report p-2 diff --base p-1
      memwatchctl profiles report p-3 flamegraph --output flame.html
    """
    from memwatchctl import profile_files

    out = app.output(context)
    with app.controller(context) as controller:
        header, data = controller.profile_report(profile, report, form or "", base, limit)
        if path is not None:
            profile_files.write(path, data, header.size_bytes, overwrite=force)
            app.note(f"wrote {header.report} ({size(header.size_bytes)}) to {path}")
            return
        if header.format != "json":
            raise click.UsageError(
                f"cannot print report '{header.report}' ({header.format}): pass --output FILE"
            )
        document = json.loads(b"".join(data))
    _show_document(out, document)


@command.command("delete")
@click.argument("profiles", nargs=-1, required=True)
@click.pass_context
def delete(context: click.Context, profiles: tuple[str, ...]) -> None:
    """Delete finished profiles with their artifacts."""
    deleting.delete_each(
        context, "profile", profiles, lambda controller, name: controller.delete_profile(name)
    )


@command.command("cleanup")
@click.option(
    "--older-than",
    type=click.UNPROCESSED,
    callback=millis("d"),
    metavar="TIME",
    help="Age: 7 (days), 12h. Default: what the controller keeps by itself, 7 days.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be deleted, and delete nothing.")
@click.pass_context
def cleanup(context: click.Context, older_than: int, dry_run: bool) -> None:
    """Delete finished profiles that are older than an age."""
    out = app.output(context)
    with app.controller(context) as controller:
        cleaned = controller.cleanup_profiles(older_than, dry_run)
    if not out.is_table:
        out.document(plain(cleaned))
        return
    verb = "would delete" if dry_run else "deleted"
    out.line(f"{verb} {len(cleaned.profile_ids)} profiles, {size(cleaned.freed_bytes)}")
    for profile_id in cleaned.profile_ids:
        out.line(f"  {profile_id}")


def _kind(name: str) -> int:
    return 1 + KINDS.index(name)


def _options(flags: dict[str, Any]) -> Any:
    from memwatch_proto.v1 import profiles_pb2

    return profiles_pb2.ProfileOptions(
        duration_millis=flags["duration"],
        max_size_bytes=flags["max_size"] * MIB,
        frames=flags["frames"],
        native_traces=flags["native_traces"],
        python_allocator=flags["python_allocator"],
        aggregate=flags["aggregate"],
        sampling_interval_bytes=flags["interval"],
        collect_garbage=flags["gc"],
    )


def _planned(profile: "Profile") -> str:
    millis_ = profile.options.duration_millis
    length = f"for {durations.describe(millis_)}" if millis_ else "once"
    kind = word(profile, "kind").replace("_", "-")
    return f"{kind} of {profile.service or profile.target.id} {length}"


def _followed(controller: "Controller", profile: "Profile") -> "Profile":
    """The profile at its end."""
    while word(profile, "state") in _OPEN:
        time.sleep(_LOOK_SECONDS)
        profile = controller.profile(profile.id)
    return profile


def _show_ended(out: Output, profile: "Profile") -> None:
    """Prints a profile that has ended.

    Raises:
        ProfileError: not well.
    """
    _show(out, profile)
    if word(profile, "state") != "succeeded":
        code = exit_code(profile.error.reason, ExitCode.SESSION_FAILED)
        raise ProfileError(profile.id, word(profile, "state"), profile.error.message, code)


def _show(out: Output, profile: "Profile") -> None:
    if not out.is_table:
        out.document(plain(profile))
        return
    cost = profile.cost
    out.pairs(
        [
            ("Profile", profile.id),
            ("State", word(profile, "state") + (", stopping" if _is_stopping(profile) else "")),
            ("Error", profile.error.message),
            ("Reason", profile.error.reason),
            ("Kind", word(profile, "kind").replace("_", "-")),
            ("Service", profile.service),
            ("Target", f"{profile.target.id} (pid {profile.target.pid})"),
            ("Created", profile.create_time.ToJsonString()),
            ("Recorded", _recorded(profile)),
            ("Size", size(profile.raw_size_bytes) if profile.raw_size_bytes else ""),
            ("Pause", f"{cost.pause_millis} ms" if profile.HasField("cost") else ""),
            ("CPU", f"{cost.cpu_millis} ms" if profile.HasField("cost") else ""),
            ("Memory", f"+{size(cost.extra_memory_bytes)}" if cost.extra_memory_bytes else ""),
            ("Reports", ", ".join(f"{r.name} ({'/'.join(r.formats)})" for r in profile.reports)),
        ]
    )
    for note in profile.notes:
        out.line(f"note: {note}")


def _is_stopping(profile: "Profile") -> bool:
    return profile.stop_requested and word(profile, "state") in _OPEN


def _recorded(profile: "Profile") -> str:
    if not profile.HasField("stop_time"):
        return ""
    millis_ = profile.stop_time.ToMilliseconds() - profile.start_time.ToMilliseconds()
    return f"{profile.start_time.ToJsonString()} for {durations.describe(max(1, millis_))}"


def _show_document(out: Output, document: dict[str, Any]) -> None:
    """Prints a report: a table by the columns that it names itself, or its document."""
    if not out.is_table or "columns" not in document:
        out.document(document)
        return
    columns: list[Column[dict[str, Any]]] = [
        _column(key, title, unit) for key, title, unit in document["columns"]
    ]
    out.table(columns, document["rows"])
    left = document["row_count"] - len(document["rows"])
    if left > 0:
        out.line(f"… and {left:,} rows more (--limit)")
    for note in document.get("notes", []):
        out.line(f"note: {note}")


def _column(key: str, title: str, unit: str) -> Column[dict[str, Any]]:
    delta = key.endswith(("_delta", "_delta_bytes"))
    shown = {
        "bytes": signed_size if delta else size,
        "count": signed if delta else "{:,}".format,
    }.get(unit, str)
    return Column(
        title.upper(),
        lambda row: shown(row[key]),
        right=unit != "text",
        cut=unit == "text",
    )


def _age(profile: "Profile") -> str:
    return age((datetime.now(UTC) - profile.create_time.ToDatetime(UTC)).total_seconds())


_COLUMNS: Sequence[Column["Profile"]] = (
    Column("PROFILE", lambda p: p.id),
    Column("SERVICE", lambda p: p.service or "-", cut=True),
    Column("KIND", lambda p: word(p, "kind").replace("_", "-")),
    Column("STATE", lambda p: word(p, "state"), style=lambda s: _STYLES.get(s, "cyan")),
    Column("SIZE", lambda p: size(p.raw_size_bytes) if p.raw_size_bytes else "-", right=True),
    Column("AGE", _age, right=True),
    Column("ERROR", lambda p: p.error.message or "-", cut=True),
)
