"""Everything that snapshots of one process tell together: classes and the verdict, in one go.

Each file is read once, but the last one twice: its plain objects name those of the first, and its
graph is needed whole when all others have been boiled down. One graph is held at a time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from memwatch_heap.course import Course, Tell
from memwatch_heap.diff import Census, DiffRow, census, diff
from memwatch_heap.graph import HeapGraph
from memwatch_heap.growth import Ledger, Names
from memwatch_heap.identification import (
    LEAST_SHARE,
    Skeleton,
    StrangersError,
    own_ids,
    renumbered,
    skeleton,
)
from memwatch_heap.report import Verdict, by_place
from memwatch_heap.verdict import Snapshot, check_given, conclude, examine, load

# What the parts weigh in the time that all takes, measured on heaps of 90 to 230 MB.
_READING, _COUNTING, _EXAMINING, _JUDGING = 2.0, 1.0, 4.0, 3.0

_Given = TypeVar("_Given")
_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class HeapTotals:
    """Whole figures of one snapshot; nodes of size 0 are not counted."""

    objects: int
    shallow_bytes: int

    @classmethod
    def of(cls, found: Census) -> "HeapTotals":
        """Those of a census."""
        return cls(len(found.ids), int(np.sum(found.sizes)))


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a comparison found.

    Attributes:
        rows: classes of the first and the last snapshot, the greatest growth first.
        totals: of each snapshot.
        verdict: None where it failed, see `on_failure`.
        by_id: whether ids name the same objects in all of them.
    """

    rows: tuple[DiffRow, ...]
    totals: tuple[HeapTotals, ...]
    verdict: Verdict | None
    by_id: bool = True


def compare_snapshots(
    snapshots: Sequence[Snapshot],
    times: Sequence[float] | None = None,
    *,
    names: Sequence[str] | None = None,
    keeps_ids: Callable[[Sequence[DiffRow]], bool] = lambda _: True,
    on_failure: Callable[[Exception], None] | None = None,
    tell: Tell | None = None,
) -> Comparison:
    """Compares two or more snapshots of one process, oldest first.

    Args:
        snapshots: files or graphs.
        times: when each was taken, in seconds.
        names: what errors call each file, if not by its own name.
        keeps_ids: asked with the classes whether ids name the same objects in all of them;
            where they do not, objects are told by the ways that lead to them.
        on_failure: told of what goes wrong on the way to the verdict; the classes then stand
            without one. If not given it is raised.
        tell: called with what goes on and the share that is done.

    Raises:
        SnapshotError: one cannot be read.
        ValueError: fewer than two snapshots, or as many times as there are not snapshots.
    """
    check_given(snapshots, times)
    course = Course(tell, _weight(len(snapshots)))
    labels: Sequence[str | None] = names or [None] * len(snapshots)
    return _Comparing(list(zip(snapshots, labels, strict=True)), course, on_failure).run(
        times, keeps_ids
    )


def _weight(count: int) -> float:
    return _READING + _COUNTING + count * (_READING + _COUNTING + _EXAMINING) + _JUDGING


class _Comparing:
    """One comparison, snapshot by snapshot."""

    def __init__(
        self,
        snapshots: Sequence[tuple[Snapshot, str | None]],
        course: Course,
        on_failure: Callable[[Exception], None] | None,
    ) -> None:
        self._snapshots = snapshots
        self._course = course
        self._on_failure = on_failure
        self._wanted = True  # the verdict, as long as nothing failed on the way to it
        self._by_id = True
        self._names = Names()
        self._ledgers: list[Ledger] = []
        self._skeleton: Skeleton | None = None  # of the snapshot before, without ids in common

    def run(
        self, times: Sequence[float] | None, keeps_ids: Callable[[Sequence[DiffRow]], bool]
    ) -> Comparison:
        """All of it."""
        newest = self._count(self._load(self._snapshots[-1]))
        graph = self._load(self._snapshots[0])
        oldest = self._count(graph, newest)
        rows = tuple(diff(oldest, newest))
        totals = [HeapTotals.of(oldest), HeapTotals.of(newest)]
        del newest, oldest  # the verdict needs the room
        self._by_id = keeps_ids(rows)
        self._attempt(self._examine, graph)
        for snapshot in self._snapshots[1:-1]:
            graph = self._load(snapshot)
            totals.insert(-1, HeapTotals.of(self._count(graph)))
            self._attempt(self._examine, graph)
        del graph
        verdict = self._attempt(self._verdict, times)
        return Comparison(rows, tuple(totals), verdict, self._by_id)

    def _attempt(self, work: Callable[[_Given], _Found], given: _Given) -> _Found | None:
        """Does a part of the verdict, where it is wanted still."""
        if not self._wanted:
            return None
        try:
            return work(given)
        except Exception as problem:  # the classes must not be lost by it
            if self._on_failure is None:
                raise
            self._wanted = False
            self._on_failure(problem)
            return None

    def _load(self, snapshot: tuple[Snapshot, str | None]) -> HeapGraph:
        return load(snapshot[0], self._course, _READING, snapshot[1])

    def _count(self, graph: HeapGraph, newer: Census | None = None) -> Census:
        self._course.begin(f"counting the objects of {graph.name}", _COUNTING)
        return census(graph, newer.definitions if newer else None)

    def _examine(self, graph: HeapGraph) -> None:
        self._course.begin(f"looking who holds what in {graph.name}", _EXAMINING)
        self._ledgers.append(examine(self._identified(graph), self._names)[0])

    def _verdict(self, times: Sequence[float] | None) -> Verdict:
        graph = self._load(self._snapshots[-1])
        self._course.begin(f"looking who holds what in {graph.name}", _EXAMINING)
        identified = self._identified(graph)
        self._skeleton = None
        examined = examine(identified, self._names)
        self._course.begin("judging what has grown", _JUDGING)
        verdict = conclude(self._ledgers, examined, self._names, times)
        return verdict if self._by_id else by_place(verdict, own_ids(identified, graph))

    def _identified(self, graph: HeapGraph) -> HeapGraph:
        """The graph with ids that name the same objects as in the snapshots before.

        Raises:
            StrangersError: they are of different programs.
        """
        if self._by_id:
            return graph
        if self._skeleton is None:
            self._skeleton = skeleton(graph)
            return graph
        graph, self._skeleton, share = renumbered(graph, self._skeleton)
        if share < LEAST_SHARE:
            raise StrangersError(graph.name, share)
        return graph
