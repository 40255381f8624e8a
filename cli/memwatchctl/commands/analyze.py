"""`memwatchctl analyze`: what one heap snapshot holds, without a server."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from memwatchctl import app
from memwatchctl.options import command as declare
from memwatchctl.output import Column, Output
from memwatchctl.text import size

if TYPE_CHECKING:
    from memwatch_heap.classes import ClassRow
    from memwatch_heap.statistics import Statistics


@declare("analyze", short_help="What one snapshot file holds, by class.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--top", type=click.IntRange(min=1), default=25, show_default=True, help="Classes shown."
)
@click.pass_context
def command(context: click.Context, file: Path, top: int) -> None:
    """Show what a heap snapshot holds: its parts, and its classes by retained size.

    FILE is a .heapsnapshot of Node.js, Chrome or memwatch; plain, gzip or zstd.

    \b
    Examples:
      memwatchctl analyze now.heapsnapshot
      memwatchctl analyze now.heapsnapshot.gz -o json
    """
    from memwatchctl import offline
    from memwatchctl.progress import display

    out = app.output(context)
    with display(app.no_color(context)) as shown:
        graph, measures = offline.measured(file, shown)
        with offline.engine():
            from memwatch_heap.classes import class_rows
            from memwatch_heap.statistics import statistics

            rows, parts = class_rows(graph, measures), statistics(graph, measures)
    if out.is_table:
        _show(out, parts, graph.node_count, rows, top)
        return
    out.document(
        {
            "file": str(file),
            "node_count": graph.node_count,
            "edge_count": graph.edge_count,
            "statistics": asdict(parts),
            "classes": [row_document(row) for row in rows],
        }
    )


def row_document(row: "ClassRow") -> dict[str, Any]:
    """One class as plain values."""
    return {
        "class_name": row.name,
        "key": row.key,
        "count": row.count,
        "shallow_size_bytes": row.shallow_bytes,
        "retained_size_bytes": row.retained_bytes,
        "distance": row.distance,
    }


def _show(
    out: Output, parts: "Statistics", nodes: int, rows: Sequence["ClassRow"], top: int
) -> None:
    out.pairs(
        [
            ("Heap", f"{size(parts.total)}, {nodes:,} nodes"),
            ("Code", size(parts.code)),
            ("Strings", size(parts.strings)),
            ("Arrays", size(parts.js_arrays)),
            ("Typed arrays", size(parts.typed_arrays)),
            ("System", size(parts.system)),
        ]
    )
    out.line()
    out.table(CLASSES, rows[:top])
    if len(rows) > top:
        out.line(f"… and {len(rows) - top:,} more classes")


CLASSES: Sequence[Column["ClassRow"]] = (
    Column("CLASS", lambda row: row.name, cut=True),
    Column("COUNT", lambda row: f"{row.count:,}", right=True),
    Column("SHALLOW", lambda row: size(row.shallow_bytes), right=True),
    Column("RETAINED", lambda row: size(row.retained_bytes or 0), right=True),
)
