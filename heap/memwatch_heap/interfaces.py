"""Names for plain objects, from the properties that many of them share.

DevTools calls them interfaces: `{id, name, …}` instead of `Object`. A definition is inferred in
one snapshot and applied in it, and in another one for a comparison.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memwatch_heap._backend import kernels
from memwatch_heap.graph import U32, HeapGraph

# DevTools' own limits: the length of a name, and how many objects a definition must match.
_MAX_NAME = 120
_MIN_OBJECTS = 2
_MIN_SHARE = 1000
_QUOTED = re.compile(r"[,'\"{}]")
_PROTO = "__proto__"
_LOOK_CLOSER = 255


@dataclass(frozen=True, slots=True)
class Interface:
    """A name for objects that have all of these properties (a name twice means two of it)."""

    name: str
    properties: tuple[str, ...]


class PlainObjects:
    """The nodes of a graph that are plain objects, and their shapes."""

    def __init__(self, graph: HeapGraph) -> None:
        self.graph = graph
        plain, proto = graph.strings.find("Object", _PROTO)
        self.proto = proto
        self.kind = graph.edge_code("property")
        is_object = graph.node_type == graph.node_code("object")
        found = np.flatnonzero(is_object & (graph.node_name == np.uint32(max(plain, 0))))
        self.nodes: U32 = found[: None if plain >= 0 else 0].astype(np.uint32)

    def infer(self) -> tuple[Interface, ...]:
        """The definitions that DevTools would find, the most popular first."""
        if not len(self.nodes):
            return ()
        width = self._widths()
        _, sample, ends, counts = self._group(width, _MAX_NAME)
        least = max(_MIN_OBJECTS, len(self.nodes) / _MIN_SHARE)
        merged: dict[str, tuple[int, tuple[str, ...]]] = {}
        # Names are joined without ambiguity but for an empty one; then the rare need company.
        (empty,) = self.graph.strings.find("")
        rare_count = least if empty < 0 or width[empty] == _LOOK_CLOSER else 1
        for g in np.flatnonzero(counts >= rare_count):
            properties = tuple(self._properties(int(sample[g]), int(ends[g])))
            if not properties:
                continue
            name = _joined(properties)
            count, first = merged.get(name, (0, properties))
            merged[name] = (count + int(counts[g]), first)
        popular = sorted(merged.items(), key=lambda item: -item[1][0])
        return tuple(Interface(name, first) for name, (count, first) in popular if count >= least)

    def match(self, definitions: Sequence[Interface]) -> NDArray[np.int64]:
        """The index of the definition that names each plain object, -1 for `Object`."""
        if not definitions or not len(self.nodes):
            return np.full(len(self.nodes), -1, np.int64)
        group, sample, _, _ = self._group(np.zeros(len(self.graph.strings), np.uint8), 0)
        best = kernels("interfaces").match_shapes(
            self.graph.first_edge,
            self.graph.edge_type,
            self.graph.edge_name,
            sample,
            self.kind,
            self.proto,
            *self._tokens(definitions),
        )
        matched: NDArray[np.int64] = best[group]
        return matched

    def _group(self, width: NDArray[np.uint8], limit: int) -> tuple[U32, U32, U32, U32]:
        graph = self.graph
        group, sample, ends, counts = kernels("interfaces").group_shapes(
            graph.first_edge,
            graph.edge_type,
            graph.edge_name,
            self.nodes,
            self.kind,
            self.proto,
            width,
            limit,
        )
        return group, sample, ends, counts

    def _widths(self) -> NDArray[np.uint8]:
        """Per string that names a property: how long it is in a definition's name, up to 254."""
        graph = self.graph
        wanted = np.zeros(len(graph.strings), np.uint8)
        shape = (graph.first_edge, graph.edge_type, graph.edge_name)
        kernels("interfaces").mark_names(*shape, self.nodes, self.kind, wanted)
        width = np.full(len(graph.strings), _LOOK_CLOSER, np.uint8)
        strings = graph.strings
        kernels("interfaces").name_widths(strings.data, strings.closing, wanted, width)
        for index in np.flatnonzero((wanted == 1) & (width == _LOOK_CLOSER)):
            width[index] = min(_length(_formatted(strings[int(index)])), _LOOK_CLOSER - 1)
        return width

    def _properties(self, node: int, end: int) -> Iterator[str]:
        graph = self.graph
        for edge in range(int(graph.first_edge[node]), end):
            if graph.edge_type[edge] == self.kind and graph.edge_name[edge] != self.proto:
                yield graph.strings[int(graph.edge_name[edge])]

    def _tokens(
        self, definitions: Sequence[Interface]
    ) -> tuple[
        NDArray[np.int32],
        NDArray[np.int32],
        NDArray[np.int64],
        NDArray[np.int32],
        NDArray[np.int32],
    ]:
        """What `match_shapes` wants to know of the definitions."""
        tokens: dict[tuple[str, int], int] = {}
        users: list[list[int]] = []
        for d, definition in enumerate(definitions):
            times: dict[str, int] = {}
            for name in definition.properties:
                key = (name, times.get(name, 0))
                times[name] = key[1] + 1
                if tokens.setdefault(key, len(users)) == len(users):
                    users.append([])
                users[tokens[key]].append(d)
        names = list(dict.fromkeys(name for name, _ in tokens))
        token_of = np.full(len(self.graph.strings), -1, np.int32)
        for name, index in zip(names, self.graph.strings.find(*names), strict=True):
            if index >= 0:
                token_of[index] = tokens[name, 0]
        follower = [tokens.get((name, turn + 1), -1) for name, turn in tokens]
        place = np.cumsum([0, *map(len, users)])
        flat = [d for group in users for d in group]
        return (
            token_of,
            np.array(follower, np.int32),
            place.astype(np.int64),
            np.array(flat, np.int32),
            np.array([len(definition.properties) for definition in definitions], np.int32),
        )


def _joined(properties: tuple[str, ...]) -> str:
    """The definition's name: braces, commas, odd names in quotes."""
    name = "{"
    for text in map(_formatted, properties):
        name += (", " if name != "{" else "") + text
    return name + "}"


def _formatted(name: str) -> str:
    return json.dumps(name, ensure_ascii=False) if _QUOTED.search(name) else name


def _length(text: str) -> int:
    """What JavaScript calls the length: UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
