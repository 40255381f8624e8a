"""Class names as DevTools gives them, and the table of classes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memwatch_heap._backend import kernels
from memwatch_heap.dom import PREFIX, detached_nodes
from memwatch_heap.graph import U32, HeapGraph

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
    """

    of: U32
    names: tuple[str, ...]
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One class of a heap: nodes of size 0 are not counted."""

    key: str
    name: str
    count: int
    shallow_bytes: int


def class_rows(graph: HeapGraph, classes: Classes | None = None) -> list[ClassRow]:
    """The classes of a heap with counts and shallow sizes, greatest first."""
    classes = classes or classify(graph)
    sizes = graph.self_size
    counts = np.bincount(classes.of[sizes > 0], minlength=len(classes.names))
    totals = sum_by_class(classes.of, sizes, len(classes.names))
    rows = [
        ClassRow(classes.keys[c], classes.names[c], int(counts[c]), int(totals[c]))
        for c in np.flatnonzero(counts)
    ]
    return sorted(rows, key=lambda row: (-row.shallow_bytes, row.key))


def sum_by_class(of: U32, sizes: NDArray[np.generic], count: int) -> NDArray[np.int64]:
    """Sums of sizes per class, exact."""
    totals: NDArray[np.int64] = kernels("classes").sum_by(of, sizes.astype(np.int64), count)
    return totals


def classify(graph: HeapGraph) -> Classes:
    """The class of every node."""
    naming = _Naming(graph)
    return naming.classes()


class _Naming:
    """Codes per node: a string's index, or one above them for a name made here."""

    def __init__(self, graph: HeapGraph) -> None:
        self.graph = graph
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

    def classes(self) -> Classes:
        codes = self._by_type()
        self._rename(codes)
        return self._dense(codes)

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
        for node in np.flatnonzero(detached_nodes(self.graph)):
            codes[node] = self.code(_tag(PREFIX + strings[int(codes[node])]))
        flags = np.zeros(len(strings) + len(self.made), np.uint8)
        kernels("strings").strings_starting(strings.data, strings.closing, ord("<"), flags)
        tagged = np.flatnonzero(flags[codes])
        renamed = {int(code): self.code(_tag(strings[code])) for code in np.unique(codes[tagged])}
        for node in tagged:
            codes[node] = renamed[int(codes[node])]

    def _dense(self, codes: U32) -> Classes:
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
        is_object = graph.node_type[places.node] == graph.node_code("object")
        for row in np.flatnonzero(is_object):
            node = places.node[row]
            name = names[of[node]]
            key = f"{places.script[row]},{places.line[row]},{places.column[row]},{name}"
            if keys.setdefault(key, len(names)) == len(names):
                names.append(name)
            of[node] = keys[key]
        return Classes(of, tuple(names), tuple(keys))


def _tag(name: str) -> str:
    """`<div id="a">` is of class `<div>`, detached or not."""
    if name.startswith("<"):
        space = name.find(" ")
    elif name.startswith(PREFIX + "<"):
        space = name.find(" ", len(PREFIX) + 1)
    else:
        return name
    return name if space < 0 else name[:space] + ">"
