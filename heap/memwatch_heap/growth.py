"""What changed between snapshots of one process: by class, by holder, by object id.

A snapshot is boiled down to a `Ledger` (about 40 bytes per object), so that comparing any number
of them holds one whole graph at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memwatch_heap import rules
from memwatch_heap.graph import U32
from memwatch_heap.holders import ITEM, NO_EDGE, Holders
from memwatch_heap.owned import Owned
from memwatch_heap.prints import Prints, find_prints
from memwatch_heap.rules import LIMITS

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]
Mask = NDArray[np.bool_]
Rows = NDArray[np.intp]

# Where ids are addresses, an object is known again by its class too; V8 never uses an id twice.
_ADDRESS_ROOT = "(modules)"


class Names:
    """Class names as numbers that are the same in every ledger of a comparison."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def number(self, name: str) -> int:
        """The number of a name."""
        return self.numbers.setdefault(name, len(self.numbers))

    def all(self) -> list[str]:
        """The names in the order of their numbers."""
        return list(self.numbers)


@dataclass(frozen=True, slots=True, eq=False)
class Ledger:
    """What comparing needs to know of one snapshot; all columns are in the order of `ids`.

    Attributes:
        name: what the snapshot is called.
        ids: of all objects, ascending.
        group: class by number. owner: id of the holder.
        shallow, retained: sizes in bytes.
        item: whether the object may be one that a holder collects.
        slots: holders of several items by the id of their own holder and their label there.
        total_bytes: of the whole heap.
        identity: what an object keeps for life, by number: its class, all texts being one.
        by_address: ids are addresses, and may be used again by another object.
        prints: what tells two objects at one address apart; None where nothing has to.
    """

    name: str
    ids: U64
    group: U32
    owner: U64
    shallow: I64
    retained: I64
    item: Mask
    slots: dict[tuple[int, str], int]
    total_bytes: int
    identity: U32
    by_address: bool
    prints: Prints | None

    def rows_of(self, ids: U64) -> Rows:
        """The row of each id, -1 for those that the snapshot does not have."""
        rows = np.searchsorted(self.ids, ids)
        rows[rows == len(self.ids)] = 0
        return np.where(self.ids[rows] == ids, rows, -1)

    def known(self, ids: U64, identity: U32) -> Mask:
        """Which of some objects are in this snapshot, by id and class.

        V8 gives an id again, too, where an object dies and another one is made in its place.
        """
        rows = self.rows_of(ids)
        mask: Mask = (rows >= 0) & (self.identity[rows] == identity)
        return mask

    def lives_on(self, rows: Rows, other: "Ledger") -> Mask:
        """Which objects of this snapshot are in another one as well, and no others in their place.

        A holder changes with what it holds: ask `known` for those.
        """
        there = other.rows_of(self.ids[rows])
        found: Mask = (there >= 0) & (self.identity[rows] == other.identity[there])
        if self.prints is not None and other.prints is not None:
            found &= self.prints.agree(rows, other.prints, there)
        return found

    def replaced(self, other: "Ledger") -> Mask:
        """Which objects stand at an address where another snapshot has one with other values."""
        rows = np.arange(len(self.ids))
        if self.prints is None or other.prints is None:
            return np.zeros(len(rows), bool)
        there = other.rows_of(self.ids)
        return (there >= 0) & ~self.prints.agree_themselves(rows, other.prints, there)


def make_ledger(holders: Holders, shallow: I64, retained: I64, names: Names) -> Ledger:
    """The ledger of a heap; `shallow` and `retained` are per node."""
    graph = holders.graph
    ids = graph.node_id.astype(np.uint64)
    rows = np.argsort(ids, kind="stable")
    numbers = np.array([names.number(name) for name in holders.group_names], np.uint32)
    kinds = identities(holders.group_names, names)
    return Ledger(
        name=graph.name,
        ids=ids[rows],
        group=numbers[holders.group[rows]],
        owner=ids[holders.owner[rows]],
        shallow=shallow[rows],
        retained=retained[rows],
        item=(holders.category[rows] == ITEM),
        slots=_slots(holders),
        total_bytes=int(retained[graph.root]) + graph.extra_native_bytes,
        identity=kinds[holders.group[rows]],
        by_address=is_by_address(holders),
        prints=find_prints(holders, rows),
    )


def identities(groups: Sequence[str], names: Names) -> U32:
    """Per group the number of what an object of it stays: V8 flattens and joins texts in place."""
    return np.array(
        [names.number(rules.TEXT if name in rules.TEXTS else name) for name in groups], np.uint32
    )


def is_by_address(holders: Holders) -> bool:
    """Whether the heap is one whose ids are addresses (CPython's)."""
    graph = holders.graph
    return any(
        graph.name_of(int(graph.edge_to[edge])) == _ADDRESS_ROOT
        for edge in graph.edges_of(graph.root)
    )


def _slots(holders: Holders) -> dict[tuple[int, str], int]:
    graph = holders.graph
    counts = np.bincount(holders.owner[holders.category == ITEM], minlength=graph.node_count)
    return {
        slot_of(holders, int(node)): int(graph.node_id[node])
        for node in np.flatnonzero(counts >= LIMITS.min_new)
        if holders.edge[node] != NO_EDGE
    }


def slot_of(holders: Holders, node: int) -> tuple[int, str]:
    """The place of a holder: its own holder's id, and the label it has there."""
    graph = holders.graph
    return int(graph.node_id[holders.owner[node]]), holders.label_of(node)


@dataclass(frozen=True, slots=True)
class ClassGrowth:
    """One class over all snapshots, objects told by id.

    Attributes:
        counts, shallow_bytes, retained_bytes: at each snapshot. Retained sizes are of objects
            that no object of the same class holds directly.
        new, gone, survived: between the first snapshot and the last.
        grown: survivors whose retained size is larger than it was.
    """

    name: str
    counts: tuple[int, ...]
    shallow_bytes: tuple[int, ...]
    retained_bytes: tuple[int, ...]
    new: int
    gone: int
    survived: int
    grown: int


