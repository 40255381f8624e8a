"""Sizes as DevTools shows them: private arrays merged into their owners, and what is kept alive."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memwatch_heap._backend import kernels
from memwatch_heap.dominators import Dominators, user_roots
from memwatch_heap.graph import U32, HeapGraph

_PRIVATE = ("hidden", "array")
_EXTERNAL_TEXT = "system / ExternalStringData"


@dataclass(frozen=True, slots=True, eq=False)
class Retained:
    """What each node keeps alive.

    Attributes:
        dominator: the dominator of each node; the root is its own.
        bytes: its size and those of all that it dominates.
    """

    dominator: U32
    bytes: NDArray[np.int64]


def shallow_sizes(graph: HeapGraph, detached: NDArray[np.uint8] | None = None) -> NDArray[np.int64]:
    """The size of each node, with the engine's private arrays counted at their only owner.

    A snapshot without user roots was taken to look at the engine itself: there nothing moves.

    Args:
        graph: the heap.
        detached: per node 1 where it is detached (`dom.detached_nodes`): its name has a prefix.
    """
    sizes = graph.self_size.astype(np.int64)
    if not len(user_roots(graph)):
        return sizes
    kinds = np.zeros(256, np.uint8)
    for kind in _PRIVATE:
        if kind in graph.node_types:
            kinds[graph.node_code(kind)] = 1
    private = kinds[graph.node_type]
    (text,) = graph.strings.find(_EXTERNAL_TEXT)
    if text >= 0:
        external = (graph.node_type == graph.node_code("native")) & (graph.node_name == text)
        if detached is not None:
            external &= detached == 0
        private |= external
    aloof = (graph.node_type == graph.node_code("synthetic")).astype(np.uint8)
    aloof[graph.root] = 1
    kernels("shallow").give_to_owners(
        graph.first_edge,
        graph.edge_type,
        graph.edge_to,
        private,
        aloof,
        graph.edge_code("weak"),
        sizes,
    )
    return sizes


def retained_sizes(tree: Dominators, sizes: NDArray[np.int64]) -> Retained:
    """What each node keeps alive: its own size and those of all that it dominates."""
    run: Any = kernels("dominators")
    dominator, total = run.retained(tree.order, tree.dominator, sizes)
    return Retained(dominator, total)


def dominated(dominator: U32, root: int) -> tuple[U32, U32]:
    """(place of the first child per node, children): the tree downwards."""
    start, found = kernels("dominators").children(dominator, root)
    return start, found
