"""Many small containers alike, put down to what holds those containers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memwatch_heap import rules
from memwatch_heap.holders import Holders
from memwatch_heap.rules import LIMITS

Rows = NDArray[np.intp]
F64 = NDArray[np.float64]
U64 = NDArray[np.uint64]

# Holders whose members are numbered or keyed: several alike below one are its data, spread out.
_COLLECTIONS = ("Map", "Set", "Array", "list", "dict", "set", "deque", "tuple", "WeakMap")
_SPREAD = 3  # so many members alike make a collection of collections
# A tenant's inbox's messages' Map is three owners below the tenants.
_LEVELS = 4
_MIX = np.uint64(0x9E37_79B9_7F4A_7C15)


@dataclass(frozen=True, slots=True, eq=False)
class Heaped:
    """New objects by holder and class: one row each, as columns.

    Attributes:
        holder, group: of the row. count, weight: new objects, and bytes of all that is new in them.
        depth: how many owners above the holder the row is put down to.
    """

    holder: Rows
    group: Rows
    count: F64
    weight: F64
    depth: Rows

    def container(self, holders: Holders, row: int) -> tuple[int, tuple[int, ...]]:
        """(what a row is put down to, groups from there to what holds the objects)."""
        node, via = int(self.holder[row]), []
        for _ in range(int(self.depth[row])):
            via.append(int(holders.group[node]))
            node = int(holders.owner[node])
        return node, tuple(reversed(via))


def roll_up(holders: Holders, holder: Rows, group: Rows, count: F64, weight: F64) -> Heaped:
    """Rows of containers alike become one, under the nearest object that holds enough of them.

    Alike are those of one class, whose owners up to that object are of the same classes in turn.
    """
    rows = _Climbing(holders, holder, group, count, weight)
    for _ in range(_LEVELS):
        rows.climb()
    return Heaped(rows.holder, rows.group, rows.count, rows.weight, rows.depth)


class _Climbing:
    """Rows, and for each the owner that it has climbed to."""

    def __init__(
        self, holders: Holders, holder: Rows, group: Rows, count: F64, weight: F64
    ) -> None:
        self._holders = holders
        self._enough = _enough(holders.group_names)
        self.holder, self.group, self.count, self.weight = holder, group, count, weight
        self.depth = np.zeros(len(holder), np.intp)
        self._at = holder.astype(np.intp)
        self._climbed = np.zeros(len(holder), np.intp)
        self._kind = np.zeros(len(holder), np.uint64)

    def climb(self) -> None:
        """Every row goes up to its owner; those that are alike there, and enough, become one."""
        holders = self._holders
        above = holders.owner[self._at].astype(np.intp)
        free = holders.holds[above] & (above != self._at) & (above != holders.graph.root)
        kind = _mixed(self._kind, holders.group[self._at])
        rows = np.flatnonzero(free)
        keys = _mixed(_mixed(kind[rows], self.group[rows]), above[rows])
        _, first, same, members = np.unique(
            keys, return_index=True, return_inverse=True, return_counts=True
        )
        same = same.ravel()
        sums = np.bincount(same, weights=self.count[rows], minlength=len(first))
        merged = (sums >= LIMITS.min_new) & (
            members >= self._enough[holders.group[above[rows[first]]]]
        )
        # One new object in each of many is a field that was set, unless they hang on it directly.
        far = self._climbed[rows[first]] > self.depth[rows[first]]
        merged &= ~far | (sums >= 2 * members)
        weights = np.bincount(same, weights=self.weight[rows], minlength=len(first))
        self._at[rows], self._kind[rows] = above[rows], kind[rows]
        self._climbed[rows] += 1
        heads = rows[first[merged]]
        self.count[heads], self.weight[heads] = sums[merged], weights[merged]
        self.depth[heads] = self._climbed[heads]
        gone = np.zeros(len(self.holder), bool)
        gone[rows[merged[same]]] = True
        gone[heads] = False
        self._keep(~gone)

    def _keep(self, which: NDArray[np.bool_]) -> None:
        self.holder, self.group = self.holder[which], self.group[which]
        self.count, self.weight = self.count[which], self.weight[which]
        self.depth, self._at = self.depth[which], self._at[which]
        self._climbed, self._kind = self._climbed[which], self._kind[which]


def _mixed(key: U64, value: NDArray[np.integer]) -> U64:
    """A key that differs where either differs; two of 2^64 alike by chance will not be met."""
    mixed = (key ^ (value.astype(np.uint64) + _MIX)) * np.uint64(0xBF58_476D_1CE4_E5B9)
    mixed ^= mixed >> np.uint64(31)
    return mixed * _MIX


def _enough(names: Sequence[str]) -> NDArray[np.int64]:
    """Per group how many members alike make an object of it one container, spread out."""
    return np.array(
        [_SPREAD if rules.KINDS.get(name) in _COLLECTIONS else LIMITS.rollup for name in names],
        np.int64,
    )
