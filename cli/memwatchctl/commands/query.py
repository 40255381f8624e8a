"""`memwatchctl query`: objects, retainers and paths in one snapshot file, from its index."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from memwatchctl import app
from memwatchctl.options import command as declare
from memwatchctl.output import Column, Output
from memwatchctl.text import size

if TYPE_CHECKING:
    from memwatch_heap.index import EdgeRow, HeapIndex, ObjectRow

#: The questions, of which one is asked at a time.
QUESTIONS = ("class_name", "object_id", "retainers", "path", "dominated", "references", "largest")


@declare("query", short_help="Objects, retainers and paths in a snapshot file.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--class", "class_name", metavar="NAME", help="Objects of a class.")
@click.option("--object", "object_id", type=int, metavar="ID", help="One object.")
@click.option("--retainers", type=int, metavar="ID", help="Who holds an object.")
@click.option("--path", type=int, metavar="ID", help="The shortest way from a root to it.")
@click.option("--dominated", type=int, metavar="ID", help="What would be freed with it.")
@click.option("--references", type=int, metavar="ID", help="What it holds.")
@click.option("--largest", is_flag=True, help="The objects that retain the most.")
@click.option("--offset", type=click.IntRange(min=0), default=0, help="Skip this many.")
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=25,
    show_default=True,
    help="At most this many.",
)
@click.pass_context
def command(
    context: click.Context, /, file: Path, offset: int, limit: int, **questions: Any
) -> None:
    """Ask one question of a heap snapshot.

    The first question of a file reads it and leaves an index beside it (FILE.mwindex), from
    which the others are answered at once. Objects are named by the ids that lists show, the
    same as in Chrome DevTools.

    \b
    Examples:
      memwatchctl query now.heapsnapshot --largest
      memwatchctl query now.heapsnapshot --class LeakedReport --limit 5
      memwatchctl query now.heapsnapshot --path 48213
    """
    from memwatchctl import offline
    from memwatchctl.progress import display

    asked = [name for name in QUESTIONS if questions[name] not in (None, False)]
    if len(asked) != 1:
        raise click.UsageError(
            "cannot query: ask one question at a time; give one of --class, --object, "
            "--retainers, --path, --dominated, --references and --largest"
        )
    out = app.output(context)
    with display(app.no_color(context)) as shown:
        index = offline.index(file, shown)
    with offline.engine():
        if asked[0] in ("retainers", "path", "references"):
            _edges(out, index, asked[0], questions[asked[0]], offset, limit)
        else:
            _objects(out, index, asked[0], questions[asked[0]], offset, limit)


def _objects(
    out: Output, index: "HeapIndex", question: str, value: Any, offset: int, limit: int
) -> None:
    """Answers a question whose answer is objects."""
    if question == "class_name":
        rows, total = _of_class(index, value, offset, limit)
    elif question == "object_id":
        rows, total = [index.node(value)], 1
    else:
        page = (
            index.largest(offset, limit)
            if question == "largest"
            else index.dominated(value, offset, limit)
        )
        rows, total = list(page.rows), page.total
    if out.is_table:
        out.table(_OBJECTS, rows)
        _rest(out, offset + len(rows), total)
    else:
        out.document({"objects": [_object(row) for row in rows], "total": total})


def _of_class(
    index: "HeapIndex", name: str, offset: int, limit: int
) -> tuple[list["ObjectRow"], int]:
    """Objects of a class by its name; classes of one name declared apart follow one another.

    Raises:
        click.UsageError: there is no such class.
    """
    keys = [row.key for row in index.classes if name in (row.name, row.key)]
    if not keys:
        raise click.UsageError(
            f"cannot query class '{name[:80]}': there is none; 'memwatchctl analyze' lists them"
        )
    rows: list[ObjectRow] = []
    total = 0
    for key in keys:
        page = index.objects(key, max(0, offset - total), limit - len(rows))
        rows += page.rows
        total += page.total
    return rows, total


def _edges(
    out: Output, index: "HeapIndex", question: str, node: int, offset: int, limit: int
) -> None:
    """Answers a question whose answer is edges, each with the object at its other end."""
    if question == "path":
        rows, total = index.path(node), None
    else:
        page = (
            index.retainers(node, offset, limit)
            if question == "retainers"
            else index.references(node, offset, limit)
        )
        rows, total = list(page.rows), page.total
    if out.is_table:
        out.table(_EDGES, rows)
        if total is not None:
            _rest(out, offset + len(rows), total)
    else:
        edges = [{"kind": r.kind, "label": r.label, "object": _object(r.node)} for r in rows]
        out.document({"edges": edges} | ({} if total is None else {"total": total}))


def _rest(out: Output, shown: int, total: int) -> None:
    if total > shown:
        out.line(f"… {total:,} in all; --offset {shown} goes on")


def _object(row: "ObjectRow") -> dict[str, Any]:
    """One object as plain values."""
    return {
        "id": row.id,
        "name": row.name,
        "kind": row.kind,
        "class_name": row.class_name,
        "shallow_size_bytes": row.shallow_bytes,
        "retained_size_bytes": row.retained_bytes,
        "distance": row.distance,
    }


_OBJECTS: Sequence[Column["ObjectRow"]] = (
    Column("ID", lambda row: str(row.id), right=True),
    Column("CLASS", lambda row: row.class_name, cut=True),
    Column("NAME", lambda row: row.name[:80], cut=True),
    Column("SHALLOW", lambda row: size(row.shallow_bytes), right=True),
    Column("RETAINED", lambda row: size(row.retained_bytes), right=True),
    Column("DISTANCE", lambda row: str(row.distance), right=True),
)

_EDGES: Sequence[Column["EdgeRow"]] = (
    Column("EDGE", lambda row: row.label, cut=True),
    Column("KIND", lambda row: row.kind),
    Column("ID", lambda row: str(row.node.id), right=True),
    Column("CLASS", lambda row: row.node.class_name, cut=True),
    Column("RETAINED", lambda row: size(row.node.retained_bytes), right=True),
)
