"""Reports of kind `native`: memray's own, made with this controller's memray.

A capture file is for the memray that wrote it, or one of the same format; the error of any other
names both versions.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from memwatch_controller.profiles.rendering import documents
from memwatch_controller.profiles.rendering.documents import Row
from memwatch_controller.profiles.reporting import RenderJob

try:
    import memray
    from memray.reporters.flamegraph import FlameGraphReporter
    from memray.reporters.stats import StatsReporter
    from memray.reporters.table import TableReporter
    from memray.reporters.tree import TreeReporter
    from memray.reporters.tui import aggregate_allocations
except ImportError as error:
    raise ValueError(
        "this controller has no memray, which reads such profiles; install it beside the "
        "controller (pip install memray), or download the report 'artifact' and read it there"
    ) from error

#: Records of the memory line above a flame graph.
_MAX_MEMORY_RECORDS = 1_000

#: Of the largest stacks, those that make the tree; memray's own number.
_TREE_ALLOCATIONS = 200


@contextmanager
def _opened(job: RenderJob, path: Path) -> Iterator[memray.FileReader]:
    """The capture file.

    Raises:
        ValueError: this memray cannot read it.
    """
    try:
        reader = memray.FileReader(path, max_memory_records=_MAX_MEMORY_RECORDS)
    except OSError as error:
        wrote = next((note for note in job.notes if note.startswith("memray ")), "another memray")
        raise ValueError(
            f"this controller's memray {version('memray')} cannot read what {wrote} wrote "
            f"({error}); bring both to one version, or download the report 'artifact' and read it "
            "beside the service"
        ) from error
    with reader:
        yield reader


def render_flamegraph(job: RenderJob, path: Path, _base: Path | None) -> None:
    """Memray's flame graph of the moment of most memory."""
    _html(job, path, FlameGraphReporter, leaks=False)


def render_leaks(job: RenderJob, path: Path, _base: Path | None) -> None:
    """Memray's flame graph of what was not freed while it recorded."""
    _html(job, path, FlameGraphReporter, leaks=True)


def render_table_html(job: RenderJob, path: Path, _base: Path | None) -> None:
    """Memray's table of the moment of most memory."""
    _html(job, path, TableReporter, leaks=False)


def _html(job: RenderJob, path: Path, kind: Any, *, leaks: bool) -> None:
    with _opened(job, path) as reader:
        records = (
            reader.get_leaked_allocation_records(merge_threads=True)
            if leaks
            else reader.get_high_watermark_allocation_records(merge_threads=True)
        )
        reporter = kind.from_snapshot(
            records,
            memory_records=tuple(reader.get_memory_snapshots()),
            native_traces=reader.metadata.has_native_traces,
        )
        with Path(job.output).open("w", encoding="utf-8") as file:
            reporter.render(
                outfile=file,
                metadata=reader.metadata,
                show_memory_leaks=leaks,
                merge_threads=True,
                inverted=False,
                no_web=True,
            )


def render_table_json(job: RenderJob, path: Path, _base: Path | None) -> None:
    """The same table as rows: by the innermost frame and the allocator."""
    with _opened(job, path) as reader:
        native = reader.metadata.has_native_traces
        rows: dict[tuple[str, str], dict[str, Any]] = {}
        for record in reader.get_high_watermark_allocation_records(merge_threads=True):
            location = _innermost(record, native)
            allocator = memray.AllocatorType(record.allocator).name.lower()
            fresh: Row = {"location": location, "allocator": allocator, "count": 0, "size_bytes": 0}
            row = rows.setdefault((location, allocator), fresh)
            row["count"] += record.n_allocations
            row["size_bytes"] += record.size
        totals = _totals(reader)
    ordered = list(rows.values())
    ordered.sort(key=lambda row: (-row["size_bytes"], row["location"]))
    columns = (
        ("location", "location", "text"),
        ("allocator", "allocator", "text"),
        ("count", "allocations", "count"),
        ("size_bytes", "size", "bytes"),
    )
    documents.write(job, documents.table(job, columns, ordered, totals))


