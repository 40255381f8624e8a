"""Who alone keeps whom alive: the dominator tree, by the rules of Chrome DevTools.

A node's dominator lies on every path from the root to it. Freeing the dominator frees the node.
"""

from dataclasses import dataclass

import numpy as np

from memwatch_heap._backend import kernels
from memwatch_heap.graph import NO_TYPE, U8, U32, HeapGraph
from memwatch_heap.weakmaps import WeakMapNames, weak_map_names

DOCUMENT_TREES = "(Document DOM trees)"


@dataclass(frozen=True, slots=True, eq=False)
class Dominators:
    """The tree in preorder numbers of a depth-first walk.

    Attributes:
        order: the node with each number; order[0] is the root.
        dominator: the number of each number's dominator, always smaller; 0 for the root.
    """

    order: U32
    dominator: U32


def dominators(graph: HeapGraph, names: WeakMapNames | None = None) -> Dominators:
    """The dominator tree of a graph; every node is in it."""
    run = kernels("dominators")
    counts = essential_edges(graph, names or weak_map_names(graph))
    number, order, parent, reached = run.depth_first(
        graph.first_edge, graph.edge_to, counts, graph.root
    )
    start, found = run.predecessors(graph.first_edge, graph.edge_to, counts, number, order, reached)
    del counts, number
    return Dominators(order, run.semi_nca(start, found, parent, reached))


def essential_edges(graph: HeapGraph, names: WeakMapNames) -> U8:
    """Per edge 1 where it counts for the dominators."""
    flags: U8 = kernels("dominators").essential(
        graph.first_edge,
        graph.edge_type,
        graph.edge_name,
        graph.edge_to,
        graph.node_id,
        owned_by_page(graph),
        names.table_of,
        graph.root,
        graph.edge_code("weak"),
        graph.edge_code("shortcut"),
        graph.edge_code("internal"),
    )
    return flags


def owned_by_page(graph: HeapGraph) -> U8:
    """Per node 1 where the program reaches it, and not only the engine or a debugger."""
    edges = graph.edges_of(graph.root)
    kinds = graph.edge_type[edges.start : edges.stop]
    targets = graph.edge_to[edges.start : edges.stop]
    by_shortcut = kinds == graph.edge_code("shortcut")
    by_element = (kinds == graph.edge_code("element")) & document_trees(graph, targets)
    flags: U8 = kernels("dominators").reachable(
        graph.first_edge,
        graph.edge_type,
        graph.edge_to,
        targets[by_shortcut | by_element],
        graph.edge_code("weak"),
    )
    return flags


def document_trees(graph: HeapGraph, nodes: U32) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which of the nodes are the root of a document's trees."""
    synthetic = graph.node_code("synthetic")
    flags = np.zeros(len(nodes), bool)
    for place in np.flatnonzero(graph.node_type[nodes] == synthetic):
        flags[place] = graph.name_of(int(nodes[place])) == DOCUMENT_TREES
    return flags


def user_roots(graph: HeapGraph) -> U32:
    """Targets of the root's edges that belong to the program, one per edge, in their order."""
    edges = graph.edges_of(graph.root)
    targets = graph.edge_to[edges.start : edges.stop]
    synthetic = graph.node_code("synthetic")
    own = (graph.node_type[targets] != synthetic) | (synthetic == NO_TYPE)
    roots: U32 = targets[own | document_trees(graph, targets)]
    return roots