@dataclass(frozen=True, slots=True)
class Series:
    """The objects of one class that one holder has, followed over the snapshots.

    Attributes:
        counts: at each snapshot. arrived: per interval, those that the holder did not have before.
        gone: per interval, those that are nowhere any more.
        new: objects that the holder has at the last snapshot and did not have at the first.
        told: share of them that could be told from others at the same address.
    """

    counts: tuple[int, ...]
    arrived: tuple[int, ...]
    gone: tuple[int, ...]
    new: int
    told: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Growth:
    """Ledgers of one process, oldest first, and what they say of each other."""

    ledgers: tuple[Ledger, ...]
    names: tuple[str, ...]
    _classes: list[ClassGrowth] = field(default_factory=list)
    _owned: dict[int, Owned] = field(default_factory=dict)

    @property
    def first(self) -> Ledger:
        """The oldest snapshot."""
        return self.ledgers[0]

    @property
    def last(self) -> Ledger:
        """The newest snapshot."""
        return self.ledgers[-1]

    @property
    def grown_bytes(self) -> int:
        """By how much the whole heap has grown."""
        return self.last.total_bytes - self.first.total_bytes

    def new_rows(self) -> Mask:
        """Which rows of the last ledger are objects that the first does not have."""
        return ~self.last.lives_on(np.arange(len(self.last.ids)), self.first)

    def classes(self) -> list[ClassGrowth]:
        """Every class, the greatest growth of retained size first."""
        if not self._classes:
            self._classes.extend(_class_growth(self))
        return self._classes

    def held_by(self, ledger: Ledger, owners: Sequence[int], group: int) -> Rows:
        """The rows of a ledger that are of a class and have one of some owners (ids)."""
        rows = self._rows_by(ledger, owners)
        found: Rows = rows[ledger.group[rows] == group]
        return found

    def items_of(self, ledger: Ledger, owner: int) -> Rows:
        """The rows of a ledger that are items of an owner (id)."""
        rows = self._rows_by(ledger, (owner,))
        found: Rows = rows[ledger.item[rows]]
        return found

    def _rows_by(self, ledger: Ledger, owners: Sequence[int]) -> Rows:
        owned = self._owned.get(id(ledger))
        if owned is None:
            owned = self._owned[id(ledger)] = Owned(ledger.owner)
        return owned.by(owners)

    def follow(self, keys: Sequence[tuple[tuple[int, ...], int]]) -> Series:
        """The series of the items of a class: per snapshot, the holders' ids and the class."""
        steps = []
        for ledger, (owners, group) in zip(self.ledgers, keys, strict=True):
            rows = self.held_by(ledger, owners, group)
            steps.append(rows[ledger.item[rows]])
        return _series(self.ledgers, steps)


def _series(ledgers: Sequence[Ledger], steps: Sequence[Rows]) -> Series:
    arrived, gone = [], []
    for (old, old_rows), (new, new_rows) in pairwise(zip(ledgers, steps, strict=True)):
        gone.append(int((~old.lives_on(old_rows, new)).sum()))
        arrived.append(_came(old, old_rows, new, new_rows))
    last = ledgers[-1]
    prints = last.prints
    told = 1.0 if prints is None or not len(steps[-1]) else float(prints.of(steps[-1]).mean())
    came = _came(ledgers[0], steps[0], last, steps[-1])
    return Series(tuple(map(len, steps)), tuple(arrived), tuple(gone), came, told)


def _came(old: Ledger, old_rows: Rows, new: Ledger, new_rows: Rows) -> int:
    """How many of a holder's objects it did not hold before, wherever they may have been."""
    kept = new.lives_on(new_rows, old) & np.isin(new.ids[new_rows], old.ids[old_rows])
    return int((~kept).sum())


def _class_growth(growth: Growth) -> list[ClassGrowth]:
    count = len(growth.names)
    columns = [_columns(ledger, count) for ledger in growth.ledgers]
    first, last = growth.first, growth.last
    is_new, is_gone = growth.new_rows(), ~first.lives_on(np.arange(len(first.ids)), last)
    kept = last.ids[~is_new]
    grown = last.retained[~is_new] > first.retained[first.rows_of(kept)]
    new = np.bincount(last.group[is_new], minlength=count)
    gone = np.bincount(first.group[is_gone], minlength=count)
    survived = np.bincount(last.group[~is_new], minlength=count)
    larger = np.bincount(last.group[~is_new][grown], minlength=count)
    rows = [
        ClassGrowth(
            name=growth.names[number],
            counts=tuple(int(counts[number]) for counts, _, _ in columns),
            shallow_bytes=tuple(int(shallow[number]) for _, shallow, _ in columns),
            retained_bytes=tuple(int(retained[number]) for _, _, retained in columns),
            new=int(new[number]),
            gone=int(gone[number]),
            survived=int(survived[number]),
            grown=int(larger[number]),
        )
        for number in range(count)
        if any(counts[number] for counts, _, _ in columns)
    ]
    return sorted(rows, key=lambda row: row.retained_bytes[0] - row.retained_bytes[-1])


def _columns(ledger: Ledger, count: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Per class: objects, shallow and retained bytes."""
    owner_rows = ledger.rows_of(ledger.owner)
    outer = ledger.group[owner_rows] != ledger.group
    return (
        np.bincount(ledger.group, minlength=count),
        np.bincount(ledger.group, weights=ledger.shallow, minlength=count),
        np.bincount(ledger.group[outer], weights=ledger.retained[outer], minlength=count),
    )
