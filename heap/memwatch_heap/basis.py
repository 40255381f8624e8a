"""Everything that growth is told from, of one heap at a time."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memwatch_heap.classes import Classes, classify
from memwatch_heap.dominators import dominators
from memwatch_heap.graph import U32, HeapGraph
from memwatch_heap.retained import retained_sizes, shallow_sizes


@dataclass(frozen=True, slots=True, eq=False)
class Basis:
    """Classes, dominators and sizes of a heap, per node (all of `measures` but distances).

    Attributes:
        order: all nodes, each after its dominator. idom: the dominator of each.
        shallow, retained: bytes, as DevTools shows them.
    """

    classes: Classes
    order: U32
    idom: U32
    shallow: NDArray[np.int64]
    retained: NDArray[np.int64]


def find_basis(graph: HeapGraph) -> Basis:
    """The basis of a heap."""
    tree = dominators(graph)
    shallow = shallow_sizes(graph)
    kept = retained_sizes(tree, shallow)
    return Basis(classify(graph), tree.order, kept.dominator, shallow, kept.bytes)
