"""Compares snapshots: what each class had and has, and the verdict. Runs in the worker only."""

import json
import os
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from memwatch_controller.analysis.jobs import (
    ClassChange,
    Comparison,
    IndexJob,
    Job,
    JobSnapshot,
    Totals,
)
from memwatch_heap.comparison import compare_snapshots
from memwatch_heap.course import Tell
from memwatch_heap.diff import DiffRow
from memwatch_heap.formats import read
from memwatch_heap.identification import StrangersError
from memwatch_heap.index import write_index
from memwatch_heap.measures import measure
from memwatch_heap.report import Verdict

BY_PLACE = (
    "the runtime numbered its objects anew between the snapshots: objects are told by the way "
    "that leads to them, and new and gone ones of a class as its net change"
)


def compare(job: Job, tell: Tell | None = None) -> Comparison:
    """Compares the snapshots of a job; one graph is held at a time.

    `tell` is called with what goes on and the share that is done.

    Raises:
        memwatch_heap.errors.SnapshotError: a file is no snapshot, or too large for memory.
    """
    by_id = ids_compare(job.snapshots)
    notes: list[str] = [] if by_id else [BY_PLACE]
    found = compare_snapshots(
        [snapshot.path for snapshot in job.snapshots],
        [snapshot.seconds for snapshot in job.snapshots],
        names=[f"'{snapshot.id}'" for snapshot in job.snapshots],
        keeps_ids=lambda _: by_id,
        on_failure=lambda problem: notes.append(_without_verdict(problem)),
        tell=tell,
    )
    changes = changes_by_class(found.rows, by_id=by_id)
    return Comparison(
        by_id=by_id,
        totals=tuple(Totals(total.objects, total.shallow_bytes) for total in found.totals),
        classes=tuple(changes[: job.max_classes]),
        class_count=len(changes),
        verdict=None if found.verdict is None else _document(found.verdict, job.snapshots),
        notes=tuple(notes),
    )


def build_index(job: IndexJob) -> None:
    """Writes the index of a snapshot, which appears under its name when it is whole.

    Raises:
        memwatch_heap.errors.SnapshotError: the file is no snapshot, or too large for memory.
        OSError: the index cannot be written.
    """
    graph = read(Path(job.snapshot.path), name=f"'{job.snapshot.id}'")
    target = Path(job.index_path)
    part = target.with_suffix(f".{os.getpid()}.part")
    try:
        write_index(part, graph, measure(graph), snapshot=job.digest)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def ids_compare(snapshots: Sequence[JobSnapshot]) -> bool:
    """Whether an object has the same id in all of these snapshots."""
    epochs = {snapshot.id_epoch for snapshot in snapshots}
    return len(epochs) == 1 and "" not in epochs


def changes_by_class(rows: Iterable[DiffRow], *, by_id: bool) -> list[ClassChange]:
    """Rows as changes, the greatest growth first.

    Classes of one name that differ by the place they are declared at are one change: a
    report names classes as people do.
    """
    sums: dict[str, list[int]] = {}
    for row in rows:
        figures = (
            row.count_before,
            row.count_after,
            row.bytes_before,
            row.bytes_after,
            row.new_count,
            row.new_bytes,
            row.gone_count,
            row.gone_bytes,
        )
        known = sums.setdefault(row.name, [0] * len(figures))
        sums[row.name] = [a + b for a, b in zip(known, figures, strict=True)]
    changes = [
        ClassChange(name, *(figures if by_id else _net(figures))) for name, figures in sums.items()
    ]
    return sorted(changes, key=lambda change: (-change.size_delta, change.class_name))


def _net(figures: list[int]) -> list[int]:
    """The same figures with new and gone as the net change of count and size."""
    count_before, count_after, bytes_before, bytes_after = figures[:4]
    count, size = count_after - count_before, bytes_after - bytes_before
    return [*figures[:4], max(0, count), max(0, size), max(0, -count), max(0, -size)]


def _without_verdict(problem: Exception) -> str:
    """Why there is no verdict; the figures of the report stand without it."""
    if isinstance(problem, StrangersError):
        return f"there is no verdict: {problem}"
    if isinstance(problem, MemoryError):
        return "there is no verdict: it needs more memory than an analysis may use"
    traceback.print_exception(problem)  # to the worker's stderr
    return f"there is no verdict: {type(problem).__name__} while looking for it"


def _document(verdict: Verdict, snapshots: Sequence[JobSnapshot]) -> dict[str, Any]:
    """The verdict as its document, with the snapshots by their ids."""
    document: dict[str, Any] = json.loads(verdict.to_json())
    for facts, snapshot in zip(document["snapshots"], snapshots, strict=True):
        facts["name"] = snapshot.id
    return document
