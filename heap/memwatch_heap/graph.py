"""A heap as flat columns: nodes, their edges in node order, strings and places in the source."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memwatch_heap._backend import kernels
from memwatch_heap.errors import SnapshotError, UnknownNodeError
from memwatch_heap.string_table import StringTable
from memwatch_heap.traces import AllocationTraces

# A node or an edge is counted in 32 bits; two values stay free as marks.
MAX_NODES = 0xFFFF_FFF0
MAX_EDGES = 0xFFFF_FFF0
# What a type that a file does not have is numbered: no node or edge carries it.
NO_TYPE = 255

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]


@dataclass(frozen=True, slots=True, eq=False)
class Locations:
    """Where objects come from: one row per object that has a place, sorted by node.

    `line` and `column` count from 0. Script ids hold within one process only.
    """

    node: U32
    script: U32
    line: U32
    column: U32

    @classmethod
    def none(cls) -> "Locations":
        """No locations at all."""
        empty = np.zeros(0, np.uint32)
        return cls(empty, empty, empty, empty)

    def of(self, node: int) -> tuple[int, int, int] | None:
        """(script id, line, column) of a node, None where the file has none."""
        row = int(np.searchsorted(self.node, np.uint32(node)))
        if row == len(self.node) or self.node[row] != node:
            return None
        return int(self.script[row]), int(self.line[row]), int(self.column[row])


@dataclass(frozen=True, slots=True, eq=False)
class HeapGraph:
    """One snapshot. Node i has the edges first_edge[i] up to first_edge[i + 1].

    Sizes are bytes as the file has them (DevTools' merging is in `memwatch_heap.retained`).

    Attributes:
        name: what errors and reports call the snapshot.
        node_types, edge_types: names of the codes in node_type and edge_type.
        root: the node all others hang on.
        node_type: code per node. node_name: string index. node_id: the id, uint32 or uint64.
        self_size: uint32 or uint64.
        edge_type: code per edge. edge_name: string index, or the number for types element and
            hidden. edge_to: node.
        detachedness: 0 unknown, 1 attached, 2 detached; None where the file has no such field.
        trace_node: id of the allocation's trace node, 0 for none; None likewise.
        traces: the trace nodes, in snapshots taken while allocations were tracked.
        value_marks: salted marks of plain values, where a Python snapshot has them beside traces.
        extra_native_bytes: memory outside the heap that the file's header reports.
    """

    name: str
    node_types: tuple[str, ...]
    edge_types: tuple[str, ...]
    root: int
    node_type: U8
    node_name: U32
    node_id: NDArray[Any]
    self_size: NDArray[Any]
    first_edge: U32
    edge_type: U8
    edge_name: U32
    edge_to: U32
    strings: StringTable
    locations: Locations = field(default_factory=Locations.none)
    detachedness: U8 | None = None
    trace_node: U32 | None = None
    traces: AllocationTraces | None = None
    value_marks: U32 | None = None
    extra_native_bytes: int = 0

    @property
    def node_count(self) -> int:
        """How many nodes there are, the root included."""
        return len(self.node_type)

    @property
    def edge_count(self) -> int:
        """How many edges there are."""
        return len(self.edge_type)

    def node_code(self, type_name: str) -> int:
        """The code of a node type; NO_TYPE where the file does not have it."""
        return self.node_types.index(type_name) if type_name in self.node_types else NO_TYPE

    def edge_code(self, type_name: str) -> int:
        """The code of an edge type; NO_TYPE where the file does not have it."""
        return self.edge_types.index(type_name) if type_name in self.edge_types else NO_TYPE

    def indexed_edges(self) -> U8:
        """Per edge type: 1 where an edge's name is a number, 0 where it is a string."""
        return np.array([name in ("element", "hidden") for name in self.edge_types], np.uint8)

    def name_of(self, node: int) -> str:
        """A node's name as the file has it."""
        return self.strings[int(self.node_name[node])]

    def type_of(self, node: int) -> str:
        """A node's type."""
        return self.node_types[int(self.node_type[node])]

    def edges_of(self, node: int) -> range:
        """A node's edges."""
        return range(int(self.first_edge[node]), int(self.first_edge[node + 1]))

    def edge_label(self, edge: int) -> str:
        """An edge's name: the string, or the number."""
        name = int(self.edge_name[edge])
        if self.edge_types[int(self.edge_type[edge])] in ("element", "hidden"):
            return str(name)
        return self.strings[name]

    def node_of(self, node_id: int) -> int:
        """The node with an id (a scan); UnknownNodeError where there is none."""
        if node_id > np.iinfo(self.node_id.dtype).max or node_id < 0:
            raise UnknownNodeError(self.name, node_id)
        found = np.flatnonzero(self.node_id == self.node_id.dtype.type(node_id))
        if not len(found):
            raise UnknownNodeError(self.name, node_id)
        return int(found[0])

    def check(self) -> None:
        """Raises SnapshotError unless all columns agree; what comes after this may trust them."""
        for problem in self._problems():
            raise SnapshotError(self.name, problem)

    def _problems(self) -> Iterator[str]:
        nodes, edges = self.node_count, self.edge_count
        if nodes == 0:
            yield "it has no nodes"
            return
        if not 0 <= self.root < nodes:
            yield f"its root is node {self.root} of {nodes}"
        if int(self.first_edge[nodes]) != edges:
            yield f"its nodes have {int(self.first_edge[nodes])} edges, it holds {edges}"
        if float(np.sum(self.self_size, dtype=np.float64)) >= 2.0**62:
            yield "its sizes add up to more than 2^62 bytes"
        strings = len(self.strings)
        if int(self.node_name.max()) >= strings:
            yield f"a node is named by string {int(self.node_name.max())} of {strings}"
        named = kernels("graph").greatest_name(self.edge_type, self.edge_name, self.indexed_edges())
        if named >= strings:
            yield f"an edge is named by string {named} of {strings}"
        twice = _repeated(self.node_id)
        if twice >= 0:
            yield f"id {int(self.node_id[twice])} occurs twice, at node {twice} the second time"


def _repeated(ids: NDArray[Any]) -> int:
    """The first node whose id an earlier node has too; -1 where all differ."""
    top = int(ids.max())
    if top < 1024 + 128 * len(ids):  # a bit per possible id: V8's ids are dense
        return int(kernels("graph").repeated_id(ids, top))
    order = np.argsort(ids, kind="stable")
    again = order[1:][ids[order][1:] == ids[order][:-1]]
    return int(again.min()) if len(again) else -1
