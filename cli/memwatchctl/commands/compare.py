"""`memwatchctl compare`: which objects leak, from two snapshot files or more, without a server."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from memwatchctl import app, verdicts
from memwatchctl.commands import reports
from memwatchctl.options import command as declare
from memwatchctl.output import Output, plain

if TYPE_CHECKING:
    from memwatch_heap.diff import DiffRow
    from memwatch_proto.v1.reports_pb2 import ClassGrowth
    from memwatchctl.offline import Compared

BY_PLACE = (
    "the runtime numbered its objects anew between these snapshots, as V8 does in forked children "
    "and when an inspector was attached: objects are told by the way that leads to them"
)

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@declare("compare", short_help="Which objects leak, from two snapshot files or more.")
@click.argument("before", type=_FILE)
@click.argument("after", type=_FILE)
@click.argument("more", type=_FILE, nargs=-1)
@click.option("--classes", is_flag=True, help="Also how each class changed, first to last.")
@click.option(
    "--top", type=click.IntRange(min=1), default=15, show_default=True, help="Classes shown."
)
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Also write it as HTML."
)
@click.option(
    "--fail-on",
    type=click.Choice(list(verdicts.FAIL_ON)),
    help="Exit code 9 on this verdict or a worse one, for CI.",
)
@click.pass_context
def command(
    context: click.Context,
    before: Path,
    after: Path,
    more: tuple[Path, ...],
    classes: bool,
    top: int,
    html: Path | None,
    fail_on: str | None,
) -> None:
    """Say which objects leak, who holds them and where in the code they come from.

    The snapshots are of one process, oldest first; a third one sharpens what two suggest.

    \b
    Examples:
      memwatchctl compare before.heapsnapshot after.heapsnapshot
      memwatchctl compare snapshots/s-42/*.heapsnapshot --fail-on leaking
      memwatchctl compare before.heapsnapshot after.heapsnapshot --classes -o json
    """
    from memwatchctl import offline
    from memwatchctl.progress import display

    out = app.output(context)
    with display(app.no_color(context)) as shown:
        found = offline.compare([before, after, *more], shown)
    grown = [_growth(row, found.by_id) for row in found.rows]
    verdict = found.verdict.to_dict() if found.verdict else None
    if html and found.verdict:
        _write_html(html, found.verdict)
    if not out.is_table:
        document: dict[str, Any] = {"verdict": verdict, "notes": _notes(found)}
        out.document(document | ({"classes": [plain(row) for row in grown]} if classes else {}))
    else:
        _show(out, verdict, _notes(found), grown, top if classes or verdict is None else 0)
    if fail_on and verdict is None:
        raise verdicts.VerdictError(f"cannot decide --fail-on {fail_on}: {found.problem}")
    verdicts.check(verdict, fail_on)


def _notes(found: "Compared") -> list[str]:
    """What a reader of the verdict should know of it."""
    if found.problem:
        return [f"there is no verdict: {found.problem}"]
    return [] if found.by_id else [BY_PLACE]


def _show(
    out: Output,
    verdict: dict[str, Any] | None,
    notes: Sequence[str],
    grown: Sequence["ClassGrowth"],
    top: int,
) -> None:
    """The verdict, or why there is none; then as many classes as are wanted."""
    if verdict is not None:
        verdicts.show(out, verdict)
    for note in notes:
        out.line(f"note: {note}" if verdict else note)
    if top:
        out.line()
        reports.show_classes(out, grown, top)


def _growth(row: "DiffRow", by_id: bool) -> "ClassGrowth":
    """A row as reports have it; without ids new and gone are the net change."""
    from memwatch_proto.v1.reports_pb2 import ClassGrowth

    count, size = row.count_after - row.count_before, row.bytes_after - row.bytes_before
    return ClassGrowth(
        class_name=row.name,
        count_before=row.count_before,
        count_after=row.count_after,
        shallow_size_before_bytes=row.bytes_before,
        shallow_size_after_bytes=row.bytes_after,
        new_count=row.new_count if by_id else max(0, count),
        gone_count=row.gone_count if by_id else max(0, -count),
        new_size_bytes=row.new_bytes if by_id else max(0, size),
        gone_size_bytes=row.gone_bytes if by_id else max(0, -size),
    )


def _write_html(path: Path, verdict: Any) -> None:
    from memwatch_heap import render
    from memwatchctl.errors import FileError

    try:
        path.write_text(
            f'<!doctype html><meta charset="utf-8"><title>memwatch</title>{render.html(verdict)}\n',
            encoding="utf-8",
        )
    except OSError as error:
        raise FileError("write", path, error) from error
