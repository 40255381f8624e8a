"""Strings that a heap holds more than once."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memwatch_heap.graph import HeapGraph

# V8 cuts the text of a string at 1,024 characters; two longer ones are told apart by their sizes,
# and by the `length` and `hash` that the newest V8 writes beside them.
CUT = 1024
_TEXT = ("string", "concatenated string")


@dataclass(frozen=True, slots=True)
class DuplicateString:
    """One text and the strings that hold it.

    Attributes:
        text: the text, cut at 1,024 characters.
        count: how many strings hold it. bytes: their sizes together.
        wasted_bytes: what all but the largest of them take.
        nodes: the strings.
    """

    text: str
    count: int
    bytes: int
    wasted_bytes: int
    nodes: tuple[int, ...]


def duplicate_strings(
    graph: HeapGraph, sizes: NDArray[np.int64], limit: int = 100
) -> list[DuplicateString]:
    """The texts that waste the most, at most `limit` of them.

    Strings of size 0 (V8's way to write numbers) do not count, and neither do concatenations:
    V8 flattens those that are read, and the file has no text of the others.
    """
    kind = graph.node_code("string")
    nodes = np.flatnonzero((graph.node_type == kind) & (sizes > 0))
    names = graph.node_name[nodes]
    order = np.argsort(names, kind="stable")
    nodes, names = nodes[order], names[order]
    starts = np.flatnonzero(np.append(True, names[1:] != names[:-1])[: len(names)])
    groups: list[tuple[int, list[int]]] = []
    for most, group in _heaviest(sizes[nodes], starts):
        if len(groups) >= limit and most <= sorted(found for found, _ in groups)[-limit]:
            break  # no text that is left can waste more
        groups += _of_one_text(graph, sizes, nodes[group])
    groups.sort(key=lambda group: (-group[0], group[1]))
    return [
        DuplicateString(
            graph.name_of(members[0]), len(members), sum(sizes[list(members)].tolist()), wasted,
            tuple(members),
        )
        for wasted, members in groups[:limit]
    ]  # fmt: skip


def _heaviest(sizes: NDArray[np.int64], starts: NDArray[np.intp]) -> Iterator[tuple[int, slice]]:
    """(most bytes that may be wasted, its rows) of each group with two rows or more, by bytes."""
    if not len(starts):
        return
    ends = np.append(starts[1:], len(sizes))
    most = np.add.reduceat(sizes, starts) - np.maximum.reduceat(sizes, starts)
    several = np.flatnonzero(ends - starts > 1)
    for group in several[np.argsort(-most[several], kind="stable")].tolist():
        yield int(most[group]), slice(int(starts[group]), int(ends[group]))


def _of_one_text(
    graph: HeapGraph, sizes: NDArray[np.int64], nodes: NDArray[np.intp]
) -> list[tuple[int, list[int]]]:
    """(wasted bytes, nodes) of the strings that one text stands for: several where it was cut."""
    members: dict[tuple[str, ...], list[int]] = defaultdict(list)
    if len(graph.strings.raw(int(graph.node_name[nodes[0]]))) < CUT:
        members[()] = nodes.tolist()
    else:
        for node in nodes.tolist():
            members[str(sizes[node]), *_identity(graph, node)].append(node)
    return [
        (int(sizes[same].sum() - sizes[same].max()), same)
        for same in members.values()
        if len(same) > 1
    ]


def _identity(graph: HeapGraph, node: int) -> tuple[str, ...]:
    """What newer V8 writes beside a text that it cut: the length and the hash."""
    internal = graph.edge_code("internal")
    facts = {}
    for edge in graph.edges_of(node):
        if graph.edge_type[edge] == internal:
            label = graph.edge_label(edge)
            if label in ("length", "hash"):
                facts[label] = _value(graph, int(graph.edge_to[edge]))
    return tuple(facts.get(label, "") for label in ("length", "hash"))


def _value(graph: HeapGraph, node: int) -> str:
    """The digits of a number: V8 hangs them under the number's node as a string."""
    for edge in graph.edges_of(node):
        if graph.edge_label(edge) == "value":
            return graph.name_of(int(graph.edge_to[edge]))
    return graph.name_of(node)
