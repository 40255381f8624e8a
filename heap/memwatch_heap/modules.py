"""What ES modules export: variables that live in cells of their own, not in a module's context."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from memwatch_heap.graph import HeapGraph
from memwatch_heap.locations import source_of

_MODULE = "system / SourceTextModule"
_CELL = "system / Cell"


@dataclass(frozen=True, slots=True)
class Export:
    """One exported variable: the cell it lives in, its module's context, its name."""

    cell: int
    context: int
    name: str


def exports(graph: HeapGraph) -> list[Export]:
    """The variables that modules export, each under the module that defines it.

    A module has a table of its exports (name, cell, name, cell …) and a list of the cells that are
    its own; what it hands on from another module is in its table alone.
    """
    found: dict[int, Export] = {}
    for context, module in _modules(graph):
        arrays = list(_arrays(graph, module))
        held = Counter(cell for cells, _ in arrays for cell in set(cells))
        for _, names in arrays:
            for cell, name in names.items():
                if held[cell] > 1 or cell not in found:
                    found[cell] = Export(cell, context, name)
    return list(found.values())


def _modules(graph: HeapGraph) -> list[tuple[int, int]]:
    """(context, module) of every module with code."""
    extension, module = graph.strings.find("extension", _MODULE)
    if min(extension, module) < 0:
        return []
    edges = np.flatnonzero(graph.edge_name == np.uint32(extension))
    edges = edges[graph.edge_type[edges] == graph.edge_code("internal")]
    edges = edges[graph.node_name[graph.edge_to[edges]] == np.uint32(module)]
    return list(zip(source_of(graph, edges).tolist(), graph.edge_to[edges].tolist(), strict=True))


def _arrays(graph: HeapGraph, module: int) -> Iterator[tuple[list[int], dict[int, str]]]:
    """(cells, names of those that have one) of each array of a module."""
    array = graph.node_code("array")
    for edge in graph.edges_of(module):
        to = int(graph.edge_to[edge])
        if graph.node_type[to] == array:
            members = _members(graph, to)
            cells = {at: node for at, node in members.items() if graph.name_of(node) == _CELL}
            names = {
                node: graph.name_of(members[at - 1])
                for at, node in cells.items()
                if at - 1 in members and graph.type_of(members[at - 1]) == "string"
            }
            yield list(cells.values()), names


def _members(graph: HeapGraph, array: int) -> dict[int, int]:
    """What an array holds, by place."""
    labelled = ((graph.edge_label(e), int(graph.edge_to[e])) for e in graph.edges_of(array))
    return {int(label): node for label, node in labelled if label.isdecimal()}
