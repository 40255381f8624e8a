"""What came and what went between two snapshots of one process, class by class, by id."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memwatch_heap._backend import kernels
from memwatch_heap.classes import classify
from memwatch_heap.dom import detached_nodes
from memwatch_heap.formats import read
from memwatch_heap.graph import HeapGraph
from memwatch_heap.interfaces import Interface
from memwatch_heap.measures import Measures
from memwatch_heap.retained import shallow_sizes


@dataclass(frozen=True, slots=True, eq=False)
class Census:
    """What a comparison needs to know of a snapshot, without its graph: 20 bytes per node.

    Attributes:
        ids: of the nodes whose size is not 0, ascending.
        sizes: of the same nodes, bytes.
        of: class of the same nodes.
        keys, names: of the classes.
        definitions: how plain objects were named.
    """

    ids: NDArray[Any]
    sizes: NDArray[np.int64]
    of: NDArray[np.uint32]
    keys: tuple[str, ...]
    names: tuple[str, ...]
    definitions: tuple[Interface, ...] = ()


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


def census(
    graph: HeapGraph,
    definitions: Sequence[Interface] | None = None,
    measures: Measures | None = None,
) -> Census:
    """The census of a graph.

    Args:
        graph: the heap.
        definitions: `Census.definitions` of the snapshot to compare with: the older one is named
            by the newer one's, so that one shape has one name in both.
        measures: of this graph, if they are there and were made with the same definitions.
    """
    if measures is None:
        detached = detached_nodes(graph)
        classes, sizes = classify(graph, definitions, detached), shallow_sizes(graph, detached)
    else:
        classes, sizes = measures.classes, measures.sizes
    nodes = np.flatnonzero(sizes)
    nodes = nodes[np.argsort(graph.node_id[nodes], kind="stable")]
    return Census(
        graph.node_id[nodes],
        sizes[nodes],
        classes.of[nodes],
        classes.keys,
        classes.names,
        classes.definitions,
    )


def diff(before: Census, after: Census) -> list[DiffRow]:
    """All classes of either snapshot, the greatest growth in bytes first."""
    keys = _shared_keys(before, after)
    gone, new = unmatched(before, after)
    columns: list[NDArray[np.int64]] = []
    for one, changed in ((before, gone), (after, new)):
        of = _translated(one, keys)[one.of]
        for flags in (np.ones_like(changed), changed):
            columns.extend(kernels("diff").count_flagged(of, one.sizes, flags, len(keys)))
    count_before, bytes_before, gone_count, gone_bytes = columns[:4]
    count_after, bytes_after, new_count, new_bytes = columns[4:]
    ordered = (
        count_before, count_after, bytes_before, bytes_after,
        new_count, new_bytes, gone_count, gone_bytes,
    )  # fmt: skip
    names = dict(zip((*before.keys, *after.keys), (*before.names, *after.names), strict=True))
    rows = [
        DiffRow(key, names[key], *(int(column[c]) for column in ordered))
        for key, c in keys.items()
        if count_before[c] or count_after[c]
    ]
    return sorted(rows, key=lambda row: (-row.bytes_delta, row.key))


def compare(before: HeapGraph, after: HeapGraph) -> list[DiffRow]:
    """The rows of two graphs."""
    newer = census(after)
    return diff(census(before, newer.definitions), newer)


def compare_files(before: Path, after: Path) -> list[DiffRow]:
    """The rows of two files; only one graph is in memory at a time."""
    newer = census(read(after))
    return diff(census(read(before), newer.definitions), newer)


def unmatched(before: Census, after: Census) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(gone, new): 1 per node of either census whose id is not in the same class of the other."""
    keys = _shared_keys(before, after)
    gone, new = kernels("diff").unmatched(
        before.ids.astype(np.uint64),
        _translated(before, keys)[before.of],
        after.ids.astype(np.uint64),
        _translated(after, keys)[after.of],
    )
    return gone, new


def _shared_keys(before: Census, after: Census) -> dict[str, int]:
    return {key: c for c, key in enumerate(dict.fromkeys((*before.keys, *after.keys)))}


def _translated(census: Census, keys: dict[str, int]) -> NDArray[np.uint32]:
    """The shared number of each of a census's classes."""
    return np.array([keys[key] for key in census.keys], np.uint32)
