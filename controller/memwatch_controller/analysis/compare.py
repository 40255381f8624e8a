"""The first comparison: what each class had before and has after. Runs in the worker only."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from memwatch_controller.analysis.jobs import (
    ClassChange,
    Comparison,
    Job,
    JobSnapshot,
    Totals,
)
from memwatch_heap.diff import Census, DiffRow, census, diff
from memwatch_heap.formats import read


def compare(job: Job) -> Comparison:
    """Compares the first and the last snapshot of a job; one graph is held at a time.

    Raises:
        memwatch_heap.errors.SnapshotError: a file is no snapshot, or too large for memory.
    """
    first, last = job.snapshots[0], job.snapshots[-1]
    before = _census(first)
    totals = [_totals(before)]
    totals += [_totals(_census(middle)) for middle in job.snapshots[1:-1]]
    after = _census(last)
    totals.append(_totals(after))
    by_id = bool(first.id_epoch) and first.id_epoch == last.id_epoch
    changes = changes_by_class(diff(before, after), by_id=by_id)
    return Comparison(
        by_id=by_id,
        totals=tuple(totals),
        classes=tuple(changes[: job.max_classes]),
        class_count=len(changes),
    )


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


def _census(snapshot: JobSnapshot) -> Census:
    return census(read(Path(snapshot.path), name=f"'{snapshot.id}'"))


def _totals(found: Census) -> Totals:
    return Totals(len(found.ids), int(np.sum(found.sizes)))
