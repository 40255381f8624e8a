"""Answers about a measured heap from a file beside its snapshot, in milliseconds.

The file holds the graph, its measures, and every list that a view pages through, already in its
order: a class's objects, a node's retainers, what it dominates. Opening it maps it into memory;
a query touches a few pages of it. It takes some 60 bytes per node and 13 per edge.
"""

import json
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from memwatch_heap._backend import kernels
from memwatch_heap.classes import ClassRow, class_rows
from memwatch_heap.errors import IndexFileError, UnknownNodeError
from memwatch_heap.graph import HeapGraph, Locations
from memwatch_heap.ignoring import Ignoring, ignoring
from memwatch_heap.index_check import check, told_as_damage
from memwatch_heap.index_file import open_arrays, write_arrays
from memwatch_heap.measures import Measures
from memwatch_heap.names import strings_holding
from memwatch_heap.retainers import first_edges, incoming, path, source_of
from memwatch_heap.scopes import Scope, Sharer, Slot, SlotState, find_scopes
from memwatch_heap.statistics import Statistics, statistics
from memwatch_heap.string_table import StringTable
from memwatch_heap.strings import DuplicateString, duplicate_strings

# A page of any list is at most this long: an answer must fit into one message.
MAX_PAGE = 1000
# How many of the largest nodes of the whole heap are listed.
MAX_LARGEST = 10_000
# A name is shown up to here; strings may be as long as V8 cuts them, at 1,024 characters.
MAX_NAME = 256

# Strings of which a name is a part that are looked at; ids told of a text that is there often.
MAX_STRINGS = 100_000
_SAMPLES = 3

_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class Page(Generic[_Row]):
    """Some rows of a list. `total` counts the whole list."""

    rows: tuple[_Row, ...]
    offset: int
    total: int


