"""What came and what went between two snapshots of one process, class by class, by id."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memwatch_heap.classes import Classes, classify
from memwatch_heap.graph import HeapGraph


@dataclass(frozen=True, slots=True, eq=False)
class Census:
    """What a comparison needs to know of a snapshot, without its graph: 20 bytes per node.

    Attributes:
        ids: of the nodes whose size is not 0, ascending.
        sizes: of the same nodes, bytes.
        of: class of the same nodes.
        keys, names: of the classes.
    """

    ids: NDArray[np.uint64]
    sizes: NDArray[np.int64]
    of: NDArray[np.uint32]
    keys: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DiffRow:
    """One class in two snapshots; new and gone are told by id, and growth in place is neither."""

    key: str
    name: str
    count_before: int
    count_after: int
    bytes_before: int
    bytes_after: int
    new_count: int
    new_bytes: int
    gone_count: int
    gone_bytes: int

    @property
    def count_delta(self) -> int:
        """New minus gone objects."""
        return self.new_count - self.gone_count

    @property
    def bytes_delta(self) -> int:
        """Bytes of new minus bytes of gone objects."""
        return self.new_bytes - self.gone_bytes


def census(graph: HeapGraph, classes: Classes | None = None) -> Census:
    """The census of a graph."""
    classes = classes or classify(graph)
    nodes = np.flatnonzero(graph.self_size)
    nodes = nodes[np.argsort(graph.node_id[nodes], kind="stable")]
    return Census(
        graph.node_id[nodes].astype(np.uint64),
        graph.self_size[nodes].astype(np.int64),
        classes.of[nodes],
        classes.keys,
        classes.names,
    )


def diff(before: Census, after: Census) -> list[DiffRow]:
    """All classes of either snapshot, the greatest growth in bytes first."""
    keys = {key: c for c, key in enumerate(dict.fromkeys((*before.keys, *after.keys)))}
    old = np.array([keys[key] for key in before.keys], np.int64)[before.of]
    new = np.array([keys[key] for key in after.keys], np.int64)[after.of]
    is_gone, is_new = _unmatched(before.ids, old, after.ids, new)
    columns = [
        _count(old, None, len(keys)),
        _count(new, None, len(keys)),
        _count(old, before.sizes, len(keys)),
        _count(new, after.sizes, len(keys)),
        _count(new[is_new], None, len(keys)),
        _count(new[is_new], after.sizes[is_new], len(keys)),
        _count(old[is_gone], None, len(keys)),
        _count(old[is_gone], before.sizes[is_gone], len(keys)),
    ]
    names = dict(zip((*before.keys, *after.keys), (*before.names, *after.names), strict=True))
    rows = [
        DiffRow(key, names[key], *(int(column[c]) for column in columns))
        for key, c in keys.items()
        if columns[0][c] or columns[1][c]
    ]
    return sorted(rows, key=lambda row: (-row.bytes_delta, row.key))


def compare(before: HeapGraph, after: HeapGraph) -> Sequence[DiffRow]:
    """The rows of two graphs."""
    return diff(census(before), census(after))


def _unmatched(
    old_ids: NDArray[np.uint64],
    old: NDArray[np.int64],
    new_ids: NDArray[np.uint64],
    new: NDArray[np.int64],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(gone, new): whose (id, class) has no partner on the other side."""
    place = np.searchsorted(new_ids, old_ids)
    inside = place < len(new_ids)
    same = np.zeros(len(old_ids), bool)
    at = place[inside]
    same[inside] = (new_ids[at] == old_ids[inside]) & (new[at] == old[inside])
    fresh = np.ones(len(new_ids), bool)
    fresh[place[same]] = False
    return ~same, fresh


def _count(of: NDArray[np.int64], sizes: NDArray[np.int64] | None, count: int) -> NDArray[np.int64]:
    """Nodes per class, or their sizes summed up exactly."""
    if sizes is None:
        return np.bincount(of, minlength=count)
    totals = np.zeros(count, np.int64)
    np.add.at(totals, of, sizes)
    return totals
