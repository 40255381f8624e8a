"""`memwatchctl snapshots`: what is stored."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from memwatchctl import app, deleting
from memwatchctl.options import group
from memwatchctl.output import Column, Output, plain, word
from memwatchctl.text import age, size

if TYPE_CHECKING:
    from memwatch_proto.v1.common_pb2 import CaptureCost, CaptureTry
    from memwatch_proto.v1.snapshots_pb2 import Snapshot

RUNTIMES = ("", "node", "python")

_BY_ITSELF = "the process itself"
_ORIGINS = {"near_limit": "written by the process itself, when it met its heap's limit"}


@group("snapshots", short_help="Stored snapshots: list, download, upload.")
def command() -> None:
    """Stored snapshots of the controller."""


@command.command("list")
@click.option("--session", default="", help="Only of this session.")
@click.option("--target", default="", help="Only of this target id.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="At most this many; 0: all.",
)
@click.pass_context
def list_(context: click.Context, session: str, target: str, limit: int) -> None:
    """List snapshots, newest first."""
    out = app.output(context)
    with app.controller(context) as controller:
        out.messages("snapshots", controller.snapshots(session, target, limit), COLUMNS)


@command.command("get")
@click.argument("snapshot")
@click.pass_context
def get(context: click.Context, snapshot: str) -> None:
    """Show one snapshot: sizes, digests, what it cost the target."""
    out = app.output(context)
    with app.controller(context) as controller:
        found = controller.snapshot(snapshot)
    if out.is_table:
        _show(out, found)
    else:
        out.document(plain(found))


@command.command("download")
@click.argument("snapshot")
@click.option(
    "--output",
    "destination",
    type=click.Path(path_type=Path),
    help="File or folder; by default the snapshot's own name here.",
)
@click.option("--raw", is_flag=True, help="Keep it as stored: one zstd stream.")
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
@click.pass_context
def download(
    context: click.Context, snapshot: str, destination: Path | None, raw: bool, overwrite: bool
) -> None:
    """Download a snapshot; a name that ends in .gz or .zst says how to write it.

    A download that broke off goes on where it ended (FILE.part); the file gets its name when
    both digests are right.

    \b
    Examples:
      memwatchctl snapshots download snap-42
      memwatchctl snapshots download snap-42 --output before.heapsnapshot
      memwatchctl snapshots download snap-42 --output before.heapsnapshot.gz
    """
    from memwatchctl import downloads
    from memwatchctl.progress import display, transfer_step

    out = app.output(context)
    with app.controller(context) as controller:
        found = controller.snapshot(snapshot)
        form = downloads.Form.ZSTD if raw else downloads.form_of(destination or Path())
        path = destination or Path()
        if path.is_dir():
            form = downloads.Form.ZSTD if raw else downloads.Form.PLAIN
            path = path / downloads.file_name(found, form)
        with display(app.no_color(context)) as shown:
            downloads.save(
                lambda offset: controller.download(found.id, offset),
                found,
                path,
                form,
                overwrite=overwrite,
                on_progress=lambda done, all_: shown.show(transfer_step("downloading", done, all_)),
            )
    if out.is_table:
        out.line(str(path))
    else:
        out.document({"file": str(path), "snapshot": plain(found)})


@command.command("upload")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--session", default="", help="Session to group it under.")
@click.option("--phase", default="", help="Its phase: before, during-1, after.")
@click.option("--service", "--service-name", default="", help="Service it was taken of.")
@click.option("--container-id", default="", help="Container it was taken in.")
@click.option("--runtime", type=click.Choice(RUNTIMES[1:]), help="Runtime it was taken of.")
@click.pass_context
def upload(
    context: click.Context,
    file: Path,
    session: str,
    phase: str,
    service: str,
    container_id: str,
    runtime: str | None,
) -> None:
    """Upload a .heapsnapshot, plain, gzip or zstd.

    Phase, container and time are taken from a name like
    session_4f5e_1700000000000_before_2026-11-22T06-32-35-123Z.heapsnapshot.
    """
    from memwatchctl import uploads
    from memwatchctl.progress import display, transfer_step

    out = app.output(context)
    grouping = uploads.Grouping(
        session, phase, service, container_id, RUNTIMES.index(runtime or "")
    )
    with app.controller(context) as controller, display(app.no_color(context)) as shown:
        stored = uploads.upload_file(
            controller,
            file,
            grouping,
            lambda done, all_: shown.show(transfer_step("uploading", done, all_)),
        )
    if out.is_table:
        out.line(stored.id)
    else:
        out.document(plain(stored))


@command.command("delete")
@click.argument("snapshots", nargs=-1, required=True)
@click.pass_context
def delete(context: click.Context, snapshots: tuple[str, ...]) -> None:
    """Delete snapshots; one that an unfinished session needs is kept."""
    deleting.delete_each(
        context, "snapshot", snapshots, lambda controller, name: controller.delete_snapshot(name)
    )


@command.command("cleanup")
@click.option("--dry-run", is_flag=True, help="Say what would go, and delete nothing.")
@click.option("--delete-orphans", is_flag=True, help="Delete blobs that no snapshot knows, too.")
@click.pass_context
def cleanup(context: click.Context, dry_run: bool, delete_orphans: bool) -> None:
    """Let expired snapshots go now, and name what does not fit together.

    What is kept is set at the controller: --keep-days, --keep-snapshots, --keep-gib. It looks
    every hour by itself, and never deletes orphans by itself.
    """
    out = app.output(context)
    with app.controller(context) as controller:
        done = controller.clean_up(dry_run=dry_run, delete_orphans=delete_orphans)
    if not out.is_table:
        out.document(plain(done))
        return
    verb = "would go" if dry_run else "is deleted"
    for one in done.deleted:
        out.line(f"snapshot {one.id} {verb}: {one.why}, {size(one.stored_size_bytes)}")
    for blob in done.orphans:
        fate = verb if delete_orphans else "is kept (--delete-orphans)"
        out.line(f"blob {blob.key} belongs to no snapshot and {fate}: {size(blob.size_bytes)}")
    for id in done.lost_ids:
        out.line(f"snapshot {id} has lost its blob: restore it, or delete the snapshot")
    for id in done.fetched_ids:
        out.line(f"snapshot {id} was fetched: its agent had kept it until there was room")
    out.line(f"{size(done.freed_bytes)} {'would be' if dry_run else 'are'} free again")


def pause(snapshot: "Snapshot") -> str:
    """The measured pause of the target."""
    return f"{snapshot.cost.pause_millis} ms" if snapshot.cost.pause_source else "-"


def phase(snapshot: "Snapshot") -> str:
    """What a snapshot is of: a session's phase, or what the process wrote by itself."""
    origin = word(snapshot, "origin").replace("_", "-")
    return (snapshot.phase or origin or "-") + (" (late)" if snapshot.late else "")


