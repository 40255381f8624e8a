"""Finger prints of objects whose ids are addresses: what hangs on them tells them apart.

A dead object's address is taken by a new one of its class, often with all that hung on the dead
one. Python snapshots carry a salted mark of each plain value (as `trace_node_id`); the marks of an
object's own values are its print.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memwatch_heap.graph import U32
from memwatch_heap.holders import Holders

Mask = NDArray[np.bool_]
Rows = NDArray[np.intp]

# An object without values of its own goes by those of what it holds, so many levels down.
_DEPTH = 4


@dataclass(frozen=True, slots=True, eq=False)
class Prints:
    """Sums of the marks of the texts and numbers that belong to each object alone; 0: none."""

    text: U32
    number: U32

    def of(self, rows: Rows) -> Mask:
        """Which objects have a print at all."""
        mask: Mask = (self.text[rows] != 0) | (self.number[rows] != 0)
        return mask

    def agree(self, rows: Rows, other: "Prints", there: Rows) -> Mask:
        """Which objects may be the same: all their texts or all their numbers are, or both lack.

        An object that lives on may be changed in one of the two, but mostly not in both.
        """
        told = np.zeros(len(rows), bool)
        same = np.zeros(len(rows), bool)
        for mine, theirs in ((self.text, other.text), (self.number, other.number)):
            both = (mine[rows] != 0) & (theirs[there] != 0)
            told |= both
            same |= both & (mine[rows] == theirs[there])
        return same | ~told


def find_prints(holders: Holders, rows: Rows) -> Prints | None:
    """The prints of all objects in the order of `rows`; None where the snapshot has no marks."""
    graph = holders.graph
    if graph.trace_node is None or graph.traces is not None or not graph.trace_node.any():
        return None
    number = graph.node_type == graph.node_code("number")
    marks = graph.trace_node.astype(np.uint64)
    text, numbers = (_own(holders, np.where(kind, marks, 0)) for kind in (~number, number))
    for _ in range(_DEPTH):
        bare = (text == 0) & (numbers == 0)
        text, numbers = (np.where(bare, _held(holders, kind), kind) for kind in (text, numbers))
    return Prints(text.astype(np.uint32)[rows], numbers.astype(np.uint32)[rows])


def _own(holders: Holders, marks: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Per object its own mark and those of the values that it alone holds."""
    return marks + _held(holders, marks)


def _held(holders: Holders, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Per object the sum over what it holds."""
    total = np.zeros(len(values), np.uint64)
    some = np.flatnonzero(values)
    np.add.at(total, holders.owner[some], values[some])
    return total
