"""Reports of kind `near-limit`: what a process left before it died of its heap's limit."""

from pathlib import Path

from memwatch_controller.profiles.rendering import documents, stats
from memwatch_controller.profiles.rendering.documents import Row
from memwatch_controller.profiles.reporting import RenderJob
from memwatch_heap.classes import class_rows
from memwatch_heap.errors import HeapError
from memwatch_heap.formats import read as read_heap

_SNAPSHOT = b'{"snapshot"'

_COUNTED = (("name", "class", "text"), ("count", "objects", "count"))
_MEASURED = (*_COUNTED, ("size_bytes", "size", "bytes"))


def render_classes(job: RenderJob, path: Path, _base: Path | None) -> None:
    """Objects by class: as the process counted them, or of its snapshot.

    Raises:
        ValueError: it did not come to count them.
    """
    with path.open("rb") as file:
        is_snapshot = file.read(len(_SNAPSHOT)) == _SNAPSHOT
    documents.write(job, _of_snapshot(job, path) if is_snapshot else _counted(job, path))


def _counted(job: RenderJob, path: Path) -> Row:
    found = documents.read(path, job.kind)
    classes = found.get("classes")
    if not classes:
        why = str(found.get("classes_missing") or "it died before they were counted")[:500]
        raise ValueError(f"it has no classes: {why}; see report 'table'")
    rows = [{"name": str(name), "count": int(count)} for name, count in classes["rows"]]
    document = documents.table(job, _COUNTED, rows, {"count": int(classes["objects"])})
    document["row_count"] = int(classes["classes"])
    return document


def _of_snapshot(job: RenderJob, path: Path) -> Row:
    try:
        found = class_rows(read_heap(path, name="the artifact"))
    except HeapError as error:
        raise ValueError(str(error)) from error
    rows: list[Row] = [
        {"name": row.name, "count": row.count, "size_bytes": row.shallow_bytes}
        for row in sorted(found, key=lambda row: -row.shallow_bytes)
    ]
    totals = {name: sum(row[name] for row in rows) for name in ("count", "size_bytes")}
    return documents.table(job, _MEASURED, rows, totals)


RENDERERS = {"classes.json": render_classes, **stats.RENDERERS}