@dataclass(frozen=True, slots=True)
class ObjectRow:
    """One node. `location` is (script id, line, column), counted from 0, where it has one."""

    id: int
    name: str
    kind: str
    class_name: str
    shallow_bytes: int
    retained_bytes: int
    distance: int
    location: tuple[int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class EdgeRow:
    """An edge and the node at its other end."""

    kind: str
    label: str
    node: ObjectRow


def write_index(file: Path, graph: HeapGraph, measures: Measures, *, snapshot: str = "") -> None:
    """Writes the index of a measured graph; `snapshot` (its digest) must be named again to open.

    Needs some 40 bytes per node and 4 per edge of memory beside the graph and its measures.
    """
    arrays = {
        **_graph_arrays(graph),
        **_measure_arrays(graph, measures),
        "classes": _packed([list(asdict(row).values()) for row in class_rows(graph, measures)]),
        "scopes": _packed([asdict(scope) for scope in find_scopes(graph, measures)]),
        "duplicates": _packed(_duplicates(graph, measures)),
    }
    meta = {
        "name": graph.name,
        "snapshot": snapshot,
        "node_types": graph.node_types,
        "edge_types": graph.edge_types,
        "root": graph.root,
        "extra_native_bytes": graph.extra_native_bytes,
        "class_names": measures.classes.names,
        "class_keys": measures.classes.keys,
        "statistics": asdict(statistics(graph, measures)),
    }
    write_arrays(file, arrays, meta)


def _packed(rows: list[Any]) -> NDArray[np.uint8]:
    """Rows as the bytes of their JSON: unpacked by the first who asks for them."""
    return np.frombuffer(json.dumps(rows).encode(), np.uint8)


def _duplicates(graph: HeapGraph, measures: Measures) -> list[dict[str, Any]]:
    """The strings that waste the most, each with ids of a few of its nodes."""
    return [
        asdict(row)
        | {"text": _cut(row.text), "nodes": graph.node_id[list(row.nodes[:_SAMPLES])].tolist()}
        for row in duplicate_strings(graph, measures.sizes)
    ]


def _graph_arrays(graph: HeapGraph) -> dict[str, NDArray[Any]]:
    places = graph.locations
    return {
        "node_type": graph.node_type,
        "node_name": graph.node_name,
        "node_id": graph.node_id,
        "first_edge": graph.first_edge,
        "edge_type": graph.edge_type,
        "edge_name": graph.edge_name,
        "edge_to": graph.edge_to,
        "text": graph.strings.data,
        "closing": graph.strings.closing,
        "place_node": places.node,
        "place_script": places.script,
        "place_line": places.line,
        "place_column": places.column,
    }


def _measure_arrays(graph: HeapGraph, measures: Measures) -> dict[str, NDArray[Any]]:
    run = kernels("retainers")
    classes = measures.classes
    into = incoming(graph, measures.distance)
    by_retained = np.argsort(np.negative(measures.retained), kind="stable").astype(np.uint32)
    inside = by_retained[by_retained != graph.root]
    child_start, child = run.buckets(inside, measures.dominator, graph.node_count)
    counted = by_retained[measures.sizes[by_retained] > 0]
    class_start, class_node = run.buckets(counted, classes.of, len(classes.names))
    by_shallow = np.argsort(np.negative(measures.sizes), kind="stable")[:MAX_LARGEST]
    return {
        "sizes": _narrow(measures.sizes),
        "retained": _narrow(measures.retained),
        "distance": measures.distance,
        "dominator": measures.dominator,
        "class_of": _narrow(classes.of),
        "path_edge": first_edges(graph, measures.distance),
        "in_start": into.start,
        "in_edge": into.edges,
        "child_start": child_start,
        "child": child,
        "class_start": class_start,
        "class_node": class_node,
        "by_id": np.argsort(graph.node_id, kind="stable").astype(np.uint32),
        "by_retained": by_retained[:MAX_LARGEST].copy(),
        "by_shallow": by_shallow.astype(np.uint32),
    }


def _narrow(values: NDArray[Any]) -> NDArray[Any]:
    """The same values in as few bytes as hold them."""
    return values.astype(np.min_scalar_type(int(values.max())) if len(values) else np.uint8)


class HeapIndex:
    """An opened index. Nodes are named by their ids.

    Attributes:
        name: what the snapshot was called.
        statistics: parts of the whole heap.
    """

    def __init__(
        self, arrays: dict[str, NDArray[Any]], meta: dict[str, Any], file: str = ""
    ) -> None:
        self.file = file
        self._arrays = arrays
        self._graph = _graph(arrays, meta)
        self._names: list[str] = meta["class_names"]
        self._class_of_key = {key: c for c, key in enumerate(meta["class_keys"])}
        self._ignoring: Ignoring | None = None
        self.name: str = meta["name"]
        self.statistics = Statistics(**meta["statistics"])

    @classmethod
    def open(cls, file: Path, *, snapshot: str = "") -> Self:
        """Opens an index; IndexFileError where it is unusable or not of this snapshot."""
        arrays, meta = open_arrays(file)
        check(str(file), arrays, meta)
        if meta.get("snapshot") != snapshot:
            raise IndexFileError(str(file), "it belongs to another snapshot")
        try:
            return cls(arrays, meta, str(file))
        except (KeyError, TypeError, ValueError) as problem:
            raise IndexFileError(str(file), f"its head makes no sense ({problem})") from problem

    @cached_property
    def classes(self) -> list[ClassRow]:
        """The classes of the whole heap, the greatest first."""
        return self._unpacked("classes", lambda row: ClassRow(*row))

    @cached_property
    def scopes(self) -> list[Scope]:
        """Closures' contexts, those that retain the most; see `scopes.find_scopes`."""
        return self._unpacked("scopes", _scope)

    @cached_property
    def duplicates(self) -> list[DuplicateString]:
        """Texts that many strings hold, those that waste the most; `nodes` are ids of a few."""
        return self._unpacked("duplicates", _duplicate)

    @told_as_damage
    def _unpacked(self, name: str, made: Callable[[Any], _Row]) -> list[_Row]:
        return [made(row) for row in json.loads(self._arrays[name].tobytes())]

    @property
    def node_count(self) -> int:
        """How many nodes the heap has."""
        return self._graph.node_count

    @property
    def root(self) -> int:
        """The id of the root."""
        return int(self._graph.node_id[self._graph.root])

    @told_as_damage
    def node(self, node_id: int) -> ObjectRow:
        """One node; UnknownNodeError where the heap has none of this id."""
        return self._row(self._node(node_id))

    @told_as_damage
    def objects(self, class_key: str, offset: int = 0, limit: int = 100) -> Page[ObjectRow]:
        """A class's objects, those that retain the most first; no rows for an unknown class."""
        number = self._class_of_key.get(class_key)
        if number is None:
            return Page((), offset, 0)
        return self._page("class", number, offset, limit)

    @told_as_damage
    def dominated(self, node_id: int, offset: int = 0, limit: int = 100) -> Page[ObjectRow]:
        """What a node dominates at once, those that retain the most first."""
        return self._page("child", self._node(node_id), offset, limit)

    @told_as_damage
    def largest(
        self, offset: int = 0, limit: int = 100, *, by_shallow: bool = False
    ) -> Page[ObjectRow]:
        """The nodes that retain the most (or are the largest) in the heap, at most 10,000."""
        nodes = self._arrays["by_shallow" if by_shallow else "by_retained"]
        return self._rows(nodes, 0, len(nodes), offset, limit)

    @told_as_damage
    def named(self, text: str, offset: int = 0, limit: int = 100) -> Page[ObjectRow]:
        """The nodes whose name (for a string its text) holds a text, largest retained size first.

        At most MAX_STRINGS different names are looked at. It reads all texts: seconds for a GB.
        """
        names = strings_holding(self._graph.strings, text, MAX_STRINGS)
        nodes = np.flatnonzero(np.isin(self._graph.node_name, names))
        retained = self._arrays["retained"][nodes].astype(np.int64)
        nodes = nodes[np.argsort(np.negative(retained), kind="stable")]
        return self._rows(nodes, 0, len(nodes), offset, limit)

    @told_as_damage
    def retainers(
        self,
        node_id: int,
        offset: int = 0,
        limit: int = 100,
        *,
        weak: bool = False,
        ignored: Collection[int] = (),
    ) -> Page[EdgeRow]:
        """Who holds a node, the nearest to a root first; weak edges, on demand, come last.

        `total` counts weak edges and the root's too, which are left out of the rows.

        With `ignored` (ids) it is told as if those held nothing: distances and order are found
        anew, which takes a walk over the whole heap, and the ignored are left out of the rows.
        """
        node = self._node(node_id)
        low, high = (int(at) for at in self._arrays["in_start"][node : node + 2])
        edges = self._arrays["in_edge"][low:high]
        graph, skipped, distance = self._graph, frozenset({self._graph.root}), None
        if ignored:
            without = self._without(ignored)
            distance, skipped = without.distance, skipped | without.nodes
            edges = edges[_by_distance(graph, edges, distance)]
        rows = []
        for edge in edges[offset : offset + _within(limit)].tolist():
            source = source_of(graph.first_edge, edge)
            kind = graph.edge_types[int(graph.edge_type[edge])]
            if source not in skipped and (weak or kind != "weak"):
                row = self._row(source)
                if distance is not None:
                    row = replace(row, distance=int(distance[source]))
                rows.append(EdgeRow(kind, _cut(graph.edge_label(edge)), row))
        return Page(tuple(rows), offset, high - low)

    @told_as_damage
    def references(self, node_id: int, offset: int = 0, limit: int = 100) -> Page[EdgeRow]:
        """A node's own edges, in their order."""
        graph = self._graph
        edges = graph.edges_of(self._node(node_id))
        rows = [
            EdgeRow(
                graph.edge_types[int(graph.edge_type[edge])],
                _cut(graph.edge_label(edge)),
                self._row(int(graph.edge_to[edge])),
            )
            for edge in edges[offset : offset + _within(limit)]
        ]
        return Page(tuple(rows), offset, len(edges))

    @told_as_damage
    def path(self, node_id: int, *, ignored: Collection[int] = ()) -> list[EdgeRow]:
        """The shortest way from a root to a node, downwards; empty for what nothing reaches.

        With `ignored` (ids) the shortest one that does not lead over those.
        """
        edges = self._without(ignored).path_edge if ignored else self._arrays["path_edge"]
        steps = path(self._graph, edges, self._node(node_id))
        return [EdgeRow(step.kind, _cut(step.label), self._row(step.node)) for step in steps]

    @told_as_damage
    def dominators(self, node_id: int) -> list[ObjectRow]:
        """Whom a node hangs on: its dominator, that one's, up to the root."""
        found = []
        node, dominator = self._node(node_id), self._arrays["dominator"]
        while node != self._graph.root:
            node = int(dominator[node])
            found.append(self._row(node))
            if len(found) > self.node_count:
                raise IndexFileError(self.file, "its dominators go round in a circle")
        return found

    def _without(self, ignored: Collection[int]) -> Ignoring:
        """The heap as if some nodes (by ids) held nothing; the last one is kept for more pages."""
        nodes = frozenset(map(self._node, ignored))
        if self._ignoring is None or self._ignoring.nodes != nodes:
            self._ignoring = ignoring(self._graph, nodes)
        return self._ignoring

    def _node(self, node_id: int) -> int:
        ids, order = self._graph.node_id, self._arrays["by_id"]
        if not 0 <= node_id <= np.iinfo(ids.dtype).max:
            raise UnknownNodeError(self.name, node_id)
        low, high = 0, len(order)
        while low < high:  # searchsorted's sorter would read all of it
            middle = (low + high) // 2
            low, high = (middle + 1, high) if ids[order[middle]] < node_id else (low, middle)
        if low == len(order) or ids[order[low]] != node_id:
            raise UnknownNodeError(self.name, node_id)
        return int(order[low])

    def _page(self, what: str, number: int, offset: int, limit: int) -> Page[ObjectRow]:
        low, high = (int(at) for at in self._arrays[f"{what}_start"][number : number + 2])
        nodes = self._arrays["child" if what == "child" else "class_node"]
        return self._rows(nodes, low, high, offset, limit)

    def _rows(
        self, nodes: NDArray[Any], low: int, high: int, offset: int, limit: int
    ) -> Page[ObjectRow]:
        start = min(low + max(offset, 0), high)
        found = nodes[start : min(start + _within(limit), high)].tolist()
        return Page(tuple(map(self._row, found)), offset, high - low)

    def _row(self, node: int) -> ObjectRow:
        graph, arrays = self._graph, self._arrays
        return ObjectRow(
            id=int(graph.node_id[node]),
            name=_cut(graph.name_of(node)),
            kind=graph.type_of(node),
            class_name=_cut(self._names[int(arrays["class_of"][node])]),
            shallow_bytes=int(arrays["sizes"][node]),
            retained_bytes=int(arrays["retained"][node]),
            distance=int(arrays["distance"][node]),
            location=graph.locations.of(node),
        )


def _graph(arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> HeapGraph:
    places = (arrays[f"place_{part}"] for part in ("node", "script", "line", "column"))
    return HeapGraph(
        name=meta["name"],
        node_types=tuple(meta["node_types"]),
        edge_types=tuple(meta["edge_types"]),
        root=meta["root"],
        self_size=arrays["sizes"],
        strings=StringTable(arrays["text"], arrays["closing"]),
        locations=Locations(*places),
        extra_native_bytes=meta["extra_native_bytes"],
        node_type=arrays["node_type"],
        node_name=arrays["node_name"],
        node_id=arrays["node_id"],
        first_edge=arrays["first_edge"],
        edge_type=arrays["edge_type"],
        edge_name=arrays["edge_name"],
        edge_to=arrays["edge_to"],
    )


def _scope(row: dict[str, Any]) -> Scope:
    slots = [Slot(**{**slot, "state": SlotState(slot["state"])}) for slot in row["slots"]]
    sharers = [Sharer(**sharer) for sharer in row["sharers"]]
    lists = {"slots": tuple(slots), "sharers": tuple(sharers), "samples": tuple(row["samples"])}
    return Scope(**{**row, **lists})


def _duplicate(row: dict[str, Any]) -> DuplicateString:
    return DuplicateString(**{**row, "nodes": tuple(row["nodes"])})


def _by_distance(
    graph: HeapGraph, edges: NDArray[Any], distance: NDArray[np.int32]
) -> NDArray[np.intp]:
    """The order of edges by how near their sources are; weak ones come last."""
    sources = np.searchsorted(graph.first_edge, edges.astype(graph.first_edge.dtype), "right") - 1
    far = np.where(distance[sources] < 0, np.iinfo(np.int32).max, distance[sources])
    return np.lexsort((far, graph.edge_type[edges] == graph.edge_code("weak")))


def _within(limit: int) -> int:
    return max(0, min(limit, MAX_PAGE))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_NAME else text[: MAX_NAME - 1] + "…"