def _ago(snapshot: "Snapshot") -> str:
    return age((datetime.now(UTC) - snapshot.capture_time.ToDatetime(UTC)).total_seconds())


COLUMNS: Sequence[Column["Snapshot"]] = (
    Column("SNAPSHOT", lambda s: s.id),
    Column("SESSION", lambda s: s.session_id or "-", cut=True),
    Column("PHASE", phase),
    Column("SERVICE", lambda s: s.service or "-", cut=True),
    Column(
        "RUNTIME", lambda s: f"{word(s, 'runtime')} {s.runtime_version}".strip() or "-", cut=True
    ),
    Column("SIZE", lambda s: size(s.raw_size_bytes), right=True),
    Column("STORED", lambda s: size(s.stored_size_bytes), right=True),
    Column("PAUSE", pause, right=True),
    Column("AGE", _ago, right=True),
)


def _walk(snapshot: "Snapshot") -> list[tuple[str, str]]:
    """How the heap was walked, and how much of the process it explains."""
    walk = snapshot.walk
    if not snapshot.HasField("walk"):
        return []
    rate = walk.objects / max(walk.walk_millis, 1) / 1000
    by = f"{walk.walker or 'unknown'} walker" + (f", {walk.way}" if walk.way else "")
    unexplained = max(0, walk.rss_bytes - walk.heap_bytes)
    return [
        ("Walked", f"{walk.objects:,} objects in {walk.walk_millis} ms, {rate:.1f} M/s ({by})"),
        ("In objects", size(walk.heap_bytes)),
        ("In no object", f"{size(unexplained)} of {size(walk.rss_bytes)} RSS"),
    ]


def _tried(one: "CaptureTry") -> str:
    """How one try went."""
    ended = one.failure or "taken"
    return f"{_writer(one)}, {one.pause_millis} ms: {ended}"


def _writer(of: "CaptureCost | CaptureTry") -> str:
    """Who wrote it, in words; empty where nobody said."""
    words = {"forked": "a forked child", "blocking": _BY_ITSELF}
    return words.get(word(of, "manner"), "")


def why_it_paused(snapshot: "Snapshot") -> str:
    """Why the target stood still although a child was to write it; empty where none was to."""
    tries = snapshot.cost.tries
    if len(tries) < 2 or _writer(tries[-1]) != _BY_ITSELF:
        return ""
    return f"stood still for {pause(snapshot)}: no child could write it: {tries[-2].failure}"


def _show(out: Output, snapshot: "Snapshot") -> None:
    cost, memory = snapshot.cost, snapshot.memory
    out.pairs(
        [
            ("Snapshot", snapshot.id),
            ("File name", snapshot.file_name),
            ("Session", snapshot.session_id),
            ("Phase", snapshot.phase),
            ("Origin", _ORIGINS.get(word(snapshot, "origin"), "")),
            ("Taken", snapshot.capture_time.ToJsonString()),
            ("Late", f"{snapshot.late_millis} ms" if snapshot.late else ""),
            ("Kind", word(snapshot, "kind")),
            ("Way", word(snapshot, "way")),
            ("Runtime", f"{word(snapshot, 'runtime')} {snapshot.runtime_version}".strip()),
            ("Service", snapshot.service),
            ("Target", snapshot.target_id),
            ("Container", snapshot.container_id),
            ("Size", f"{size(snapshot.raw_size_bytes)} ({snapshot.raw_size_bytes} bytes)"),
            ("SHA-256", snapshot.raw_sha256),
            ("Stored", f"{size(snapshot.stored_size_bytes)} ({snapshot.stored_size_bytes} bytes)"),
            ("Stored SHA-256", snapshot.stored_sha256),
            ("Pause", pause(snapshot) if cost.pause_source else ""),
            ("Written by", _writer(cost)),
            *((f"Try {number}", _tried(one)) for number, one in enumerate(cost.tries, 1)),
            ("CPU", f"{cost.cpu_millis} ms" if cost.cpu_millis else ""),
            ("Extra memory", size(cost.extra_memory_bytes) if cost.extra_memory_bytes else ""),
            ("Duration", f"{cost.duration_millis} ms" if cost.duration_millis else ""),
            ("RSS then", size(memory.rss_bytes) if memory.HasField("rss_bytes") else ""),
            *_walk(snapshot),
            *(("Note", note) for note in snapshot.notes),
        ]
    )
