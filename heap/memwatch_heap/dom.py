"""Which native nodes are detached: the field that the file has, spread as DevTools spreads it."""

import numpy as np

from memwatch_heap._backend import kernels
from memwatch_heap.graph import U8, HeapGraph

PREFIX = "Detached "
_ATTACHED, _DETACHED = 1, 2


def detached_nodes(graph: HeapGraph) -> U8:
    """Per node 1 where DevTools calls it detached, else 0."""
    native = graph.node_code("native")
    if graph.detachedness is None:
        return _named_detached(graph, native)
    if not graph.detachedness.any():
        return np.zeros(graph.node_count, np.uint8)
    blocked = np.array([name in ("hidden", "invisible", "weak") for name in graph.edge_types])
    state: U8 = kernels("dom").spread(
        graph.first_edge,
        graph.edge_type,
        graph.edge_to,
        blocked.astype(np.uint8),
        graph.node_type,
        native,
        graph.detachedness,
    )
    flags: U8 = (state == _DETACHED).astype(np.uint8)
    return flags


def _named_detached(graph: HeapGraph, native: int) -> U8:
    """Files before the field: natives whose name says so."""
    flags = np.zeros(graph.node_count, np.uint8)
    nodes = np.flatnonzero(graph.node_type == native)
    named = {
        name: graph.strings[name].startswith(PREFIX)
        for name in set(graph.node_name[nodes].tolist())
    }
    for node in nodes:
        flags[node] = named[int(graph.node_name[node])]
    return flags
