"""A heap as if some of its objects held nothing: who else keeps the others alive?

DevTools' "ignore this retainer": the ways from the roots are found anew without the ones ignored.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memwatch_heap.distances import distances
from memwatch_heap.graph import U32, HeapGraph
from memwatch_heap.retainers import first_edges
from memwatch_heap.string_table import StringTable


@dataclass(frozen=True)
class Ignoring:
    """A heap without what some of its nodes hold. Takes 13 bytes per node and 1 per edge.

    Attributes:
        graph: the heap; edges of the ignored nodes are weak in it.
        nodes: the ignored.
        distance: of each node, found anew.
    """

    graph: HeapGraph
    nodes: frozenset[int]
    distance: NDArray[np.int32]

    @cached_property
    def path_edge(self) -> U32:
        """Per node the edge over which the shortest way now comes in."""
        return first_edges(self.graph, self.distance)


def ignoring(graph: HeapGraph, nodes: Iterable[int]) -> Ignoring:
    """The heap as if these nodes held nothing; walks over all of it.

    Raises:
        ValueError: its columns contradict each other, as those of a damaged index may.
    """
    _check(graph)
    kinds, ignored = np.array(graph.edge_type), frozenset(nodes)
    types = graph.edge_types if "weak" in graph.edge_types else (*graph.edge_types, "weak")
    weak = types.index("weak")
    for node in ignored:
        edges = graph.edges_of(node)
        kinds[edges.start : edges.stop] = weak
    changed = replace(
        graph,
        edge_type=kinds,
        edge_types=types,
        node_type=_as_writable(graph.node_type),
        first_edge=_as_writable(graph.first_edge),
        edge_name=_as_writable(graph.edge_name),
        edge_to=_as_writable(graph.edge_to),
        node_name=_as_writable(graph.node_name),
        strings=StringTable(_as_writable(graph.strings.data), _as_writable(graph.strings.closing)),
    )
    return Ignoring(changed, ignored, distances(changed))


def _check(graph: HeapGraph) -> None:
    """Kernels trust a graph that was read; one out of an index was not looked through."""
    starts = graph.first_edge
    if int(starts[-1]) != graph.edge_count or bool((starts[1:] < starts[:-1]).any()):
        raise ValueError("its nodes' edges do not fit together")
    if graph.edge_count and int(graph.edge_to.max()) >= graph.node_count:
        raise ValueError("an edge leads nowhere")
    if int(graph.node_type.max()) >= len(graph.node_types):
        raise ValueError("a node has no type")
    if graph.edge_count and int(graph.edge_type.max()) >= len(graph.edge_types):
        raise ValueError("an edge has no type")


class _Writable:
    """The same memory under another flag."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array
        place, _ = array.__array_interface__["data"]
        self.__array_interface__ = {**array.__array_interface__, "data": (place, False)}


def _as_writable(array: NDArray[Any]) -> NDArray[Any]:
    """A mapped column as kernels are compiled to take it; they write to no column of a graph."""
    return array if array.flags.writeable else np.asarray(_Writable(array))