def render_summary(job: RenderJob, path: Path, _base: Path | None) -> None:
    """Memray's summary: by function and file, with what its callees allocated."""
    with _opened(job, path) as reader:
        records = tuple(reader.get_high_watermark_allocation_records(merge_threads=True))
        size = sum(record.size for record in records)
        found = aggregate_allocations(records, size, reader.metadata.has_native_traces)
        totals = _totals(reader)
    rows: list[Row] = [
        {
            "location": f"{location.function} at {location.file}",
            "total_bytes": result.total_memory,
            "own_bytes": result.own_memory,
            "count": result.n_allocations,
        }
        for location, result in found.items()
    ]
    rows.sort(key=lambda row: (-row["total_bytes"], -row["own_bytes"], row["location"]))
    columns = (
        ("location", "function", "text"),
        ("total_bytes", "total", "bytes"),
        ("own_bytes", "own", "bytes"),
        ("count", "allocations", "count"),
    )
    documents.write(job, documents.table(job, columns, rows, totals))


def render_tree(job: RenderJob, path: Path, _base: Path | None) -> None:
    """Memray's tree of the largest stacks, a row for each node: the depth, then what is below."""
    with _opened(job, path) as reader:
        reporter = TreeReporter.from_snapshot(
            iter(reader.get_high_watermark_allocation_records(merge_threads=True)),
            biggest_allocs=_TREE_ALLOCATIONS,
            native_traces=reader.metadata.has_native_traces,
        )
        totals = _totals(reader)
    rows: list[Row] = []
    waiting = [(reporter.data, 0)]
    while waiting:
        frame, depth = waiting.pop()
        function, file, line = frame.location or ("?", "", 0)
        where = f" {file}:{line}" if file else ""
        rows.append(
            {
                "location": "  " * min(depth, 100) + function + where,
                "depth": depth,
                "count": frame.n_allocations,
                "size_bytes": frame.value,
            }
        )
        below = sorted(frame.children.values(), key=lambda child: child.value)
        waiting += [(child, depth + 1) for child in below]
    columns = (
        ("location", "frame", "text"),
        ("count", "allocations", "count"),
        ("size_bytes", "size", "bytes"),
    )
    documents.write(job, documents.table(job, columns, rows, totals))


def render_stats(job: RenderJob, path: Path, _base: Path | None) -> None:
    """Memray's statistics, in memray's own JSON."""
    with _opened(job, path) as reader:
        if reader.metadata.file_format is memray.FileFormat.AGGREGATED_ALLOCATIONS:
            raise ValueError("a profile that was recorded with 'aggregate' has no statistics")
    found = memray._memray.compute_statistics(str(path), num_largest=min(job.limit, 100))
    StatsReporter(found, min(job.limit, 100)).render(json_output_file=Path(job.output))
    figures = json.loads(Path(job.output).read_text(encoding="utf-8"))
    document = {
        "format": documents.FORMAT,
        "kind": job.kind,
        "report": job.report,
        "stats": figures,
        "notes": job.notes,
    }
    documents.write(job, document)


def _innermost(record: Any, native: bool) -> str:
    stack = record.hybrid_stack_trace(max_stacks=1) if native else record.stack_trace(max_stacks=1)
    if not stack:
        return "???"
    function, file, line = stack[0]
    return f"{function} at {file}:{line}"


def _totals(reader: memray.FileReader) -> dict[str, int]:
    return {
        "count": reader.metadata.total_allocations,
        "size_bytes": reader.metadata.peak_memory,
    }


RENDERERS = {
    "flamegraph.html": render_flamegraph,
    "leaks.html": render_leaks,
    "table.html": render_table_html,
    "table.json": render_table_json,
    "summary.json": render_summary,
    "tree.json": render_tree,
    "stats.json": render_stats,
}
