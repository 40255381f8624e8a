"""Compares snapshots: what each class had and has, and the verdict. Runs in the worker only."""

import json
import os
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from memwatch_controller.analysis.jobs import (
    ClassChange,
    Comparison,
    IndexJob,
    Job,
    JobSnapshot,
    Totals,
)
from memwatch_heap.diff import Census, DiffRow, census, diff
from memwatch_heap.formats import read
from memwatch_heap.index import write_index
from memwatch_heap.measures import measure
from memwatch_heap.verdict import explain

NO_IDS = (
    "there is no verdict: the runtime numbered its objects anew between the snapshots, so that "
    "only classes compare; load the memwatch hook to have one"
)


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
    by_id = ids_compare(job.snapshots)
    changes = changes_by_class(diff(before, after), by_id=by_id)
    del before, after  # the verdict needs the room
    verdict, note = _verdict(job.snapshots) if by_id else (None, NO_IDS)
    return Comparison(
        by_id=by_id,
        totals=tuple(totals),
        classes=tuple(changes[: job.max_classes]),
        class_count=len(changes),
        verdict=verdict,
        notes=(note,) if note else (),
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


def _verdict(snapshots: Sequence[JobSnapshot]) -> tuple[dict[str, Any] | None, str]:
    """The verdict as a document, or None and why there is none.

    The figures of the report stand without it, so nothing that goes wrong here may cost them.
    """
    try:
        found = explain(
            [snapshot.path for snapshot in snapshots],
            [snapshot.seconds for snapshot in snapshots],
        )
    except MemoryError:
        return None, "there is no verdict: it needs more memory than an analysis may use"
    except Exception as error:  # noqa: BLE001  see above; the trace goes to the worker's stderr
        traceback.print_exc()
        return None, f"there is no verdict: {type(error).__name__} while looking for it"
    document: dict[str, Any] = json.loads(found.to_json())
    for facts, snapshot in zip(document["snapshots"], snapshots, strict=True):
        facts["name"] = snapshot.id  # it was read under the name of a blob
    return document, ""


def _census(snapshot: JobSnapshot) -> Census:
    return census(read(Path(snapshot.path), name=f"'{snapshot.id}'"))


def _totals(found: Census) -> Totals:
    return Totals(len(found.ids), int(np.sum(found.sizes)))
