"""Class names as DevTools gives them, and the table of classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from memwatch_heap._backend import kernels
from memwatch_heap.dom import PREFIX, detached_nodes
from memwatch_heap.graph import U8, U32, HeapGraph
from memwatch_heap.interfaces import Interface, PlainObjects
from memwatch_heap.retained import dominated, shallow_sizes

if TYPE_CHECKING:
    from memwatch_heap.measures import Measures

# Node types whose members are one class, whatever they are called.
_ONE_CLASS = {
    "hidden": "(system)",
    "code": "(compiled code)",
    "closure": "Function",
    "regexp": "RegExp",
}
_BY_NAME = ("object", "native")


@dataclass(frozen=True, slots=True)
class Classes:
    """The class of every node.

    Attributes:
        of: class per node.
        names: what a person calls each class.
        keys: what tells classes apart: `script,line,column,name` for objects with a place in the
            source, `,name` for all others. Script ids hold within one process only.
        definitions: how plain objects were named.
    """

    of: U32
    names: tuple[str, ...]
    keys: tuple[str, ...]
    definitions: tuple[Interface, ...] = ()


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One class of a heap: nodes of size 0 are not counted.

    Attributes:
        key, name: see `Classes`.
        count: objects. shallow_bytes: their own sizes.
        retained_bytes: what they keep alive together, nothing counted twice; None if not measured.
        distance: of the nearest one; None likewise.
    """

    key: str
    name: str
    count: int
    shallow_bytes: int
    retained_bytes: int | None = None
    distance: int | None = None


def class_rows(graph: HeapGraph, measures: "Measures | None" = None) -> list[ClassRow]:
    """The classes of a heap, the greatest first: by retained size, or by shallow if not measured.

    Without `measures` only classes and shallow sizes are computed.
    """
    if measures is None:
        classes, sizes = classify(graph), shallow_sizes(graph, detached_nodes(graph))
        retained = distance = None
    else:
        classes, sizes = measures.classes, measures.sizes
        retained, distance = _by_class(graph, measures)
    counts, totals = sum_by_class(classes, sizes)
    rows = [
        ClassRow(
            classes.keys[c],
            classes.names[c],
            int(counts[c]),
            int(totals[c]),
            None if retained is None else int(retained[c]),
            None if distance is None else int(distance[c]),
        )
        for c in np.flatnonzero(counts)
    ]
    return sorted(rows, key=lambda row: (-(row.retained_bytes or row.shallow_bytes), row.key))


def sum_by_class(
    classes: Classes, sizes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(count, bytes) per class of the nodes whose size is not 0."""
    counts, totals = kernels("classes").sum_by(classes.of, sizes, len(classes.names))
    return counts, totals


def _by_class(
    graph: HeapGraph, measures: "Measures"
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """(retained bytes, least distance) per class."""
    run = kernels("classes")
    classes = measures.classes
    start, found = dominated(measures.dominator, graph.root)
    retained: NDArray[np.int64] = run.retained_by(
        classes.of, measures.sizes, measures.retained, start, found, graph.root, len(classes.names)
    )
    distance: NDArray[np.int32] = run.least_by(
        classes.of, measures.sizes, measures.distance, len(classes.names)
    )
    return retained, distance


def classify(
    graph: HeapGraph,
    definitions: Sequence[Interface] | None = None,
    detached: U8 | None = None,
) -> Classes:
    """The class of every node.

    Args:
        graph: the heap.
        definitions: of another snapshot, for a comparison with it; inferred here if not given.
        detached: per node 1 where it is detached; found here if not given.
    """
    if detached is None:
        detached = detached_nodes(graph)
    return _Naming(graph, detached).classes(definitions)


class _Naming:
    """Codes per node: a string's index, or one above them for a name made here."""

    def __init__(self, graph: HeapGraph, detached: U8) -> None:
        self.graph = graph
        self.detached = detached
        self.made: list[str] = []
        self._codes: dict[str, int] = {}

    def code(self, name: str) -> int:
        """The code of a name made here."""
        found = self._codes.get(name)
        if found is None:
            found = self._codes[name] = len(self.graph.strings) + len(self.made)
            self.made.append(name)
        return found

    def text(self, code: int) -> str:
        """What a code stands for."""
        strings = self.graph.strings
        return strings[code] if code < len(strings) else self.made[code - len(strings)]

    def classes(self, definitions: Sequence[Interface] | None) -> Classes:
        codes = self._by_type()
        self._rename(codes)
        plain = PlainObjects(self.graph)
        known = plain.infer() if definitions is None else tuple(definitions)
        match = plain.match(known)
        made = np.array([self.code(interface.name) for interface in known], np.uint32)
        codes[plain.nodes[match >= 0]] = made[match[match >= 0]]
        return self._dense(codes, known)

    def _by_type(self) -> U32:
        graph = self.graph
        fixed = np.zeros(256, np.uint32)
        named = np.zeros(256, bool)
        for code, kind in enumerate(graph.node_types):
            named[code] = kind in _BY_NAME
            if not named[code]:
                fixed[code] = self.code(_ONE_CLASS.get(kind, f"({kind})"))
        codes = fixed[graph.node_type]
        by_name = named[graph.node_type]
        codes[by_name] = graph.node_name[by_name]
        return codes

    def _rename(self, codes: U32) -> None:
        """Detached natives get a prefix, and tags lose their attributes."""
        strings = self.graph.strings
        for node in np.flatnonzero(self.detached):
            codes[node] = self.code(_tag(PREFIX + strings[int(codes[node])]))
        flags = np.zeros(len(strings) + len(self.made), np.uint8)
        kernels("strings").strings_starting(strings.data, strings.closing, ord("<"), flags)
        tagged = np.flatnonzero(flags[codes])
        tags = set(codes[tagged].tolist())
        renamed = {code: self.code(_tag(strings[code])) for code in tags}
        for node in tagged:
            codes[node] = renamed[int(codes[node])]

    def _dense(self, codes: U32, definitions: tuple[Interface, ...]) -> Classes:
        """Numbers the classes from 0 and tells objects of two places apart."""
        graph = self.graph
        used = np.zeros(len(graph.strings) + len(self.made), np.uint8)
        used[codes] = 1
        keys: dict[str, int] = {}
        names: list[str] = []
        dense = np.zeros(len(used), np.uint32)
        for code in np.flatnonzero(used):
            name = self.text(int(code))
            if keys.setdefault("," + name, len(names)) == len(names):
                names.append(name)
            dense[code] = keys["," + name]
        of = dense[codes]
        places = graph.locations
        rows = np.flatnonzero(graph.node_type[places.node] == graph.node_code("object"))
        nodes = places.node[rows]
        place = (places.script[rows], places.line[rows], places.column[rows])
        group, sample = kernels("classes").group_rows(*place, of[nodes])
        numbers = np.zeros(len(sample), np.uint32)
        for g, row in enumerate(sample):
            script, line, column = (int(part[row]) for part in place)
            name = names[of[nodes[row]]]
            key = f"{script},{line},{column},{name}"
            if keys.setdefault(key, len(names)) == len(names):
                names.append(name)
            numbers[g] = keys[key]
        of[nodes] = numbers[group]
        return Classes(of, tuple(names), tuple(keys), definitions)


def _tag(name: str) -> str:
    """`<div id="a">` is of class `<div>`, detached or not."""
    if name.startswith("<"):
        space = name.find(" ")
    elif name.startswith(PREFIX + "<"):
        space = name.find(" ", len(PREFIX) + 1)
    else:
        return name
    return name if space < 0 else name[:space] + ">"
