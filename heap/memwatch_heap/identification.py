"""Tells objects of one snapshot in a later one where the runtime has numbered them anew.

V8 numbers objects in the process that writes the snapshot. Two snapshots that two forked children
wrote therefore share no ids (docs/decisions/0039). An object is then told by the way that leads to
it: two heaps are walked at once, breadth first from their roots. What hangs on a pair of objects
under the same name is paired; elements of arrays and tables are paired in their order among
objects of their kind, so that a table that grew has its first entries paired and the rest are new.
What is told by name goes first, for order is a weaker word. Weaker, too, than what an object says
of itself: a text of its own that only one of its kind has (see `_prints`) tells an entry wherever
it has moved to, and that it is gone or new where the other heap has none that says so.

The pairing is exact for what is held by names and for containers that only grow. Where a container
loses objects and gets others its entries shift, and a new object may be taken for an old one; the
counts stay right, so that what turns over still does not look like a leak.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memwatch_heap._backend import kernels
from memwatch_heap.graph import U8, U32, HeapGraph

_NONE = 0xFFFF_FFFF
_GONE = 0xFFFF_FFFE

# A text held by so many at most is its holder's own: by it, and by a key or a list. An object is
# held by closures, too, while it is worked on.
_OWN_TEXT, _OWN_OBJECT = 2, 8
# How far from an object its text may be: `entry.request.url`.
_DEPTH = 2

# Of the smaller heap. Snapshots of one program have nine tenths in common, even of two processes.
LEAST_SHARE = 0.5

# Their names are their values; one kind for all, or a changed text would be another object.
_VALUES = ("string", "concatenated string", "sliced string", "number", "bigint", "symbol")


class StrangersError(ValueError):
    """Two snapshots that have too little in common to be of one program."""

    def __init__(self, name: str, share: float) -> None:
        super().__init__(name, share)
        self.name = name
        self.share = share

    def __str__(self) -> str:
        return (
            f"cannot tell the objects of {self.name} from those before: only {self.share:.0%} of "
            "them are found again; compare snapshots of one program"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Skeleton:
    """What a heap is recognised by: its edges without their names, sorted by what tells them.

    Attributes:
        first: as in the graph. keys: per edge. to: node per edge. kind: per node. root: the root.
        ids: per node, those that later snapshots are given. prints: per node, see `_prints`.
    """

    first: U32
    keys: U32
    to: U32
    kind: U32
    root: int
    ids: NDArray[np.uint64]
    prints: NDArray[np.uint64]


def skeleton(graph: HeapGraph) -> Skeleton:
    """The skeleton of a heap."""
    run = kernels("identification")
    strings = graph.strings
    hashed = np.zeros(len(strings), np.uint32)
    number = np.zeros(len(strings), np.uint8)
    run.hashes(strings.data, strings.closing, hashed, number)
    kind = _kinds(graph, hashed)
    keys, to = np.empty(graph.edge_count, np.uint32), graph.edge_to.copy()
    run.edge_keys(
        *(graph.first_edge, graph.edge_type, graph.edge_name, graph.edge_to),
        *(_told_by(graph), hashed, number, kind, keys),
    )
    run.sort_edges(graph.first_edge, keys, to, np.empty_like(keys), np.empty_like(to))
    ids = graph.node_id.astype(np.uint64)
    prints = _prints(graph, kind, hashed)
    return Skeleton(graph.first_edge, keys, to, kind, graph.root, ids, prints)


def renumbered(graph: HeapGraph, old: Skeleton) -> tuple[HeapGraph, Skeleton, float]:
    """A later heap with the ids of an earlier one, its skeleton, and the share that was told.

    An object that the earlier heap does not have gets an id that it does not have either.
    """
    new = skeleton(graph)
    match = np.full(graph.node_count, _NONE, np.uint32)
    taken = np.zeros(len(old.ids), np.uint8)
    twins = _twins(old.prints, new.prints), _twins(new.prints, old.prints)
    told = kernels("identification").match_nodes(
        *(old.first, old.keys, old.to, old.kind, twins[0], old.root),
        *(new.first, new.keys, new.to, new.kind, twins[1], new.root),
        *(taken, match, np.empty(graph.node_count, np.uint32)),
    )
    known = match != _NONE
    ids = np.zeros(graph.node_count, np.uint64)
    ids[known] = old.ids[match[known]]
    free = int(old.ids.max()) + 1
    ids[~known] = np.arange(free, free + graph.node_count - int(told), dtype=np.uint64)
    share = int(told) / max(1, min(graph.node_count, len(old.ids)))
    return replace(graph, node_id=ids), replace(new, ids=ids), share


def own_ids(identified: HeapGraph, graph: HeapGraph) -> Callable[[int], int]:
    """Tells the id that the snapshot itself has for one that it was given (a scan)."""

    def own(given: int) -> int:
        (node,) = np.flatnonzero(identified.node_id == np.uint64(given))
        return int(graph.node_id[node])

    return own


def _prints(graph: HeapGraph, kind: U32, hashed: U32) -> NDArray[np.uint64]:
    """Per node what it says of itself, with its kind; 0 where it says nothing.

    A string says its text. An object says the first text of its own among its properties: one
    that hardly anybody else holds, such as a URL, where texts of the program's code are held by
    many; if it has none, what the first object of its own says.
    """
    count = graph.node_count
    strings = graph.node_type == graph.node_code("string")
    said = np.where(strings, hashed[graph.node_name] | np.uint32(1), np.uint32(0))
    most = np.where(strings, _OWN_TEXT, _OWN_OBJECT)
    own = np.bincount(graph.edge_to, minlength=count) <= most
    del strings, most
    property_edges = np.flatnonzero(graph.edge_type == graph.edge_code("property"))
    to = graph.edge_to[property_edges]
    for _ in range(_DEPTH):
        telling = np.flatnonzero((said[to] != 0) & own[to])
        edges = property_edges[telling].astype(graph.first_edge.dtype)
        source = np.searchsorted(graph.first_edge, edges, "right") - 1
        source, at = np.unique(source, return_index=True)
        silent = said[source] == 0
        said[source[silent]] = said[to[telling[at[silent]]]]
    return np.where(said != 0, (kind.astype(np.uint64) << np.uint64(32)) | said, np.uint64(0))


def _twins(mine: NDArray[np.uint64], others: NDArray[np.uint64]) -> U32:
    """Per node of mine the one of others with the same print, if both are alone with it.

    _GONE where there is none in others; _NONE where that is not known.
    """
    texts, nodes = _alone(mine)
    there, their_nodes = _alone(others)
    found = np.full(len(mine), _NONE, np.uint32)
    found[nodes[~np.isin(texts, others)]] = _GONE
    _, here, over_there = np.intersect1d(texts, there, assume_unique=True, return_indices=True)
    found[nodes[here]] = their_nodes[over_there]
    return found


def _alone(prints: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.intp]]:
    """Prints that one node alone has, and the nodes."""
    found, first, count = np.unique(prints, return_index=True, return_counts=True)
    alone = (count == 1) & (found != 0)
    return found[alone], first[alone]


def _told_by(graph: HeapGraph) -> U8:
    """Per edge type: 0 by its name, 1 by its order, 2 by nothing (weak ones hold nothing)."""
    told = graph.indexed_edges()
    weak = graph.edge_code("weak")
    if weak < len(told):
        told[weak] = 2
    return told


def _kinds(graph: HeapGraph, hashed: NDArray[Any]) -> U32:
    """Per node a hash of its type and name."""
    names = hashed[graph.node_name].astype(np.uint64)
    for name in _VALUES:
        names[graph.node_type == graph.node_code(name)] = 0
    kinds: U32 = (names * 31 + graph.node_type).astype(np.uint32)
    return kinds
