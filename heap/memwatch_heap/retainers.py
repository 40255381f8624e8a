"""Who holds an object: its incoming edges, nearest to a root first, and the way from a root."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memwatch_heap._backend import kernels
from memwatch_heap.graph import U32, HeapGraph

# What stands for "no edge" in `Paths.edge`.
NO_EDGE = 0xFFFF_FFFF
# Of two ways of one length the one is shown whose edges a programmer wrote.
_RANK = {"property": 0, "context": 0, "element": 0, "shortcut": 0, "internal": 1, "hidden": 2}
_OTHER_RANK = 3


@dataclass(frozen=True, slots=True, eq=False)
class Incoming:
    """Edges backwards: node v has the incoming edges edges[start[v]:start[v + 1]].

    The nearest sources come first and weak edges last.
    """

    start: U32
    edges: U32


@dataclass(frozen=True, slots=True)
class Retainer:
    """One incoming edge of a node.

    Attributes:
        node: the edge's source. edge: the edge.
        kind: the edge's type; weak ones keep nothing alive, internal ones are the engine's own.
        label: the edge's name.
        distance: of the source, see `distances.distances`.
    """

    node: int
    edge: int
    kind: str
    label: str
    distance: int

    @property
    def is_weak(self) -> bool:
        """True where this edge keeps nothing alive."""
        return self.kind == "weak"

    @property
    def is_internal(self) -> bool:
        """True where no programmer wrote this edge."""
        return self.kind in ("internal", "hidden")


@dataclass(frozen=True, slots=True)
class Step:
    """One edge of a way from a root, and the node that it leads to."""

    edge: int
    kind: str
    label: str
    node: int


def incoming(graph: HeapGraph, distance: NDArray[np.int32]) -> Incoming:
    """All incoming edges; needs 4 bytes per edge and per node."""
    run = kernels("retainers")
    order = run.by_distance(distance)
    weak = graph.edge_code("weak")
    return Incoming(*run.incoming(graph.first_edge, graph.edge_type, graph.edge_to, order, weak))


def first_edges(graph: HeapGraph, distance: NDArray[np.int32]) -> U32:
    """Per node the edge over which the way from the nearest root comes in, or NO_EDGE."""
    rank = [_RANK.get(kind, _OTHER_RANK) for kind in graph.edge_types]
    edges: U32 = kernels("retainers").first_edges(
        graph.first_edge,
        graph.edge_type,
        graph.edge_to,
        distance,
        graph.root,
        graph.edge_code("weak"),
        np.array(rank, np.uint8),
    )
    return edges


def source_of(first_edge: NDArray[Any], edge: int) -> int:
    """The node that an edge starts from."""
    return int(np.searchsorted(first_edge, first_edge.dtype.type(edge), "right")) - 1


def retainers(
    graph: HeapGraph,
    distance: NDArray[np.int32],
    node: int,
    into: Incoming | None = None,
    *,
    weak: bool = False,
) -> Iterator[Retainer]:
    """A node's retainers, the nearest to a root first; DevTools' view of them.

    The root is left out, and weak edges unless `weak`, then they come last. Without `into` the
    edges are scanned once: milliseconds for millions.
    """
    if into is not None:
        edges = into.edges[int(into.start[node]) : int(into.start[node + 1])].tolist()
    else:
        edges = _scan(graph, distance, node)
    for edge in edges:
        kind = graph.edge_types[int(graph.edge_type[edge])]
        source = source_of(graph.first_edge, edge)
        if source != graph.root and (weak or kind != "weak"):
            yield Retainer(source, edge, kind, graph.edge_label(edge), int(distance[source]))


def _scan(graph: HeapGraph, distance: NDArray[np.int32], node: int) -> Sequence[int]:
    edges = np.flatnonzero(graph.edge_to == np.uint32(node))
    at = np.searchsorted(graph.first_edge, edges.astype(graph.first_edge.dtype), "right") - 1
    far = np.where(distance[at] < 0, np.iinfo(np.int32).max, distance[at])
    is_weak = graph.edge_type[edges] == graph.edge_code("weak")
    found: list[int] = edges[np.lexsort((edges, far, is_weak))].tolist()
    return found


def path(graph: HeapGraph, edges: U32, node: int) -> list[Step]:
    """The shortest way from a root to a node by `first_edges`; empty where there is none.

    That is for what nothing reaches, and for what is nearest over an object that points at the
    root itself: no engine writes such an edge, a file made by hand may.
    """
    steps: list[Step] = []
    while node != graph.root:
        edge = int(edges[node])
        if edge == NO_EDGE:
            return []
        kind = graph.edge_types[int(graph.edge_type[edge])]
        steps.append(Step(edge, kind, graph.edge_label(edge), node))
        node = source_of(graph.first_edge, edge)
        if len(steps) > graph.node_count:
            raise ValueError("the way to a root goes round in a circle")
    return steps[::-1]


def paths(
    graph: HeapGraph,
    distance: NDArray[np.int32],
    edges: U32,
    node: int,
    *,
    into: Incoming | None = None,
    limit: int = 5,
) -> list[list[Step]]:
    """The shortest ways through each of the nearest retainers, the shortest first.

    A retainer that is itself held by the node makes no way of its own.
    """
    found: list[list[Step]] = []
    seen: set[int] = set()
    for retainer in retainers(graph, distance, node, into):
        if len(found) >= limit:
            break
        if retainer.distance < 0 or retainer.node in seen:
            continue
        seen.add(retainer.node)
        way = path(graph, edges, retainer.node)
        if all(step.node != node for step in way):
            found.append([*way, Step(retainer.edge, retainer.kind, retainer.label, node)])
    return found or [way for way in [path(graph, edges, node)] if way]
