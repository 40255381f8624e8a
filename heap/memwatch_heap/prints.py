"""Finger prints of objects whose ids are addresses: what hangs on them tells them apart.

A dead object's address is taken by a new one of its class, often with all that hung on the dead
one. Python snapshots carry a salted mark of each plain value (as `trace_node_id`, or in a section
of their own where that says where objects were made); the marks of an object's own values are its
print.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memwatch_heap.graph import U32
from memwatch_heap.holders import Holders

Mask = NDArray[np.bool_]
Rows = NDArray[np.intp]

# What hangs on what an object holds counts, too, so many levels down.
_DEPTH = 4


@dataclass(frozen=True, slots=True, eq=False)
class Prints:
    """Sums of marks per object; 0: it has none.

    Attributes:
        text, number: of the values that belong to the object alone.
        deep_text, deep_number: of these and of those below what it alone holds.
    """

    text: U32
    number: U32
    deep_text: U32
    deep_number: U32

    def of(self, rows: Rows) -> Mask:
        """Which objects have a print at all."""
        mask: Mask = (self.deep_text[rows] != 0) | (self.deep_number[rows] != 0)
        return mask

    def agree(self, rows: Rows, other: "Prints", there: Rows) -> Mask:
        """Which objects may be the same: one of their sums is, or none can be compared.

        An object that lives on may be changed in its texts, in its numbers or in what it holds,
        but mostly not in all of them.
        """
        return _agree(
            (self.text, self.number, self.deep_text, self.deep_number),
            (other.text, other.number, other.deep_text, other.deep_number),
            (rows, there),
        )

    def agree_themselves(self, rows: Rows, other: "Prints", there: Rows) -> Mask:
        """The same by their own values only: what a holder collects does not make it another."""
        return _agree((self.text, self.number), (other.text, other.number), (rows, there))


def _agree(mine: tuple[U32, ...], theirs: tuple[U32, ...], rows: tuple[Rows, Rows]) -> Mask:
    told = np.zeros(len(rows[0]), bool)
    same = np.zeros(len(rows[0]), bool)
    for one, other in zip(mine, theirs, strict=True):
        here, there = one[rows[0]], other[rows[1]]
        both = (here != 0) & (there != 0)
        told |= both
        same |= both & (here == there)
    return same | ~told


def find_prints(holders: Holders, rows: Rows) -> Prints | None:
    """The prints of all objects in the order of `rows`; None where the snapshot has no marks."""
    graph = holders.graph
    found = graph.value_marks if graph.traces is not None else graph.trace_node
    if found is None or not found.any():
        return None
    number = graph.node_type == graph.node_code("number")
    marks = found.astype(np.uint64)
    kinds = (np.where(number, 0, marks), np.where(number, marks, 0))
    own = [kind + _held(holders, kind) for kind in kinds]
    deep = own
    for _ in range(_DEPTH):
        deep = [mine + _held(holders, below) for mine, below in zip(own, deep, strict=True)]
    return Prints(*(sums.astype(np.uint32)[rows] for sums in (*own, *deep)))


def _held(holders: Holders, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Per object the sum over what it holds."""
    total = np.zeros(len(values), np.uint64)
    some = np.flatnonzero(values)
    np.add.at(total, holders.owner[some], values[some])
    return total
