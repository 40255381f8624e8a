"""`memwatchctl query`: objects, retainers and paths in one snapshot file, from its index."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from memwatchctl import app, closures
from memwatchctl.options import command as declare
from memwatchctl.output import Column, Output
from memwatchctl.text import size

if TYPE_CHECKING:
    from memwatch_heap.index import EdgeRow, HeapIndex, ObjectRow, Page
    from memwatch_heap.strings import DuplicateString

#: The questions, of which one is asked at a time.
QUESTIONS = {
    "class_name": "--class",
    "object_id": "--object",
    "named": "--named",
    "retainers": "--retainers",
    "path": "--path",
    "dominated": "--dominated",
    "references": "--references",
    "largest": "--largest",
    "largest_shallow": "--largest-shallow",
    "closures": "--closures",
    "duplicates": "--duplicates",
}


@declare("query", short_help="Objects, retainers and paths in a snapshot file.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--class", "class_name", metavar="NAME", help="Objects of a class.")
@click.option("--object", "object_id", type=int, metavar="ID", help="One object.")
@click.option("--named", metavar="TEXT", help="Objects, and strings, whose name holds a text.")
@click.option("--retainers", type=int, metavar="ID", help="Who holds an object.")
@click.option("--path", type=int, metavar="ID", help="The shortest way from a root to it.")
@click.option("--dominated", type=int, metavar="ID", help="What would be freed with it.")
@click.option("--references", type=int, metavar="ID", help="What it holds.")
@click.option("--largest", is_flag=True, help="The objects that retain the most.")
@click.option("--largest-shallow", is_flag=True, help="The objects that are largest themselves.")
@click.option(
    "--closures", is_flag=True, help="Variables that closures keep alive, and which nobody reads."
)
@click.option("--duplicates", is_flag=True, help="Texts that are held more than once.")
@click.option("--weak", is_flag=True, help="With --retainers: also those that keep nothing alive.")
@click.option(
    "--ignore",
    type=int,
    multiple=True,
    metavar="ID",
    help="With --retainers and --path: as if this object held nothing. Repeatable.",
)
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
    context: click.Context,
    /,
    file: Path,
    weak: bool,
    ignore: tuple[int, ...],
    offset: int,
    limit: int,
    **questions: Any,
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
      memwatchctl query now.heapsnapshot --retainers 48213 --ignore 911
      memwatchctl query now.heapsnapshot --closures
    """
    from memwatchctl import offline
    from memwatchctl.progress import display

    asked = [name for name in QUESTIONS if questions[name] not in (None, False)]
    if len(asked) != 1:
        raise click.UsageError(
            "cannot query: ask one question at a time; give one of " + ", ".join(QUESTIONS.values())
        )
    if ignore and asked[0] not in ("retainers", "path"):
        raise click.UsageError("cannot query: --ignore goes with --retainers and --path")
    out = app.output(context)
    with display(app.no_color(context)) as shown:
        index = offline.index(file, shown)
    with offline.engine():
        if asked[0] in ("retainers", "path"):
            node = questions[asked[0]]
            if asked[0] == "path":
                _edges(out, index.path(node, ignored=ignore), offset, None)
            else:
                page = index.retainers(node, offset, limit, weak=weak, ignored=ignore)
                _edges(out, page.rows, offset, page.total)
        elif asked[0] == "references":
            found = index.references(questions["references"], offset, limit)
            _edges(out, found.rows, offset, found.total)
        elif asked[0] in ("closures", "duplicates"):
            _tables(out, index, asked[0], offset, limit)
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
        page = _page(index, question, value, offset, limit)
        rows, total = list(page.rows), page.total
    if out.is_table:
        out.table(_OBJECTS, rows)
        _rest(out, offset + len(rows), total)
    else:
        out.document({"objects": [_object(row) for row in rows], "total": total})


def _page(
    index: "HeapIndex", question: str, value: Any, offset: int, limit: int
) -> "Page[ObjectRow]":
    if question == "named":
        return index.named(value, offset, limit)
    if question == "dominated":
        return index.dominated(value, offset, limit)
    return index.largest(offset, limit, by_shallow=question == "largest_shallow")


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


def _edges(out: Output, rows: Sequence["EdgeRow"], offset: int, total: int | None) -> None:
    """Prints edges, each with the object at its other end; a way has no `total`."""
    if out.is_table:
        out.table(_EDGES, rows)
        if total is not None:
            _rest(out, offset + len(rows), total)
    else:
        edges = [{"kind": r.kind, "label": r.label, "object": _object(r.node)} for r in rows]
        out.document({"edges": edges} | ({} if total is None else {"total": total}))


def _tables(out: Output, index: "HeapIndex", question: str, offset: int, limit: int) -> None:
    """Answers a question whose answer the index holds as a list of its own."""
    if question == "closures":
        scopes = index.scopes[offset : offset + limit]
        if out.is_table:
            closures.show(out, scopes)
            _rest(out, offset + len(scopes), len(index.scopes))
        else:
            rows = [closures.document(scope) for scope in scopes]
            out.document({"scopes": rows, "total": len(index.scopes)})
        return
    texts = index.duplicates[offset : offset + limit]
    if out.is_table:
        out.table(_TEXTS, texts)
        _rest(out, offset + len(texts), len(index.duplicates))
    else:
        out.document({"strings": [_text(row) for row in texts], "total": len(index.duplicates)})


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


def _text(row: "DuplicateString") -> dict[str, Any]:
    """One text as plain values."""
    return {
        "text": row.text,
        "count": row.count,
        "size_bytes": row.bytes,
        "wasted_size_bytes": row.wasted_bytes,
        "sample_ids": list(row.nodes),
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

_TEXTS: Sequence[Column["DuplicateString"]] = (
    Column("TEXT", lambda row: row.text[:80], cut=True),
    Column("COUNT", lambda row: f"{row.count:,}", right=True),
    Column("SIZE", lambda row: size(row.bytes), right=True),
    Column("WASTED", lambda row: size(row.wasted_bytes), right=True),
    Column("IDS", lambda row: ", ".join(map(str, row.nodes))),
)
