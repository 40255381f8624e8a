"""Who holds each context of a JavaScript heap: closures, and contexts of the scopes inside.

V8 makes one context per call of a function that has inner functions using its variables. All
closures made in that call share it, and each keeps all of it alive, whatever it reads itself.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memwatch_heap.graph import HeapGraph

Nodes = NDArray[np.intp]

# Contexts nest as functions do in the source; deeper chains are a hostile file's.
_MAX_NESTING = 64
_CONTEXT = "system / Context"
# Stands for what is no function and holds a context all the same: a call that has not ended, a
# handle of C++ code.
OTHER = 0xFFFF_FFFF
_NONE = -1
_HALF = np.uint64(32)  # pairs are two numbers of 32 bits


@dataclass(frozen=True, slots=True, eq=False)
class Contexts:
    """All contexts of a heap and who holds each.

    Attributes:
        nodes: the contexts, ascending.
        scope_info: what describes each one's scope; -1 where nothing does.
        holder: pairs (place of a context, function), sorted: each function (its shared part, or
            OTHER) that holds the context, directly or over one inside.
        closures: (place of a context, function) per closure that holds it directly.
    """

    nodes: Nodes
    scope_info: NDArray[np.int64]
    holder: NDArray[np.uint64]
    closures: NDArray[np.uint64]

    def patterns(self) -> NDArray[np.intp]:
        """Per context a number: the same for those of one scope that the same functions hold."""
        row, function = _split(self.holder)
        mixed = (function.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E37_79B9_7F4A_7C15)
        mixed ^= mixed >> np.uint64(29)
        mixed *= np.uint64(0xBF58_476D_1CE4_E5B9)
        sums = np.zeros(len(self.nodes), np.uint64)
        np.add.at(sums, row, mixed ^ (mixed >> np.uint64(32)))
        keys = np.stack([self.scope_info.astype(np.uint64), sums], axis=1)
        _, pattern = np.unique(keys, axis=0, return_inverse=True)
        return pattern.ravel()

    def holders_of(self, row: int) -> list[int]:
        """The functions that hold a context (by its place), and OTHER where something else does."""
        low, high = np.searchsorted(self.holder, np.array([row, row + 1], np.uint64) << _HALF)
        found: list[int] = _split(self.holder[low:high])[1].tolist()
        return found

    def closures_of(self, rows: Nodes) -> dict[int, int]:
        """Per function the closures that hold some contexts (by their places) directly."""
        row, function = _split(self.closures)
        functions, counts = np.unique(function[np.isin(row, rows)], return_counts=True)
        return dict(zip(functions.tolist(), counts.tolist(), strict=True))


def find_contexts(graph: HeapGraph) -> Contexts | None:
    """The contexts of a heap; None where it has none."""
    (name,) = graph.strings.find(_CONTEXT)
    is_object = graph.node_type == graph.node_code("object")
    nodes = np.flatnonzero(is_object & (graph.node_name == np.uint32(max(name, 0))))
    if name < 0 or not len(nodes):
        return None
    row_of = np.full(graph.node_count, _NONE, np.int32)
    row_of[nodes] = np.arange(len(nodes))
    own = edges_of(graph, nodes)
    scope_info = _targets(graph, own, "scope_info", row_of, len(nodes))
    above = _targets(graph, own, "previous", row_of, len(nodes))
    above = np.where(above < 0, _NONE, row_of[above])
    closures, others = _direct(graph, row_of)
    holder = _upwards(np.unique(np.concatenate([closures, others])), above)
    return Contexts(nodes, scope_info, holder, np.sort(closures))


def _pair(row: NDArray[Any], function: NDArray[Any]) -> NDArray[np.uint64]:
    return row.astype(np.uint64) << _HALF | function.astype(np.uint64)


def _split(pairs: NDArray[np.uint64]) -> tuple[Nodes, Nodes]:
    low = np.uint64(0xFFFF_FFFF)
    return (pairs >> _HALF).astype(np.intp), (pairs & low).astype(np.intp)


def edges_of(graph: HeapGraph, nodes: Nodes) -> Nodes:
    """All edges that start at some nodes (ascending), in their order."""
    first = graph.first_edge[nodes].astype(np.int64)
    counts = graph.first_edge[nodes + 1].astype(np.int64) - first
    starts = np.cumsum(counts) - counts
    return np.repeat(first - starts, counts) + np.arange(int(counts.sum()))


def sources_of(graph: HeapGraph, edges: Nodes) -> Nodes:
    """The nodes that edges start at."""
    starts = graph.first_edge
    found: Nodes = np.searchsorted(starts, edges.astype(starts.dtype), side="right") - 1
    return found


def _internal(graph: HeapGraph, edges: Nodes, label: str) -> Nodes:
    """Those of some edges that are the engine's own and called so."""
    (name,) = graph.strings.find(label)
    if name < 0:
        return edges[:0]
    called = graph.edge_name[edges] == np.uint32(name)
    named: Nodes = edges[called & (graph.edge_type[edges] == graph.edge_code("internal"))]
    return named


def _targets(
    graph: HeapGraph, edges: Nodes, label: str, row_of: NDArray[np.int32], rows: int
) -> NDArray[np.int64]:
    """Per context the node that its edge of a name leads to; -1 where it has none."""
    found = np.full(rows, _NONE, np.int64)
    named = _internal(graph, edges, label)
    found[row_of[sources_of(graph, named)]] = graph.edge_to[named]
    return found


def _direct(
    graph: HeapGraph, row_of: NDArray[np.int32]
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """(a pair per closure, pairs of the rest): who holds the contexts, but for other contexts."""
    into = np.flatnonzero(row_of[graph.edge_to] >= 0)
    into = into[graph.edge_type[into] != graph.edge_code("weak")]
    sources = sources_of(graph, into)
    closure = graph.node_type[sources] == graph.node_code("closure")
    shared = np.full(graph.node_count, OTHER, np.uint32)
    edges = _internal(graph, edges_of(graph, np.unique(sources[closure])), "shared")
    shared[sources_of(graph, edges)] = graph.edge_to[edges]
    pairs = _pair(row_of[graph.edge_to[into]], np.where(closure, shared[sources], OTHER))
    inner = row_of[sources] >= 0
    return pairs[closure], np.unique(pairs[~closure & ~inner])


def _upwards(pairs: NDArray[np.uint64], above: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The pairs, and the same functions for the contexts around theirs."""
    found = new = pairs
    for _ in range(_MAX_NESTING):
        row, function = _split(new)
        outer = above[row]
        new = np.unique(_pair(outer[outer >= 0], function[outer >= 0]))
        new = np.setdiff1d(new, found, assume_unique=True)
        if not len(new):
            break
        found = np.union1d(found, new)
    return found
