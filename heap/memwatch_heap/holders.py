"""Who holds each object: the dominator tree with the engine's own parts taken out of it."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memwatch_heap import rules
from memwatch_heap._backend import kernels
from memwatch_heap.basis import Basis
from memwatch_heap.classes import Classes
from memwatch_heap.graph import U8, U32, HeapGraph

NO_EDGE = 0xFFFF_FFFF
ITEM, SEE_THROUGH, NOISE, HOLDER = 0, 1, 2, 3  # HOLDER: may hold a leak, is none itself

# How well an edge says in words where an object is; weak ones hold nothing.
_EDGE_RANK = {"context": 4, "property": 4, "element": 3, "shortcut": 3, "internal": 2, "hidden": 1}


@dataclass(frozen=True, slots=True, eq=False)
class Holders:
    """Who holds what in one heap.

    Attributes:
        graph: the heap.
        idom: immediate dominator per node. order: all nodes, dominators first.
        owner: per node the object that holds it, in a reader's eyes: the nearest dominator that
            is no part of the engine, or for a link of a chain the owner of the chain's head.
        linked: 1 where a node is a link of a chain and not its head.
        edge: the edge from the dominator to the node; NO_EDGE where none goes straight.
        category: ITEM, SEE_THROUGH, NOISE or HOLDER per node.
        holds: which nodes may hold a leak.
        group: class per node; plain objects are one class whatever their properties.
        group_names: names of the groups.
    """

    graph: HeapGraph
    idom: U32
    order: U32
    owner: U32
    linked: U8
    edge: U32
    category: U8
    holds: NDArray[np.bool_]
    group: U32
    group_names: tuple[str, ...]

    def group_of(self, node: int) -> str:
        """The class of a node by name."""
        return self.group_names[int(self.group[node])]

    def label_of(self, node: int) -> str:
        """Under which label the dominator holds a node; empty where no edge goes straight."""
        edge = int(self.edge[node])
        return "" if edge == NO_EDGE else self.graph.edge_label(edge)

    def items_of(self, owner: int) -> NDArray[np.intp]:
        """The nodes that an owner holds."""
        return np.flatnonzero((self.owner == owner) & (self.category == ITEM))


def find_holders(graph: HeapGraph, basis: Basis) -> Holders:
    """The holders of a heap, from its dominators."""
    order, idom = basis.order, basis.idom
    group, names = _groups(graph, basis.classes)
    category = _categories(graph)
    rank = np.array([_EDGE_RANK.get(kind, 0) for kind in graph.edge_types], np.uint8)
    edge = kernels("owners").dominating_edges(
        graph.first_edge, graph.edge_type, graph.edge_to, idom, rank
    )
    see_through = (category == SEE_THROUGH).astype(np.uint8)
    label = _labels(graph, edge)
    see_through[_called(graph, edge, label, rules.SILENT_LABELS)] = 1
    owner, linked = kernels("owners").owners(
        order, idom, see_through, group, _chain_rules(names), label
    )
    category[see_through == 1] = SEE_THROUGH
    holds = (category == ITEM) | (category == HOLDER)
    return Holders(graph, idom, order, owner, linked, edge, category, holds, group, names)


def _groups(graph: HeapGraph, classes: Classes) -> tuple[U32, tuple[str, ...]]:
    """Classes without places and without the shapes of plain objects, dense."""
    numbers: dict[str, int] = {}
    dense = np.zeros(len(classes.names), np.uint32)
    for number, name in enumerate(classes.names):
        plain = "Object" if name.startswith("{") else name
        dense[number] = numbers.setdefault(plain, len(numbers))
    group = dense[classes.of]
    for rule, nodes in _named(graph, (*rules.SOLID_NAMES, *rules.HOLDERS_ONLY)):
        group[nodes] = numbers.setdefault(rule, len(numbers))
    return group, tuple(numbers)


def _categories(graph: HeapGraph) -> U8:
    by_type = np.full(256, ITEM, np.uint8)
    for rule in rules.SEE_THROUGH_TYPES:
        by_type[graph.node_code(rule.name)] = SEE_THROUGH
    for rule in rules.NOISE_TYPES:
        by_type[graph.node_code(rule.name)] = NOISE
    category = by_type[graph.node_type]
    category[_beginning(graph, rules.SEE_THROUGH_NAMES)] = SEE_THROUGH
    named = (
        (rules.NOISE_NAMES, NOISE),
        (rules.SOLID_NAMES, ITEM),
        (rules.HOLDERS_ONLY, HOLDER),
    )
    for names, value in named:
        for _, nodes in _named(graph, names):
            category[nodes] = value
    return category


def _named(graph: HeapGraph, names: Iterable[rules.Rule]) -> Iterable[tuple[str, NDArray[np.intp]]]:
    """(name, nodes that have it) for each name that the heap has; strings are nobody's name."""
    wanted = [rule.name for rule in names]
    text = _text_types(graph)
    for name, index in zip(wanted, graph.strings.find(*wanted), strict=True):
        if index >= 0:
            nodes = np.flatnonzero(graph.node_name == np.uint32(index))
            yield name, nodes[~text[graph.node_type[nodes]]]


def _beginning(graph: HeapGraph, starts: Iterable[rules.Rule]) -> NDArray[np.bool_]:
    """Which objects' names begin so (a start that ends in no space must be the whole name)."""
    objects = np.flatnonzero(graph.node_type == graph.node_code("object"))
    flags = np.zeros(graph.node_count, bool)
    used = np.unique(graph.node_name[objects])
    hit = [
        index
        for index in used
        if any(_begins(graph.strings[int(index)], rule.name) for rule in starts)
    ]
    flags[objects] = np.isin(graph.node_name[objects], np.array(hit, np.uint32))
    return flags


def _begins(name: str, start: str) -> bool:
    return name.startswith(start) if start.endswith(" ") else name == start


def _text_types(graph: HeapGraph) -> NDArray[np.bool_]:
    """Per node type: whether a node's name is its value, not its class."""
    values = ("string", "concatenated string", "sliced string", "symbol", "number", "bigint")
    text = np.zeros(256, bool)
    for kind in values:
        text[graph.node_code(kind)] = True
    return text


def _labels(graph: HeapGraph, edge: U32) -> U32:
    """Per node the label of its dominating edge as a number that no two kinds share; 0: none."""
    labels = np.zeros(graph.node_count, np.uint32)
    has = edge != NO_EDGE
    numbered = graph.indexed_edges()[graph.edge_type[edge[has]]]
    labels[has] = np.where(numbered, 0, graph.edge_name[edge[has]] + np.uint32(1))
    # Indices tell places of one array apart, so no two are alike: they never make a chain.
    return labels


def _called(graph: HeapGraph, edge: U32, label: U32, silent: Iterable[str]) -> NDArray[np.bool_]:
    """Which nodes are a silent part of their dominator: held by such a label, internally."""
    wanted = [index + 1 for index in graph.strings.find(*silent) if index >= 0]
    flags = np.isin(label, np.array(wanted, np.uint32))
    at = np.flatnonzero(flags)
    flags[at] = graph.edge_type[edge[at]] == graph.edge_code("internal")
    return flags


def _chain_rules(names: tuple[str, ...]) -> U8:
    """Per group how chains of it are told: 0 never, 1 by class, 2 by class and label."""
    never = {rule.name for rule in rules.NEVER_CHAINS}
    by_label = {rule.name for rule in rules.CHAIN_BY_LABEL}
    return np.array(
        [2 if name in by_label else int(name not in never and name[:1] != "(") for name in names],
        np.uint8,
    )
