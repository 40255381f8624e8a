"""How far each node is from the user's roots, as DevTools counts it."""

import re

import numpy as np
from numpy.typing import NDArray

from memwatch_heap._backend import kernels
from memwatch_heap.dominators import user_roots
from memwatch_heap.graph import U8, HeapGraph
from memwatch_heap.weakmaps import WeakMapNames, weak_map_names

# Added to the distance of what only the engine reaches.
SYSTEM = 100_000_000
# The distance of what nothing reaches.
UNREACHED = -5
_CONTEXT, _DESCRIPTORS = 1, 2
_INTEGER = re.compile(r"\s*([+-]?[0-9]+)")


def distances(graph: HeapGraph, names: WeakMapNames | None = None) -> NDArray[np.int32]:
    """The distance of each node: 1 for a user's root, SYSTEM and more, or UNREACHED."""
    names = names or weak_map_names(graph)
    run = kernels("distances")
    found = np.full(graph.node_count, UNREACHED, np.int32)
    roots = user_roots(graph)
    queue = np.empty(graph.node_count + len(roots) + 1, np.uint32)
    queue[: len(roots)] = roots
    found[roots] = 1
    special, by_name, sloppy = _detours(graph)
    pending = np.zeros(names.pairs + 1, np.uint8)
    codes = np.array([graph.edge_code("weak"), graph.edge_code("internal"), sloppy], np.int64)
    shape = (graph.first_edge, graph.edge_type, graph.edge_name, graph.edge_to)
    marks = (special, names.pair_of, pending, graph.indexed_edges(), by_name, codes)
    run.walk(*shape, queue, len(roots), found, *marks)
    found[graph.root] = SYSTEM if len(roots) else 0
    queue[0] = graph.root
    run.walk(*shape, queue, 1, found, *marks)
    return found


def _detours(graph: HeapGraph) -> tuple[U8, U8, int]:
    """(nodes with edges to skip, strings that name a slot to skip, the name of the other edge)."""
    context, descriptors, sloppy = graph.strings.find(
        "system / NativeContext", "(map descriptors)", "sloppy_function_map"
    )
    special = np.zeros(graph.node_count, np.uint8)
    if context >= 0 and sloppy >= 0:
        hidden = graph.node_type == graph.node_code("hidden")
        special[hidden & (graph.node_name == context)] = _CONTEXT
    by_name = np.zeros(0, np.uint8)
    if descriptors >= 0:
        arrays = graph.node_type == graph.node_code("array")
        special[arrays & (graph.node_name == descriptors)] = _DESCRIPTORS
        by_name = _skipped_slots(graph, np.flatnonzero(special == _DESCRIPTORS))
    return special, by_name, sloppy


def _skipped_slots(graph: HeapGraph, nodes: NDArray[np.intp]) -> U8:
    """By string 1 where it is the number of a descriptor's slot: those edges are no real paths."""
    flags = np.zeros(len(graph.strings), np.uint8)
    indexed = graph.indexed_edges()
    names: set[int] = set()
    for node in nodes:
        edges = slice(int(graph.first_edge[node]), int(graph.first_edge[node + 1]))
        by_string = indexed[graph.edge_type[edges]] == 0
        names.update(graph.edge_name[edges][by_string].tolist())
    for name in names:
        number = _INTEGER.match(graph.strings[name])
        if number and int(number[1]) >= 2 and int(number[1]) % 3 == 1:
            flags[name] = 1
    return flags
