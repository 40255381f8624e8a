"""Everything that is computed of one heap, in one value."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memwatch_heap.classes import Classes, classify
from memwatch_heap.distances import distances
from memwatch_heap.dom import detached_nodes
from memwatch_heap.dominators import dominators
from memwatch_heap.graph import U8, U32, HeapGraph
from memwatch_heap.interfaces import Interface
from memwatch_heap.retained import retained_sizes, shallow_sizes
from memwatch_heap.weakmaps import weak_map_names


@dataclass(frozen=True, slots=True, eq=False)
class Measures:
    """One value per node, as Chrome DevTools shows it.

    Attributes:
        sizes: shallow size in bytes, the engine's private arrays counted at their owners.
        dominator: the node without which this one would be freed; the root is its own.
        retained: bytes that would be freed with this node.
        distance: edges from a user's root; `distances.SYSTEM` and more for what only the engine
            reaches, `distances.UNREACHED` for what nothing reaches.
        detached: 1 for detached DOM nodes and their like.
        classes: the class of each node.
    """

    sizes: NDArray[np.int64]
    dominator: U32
    retained: NDArray[np.int64]
    distance: NDArray[np.int32]
    detached: U8
    classes: Classes


def measure(graph: HeapGraph, definitions: Sequence[Interface] | None = None) -> Measures:
    """Computes all measures; `definitions` of another snapshot name plain objects as there."""
    names = weak_map_names(graph)
    detached = detached_nodes(graph)
    tree = dominators(graph, names)
    sizes = shallow_sizes(graph, detached)
    kept = retained_sizes(tree, sizes)
    del tree
    return Measures(
        sizes=sizes,
        dominator=kept.dominator,
        retained=kept.bytes,
        distance=distances(graph, names),
        detached=detached,
        classes=classify(graph, definitions, detached),
    )
