"""A reader of heap dumps for tests, written from docs/formats/heap-dump.md, not from writers."""

import json
import struct
from dataclasses import dataclass, field
from typing import Any

from tests.hook.client import Heap

NODE_TYPES = [
    "hidden",
    "array",
    "string",
    "object",
    "code",
    "closure",
    "regexp",
    "number",
    "native",
    "synthetic",
]
EDGE_TYPES = ["context", "element", "property", "internal", "hidden", "shortcut", "weak"]
OWN_NAME, OWN_SIZE, NO_EDGES, MARK = 1, 2, 4, 8


@dataclass
class Dump:
    """A dump, read: rows of nodes and of edges as in a `.heapsnapshot`, and the JSON parts."""

    head: dict[str, Any]
    end: dict[str, Any]
    strings: list[str]
    nodes: list[tuple[int, int, int, int, int, int]]  # type, name, id, size, edges, mark
    edges: list[tuple[int, int, int]]  # type, name or index, ordinal
    version: int = 1
    #: Per node with a known site: (name, file, line) of each frame, the innermost first.
    sites: dict[int, list[tuple[str, str, int]]] = field(default_factory=dict)

    def heap(self) -> Heap:
        """The graph as tests look at it."""
        rows = iter(self.edges)
        edges = [[next(rows) for _ in range(node[4])] for node in self.nodes]
        assert next(rows, None) is None
        return Heap(
            types=[NODE_TYPES[node[0]] for node in self.nodes],
            names=[self.strings[node[1]] for node in self.nodes],
            ids=[node[2] for node in self.nodes],
            sizes=[node[3] for node in self.nodes],
            edges=[
                [(EDGE_TYPES[t], self.strings[n] if t not in (1, 4) else n, to) for t, n, to in own]
                for own in edges
            ],
        )


class _Stream:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def __bool__(self) -> bool:
        return self.at < len(self.data)

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                assert value < 1 << 64
                return value

    def difference(self) -> int:
        return _signed(self.number())

    def take(self, count: int) -> bytes:
        self.at += count
        assert self.at <= len(self.data)
        return self.data[self.at - count : self.at]


def _signed(value: int) -> int:
    return value // 2 if value % 2 == 0 else -(value + 1) // 2


def read(data: bytes) -> Dump:
    """Reads a whole dump and checks that its counts and references hold."""
    assert data[:8] == b"MWHEAP\r\n"
    assert data[8] in (1, 2)
    assert data[-4:] == b"MWHE"
    streams: dict[bytes, bytearray] = {kind: bytearray() for kind in (b"S", b"N", b"E", b"A")}
    texts, at, kinds = {}, 9, []
    while at < len(data) - 8:
        kind, length = struct.unpack_from("<cI", data, at)
        payload = data[at + 5 : at + 5 + length]
        assert len(payload) == length <= 1 << 20
        at += 5 + length
        kinds.append(kind)
        if kind in streams:
            streams[kind] += payload
        else:
            texts[kind] = payload
    assert (kinds[0], kinds[-1], at) == (b"H", b"Z", len(data) - 8)
    assert struct.unpack_from("<I", data, at)[0] == len(texts[b"Z"])
    strings = _strings(_Stream(bytes(streams[b"S"])))
    assert data[8] == 2 or not streams[b"A"]
    dump = Dump(
        head=json.loads(texts[b"H"]),
        end=json.loads(texts[b"Z"]),
        strings=strings,
        version=data[8],
        sites=_sites(_Stream(bytes(streams[b"A"])), strings),
        nodes=_nodes(_Stream(bytes(streams[b"N"]))),
        edges=_edges(_Stream(bytes(streams[b"E"]))),
    )
    for name in ("nodes", "edges", "strings"):
        assert dump.end[name] == len(getattr(dump, name)), (name, dump.end)
    assert dump.end["self_size_bytes"] == sum(node[3] for node in dump.nodes)
    assert all(to < len(dump.nodes) for _, _, to in dump.edges)
    assert dump.end.get("allocations", 0) == len(dump.sites)
    assert all(node < len(dump.nodes) for node in dump.sites)
    return dump


def _strings(stream: _Stream) -> list[str]:
    found = []
    while stream:
        found.append(stream.take(stream.number()).decode())
    return found


def _nodes(stream: _Stream) -> list[tuple[int, int, int, int, int, int]]:
    found: list[tuple[int, int, int, int, int, int]] = []
    classes: list[tuple[int, ...]] = []
    last = 0
    while stream:
        number = stream.number()
        if number == len(classes):
            classes.append(tuple(stream.number() for _ in range(4)))
        kind, flags, name, size = classes[number]
        name = stream.number() if flags & OWN_NAME else name
        last += stream.difference()
        size = stream.number() if flags & OWN_SIZE else size
        count = 0 if flags & NO_EDGES else stream.number()
        mark = struct.unpack("<I", stream.take(4))[0] if flags & MARK else 0
        found.append((kind, name, last, size, count, mark))
    return found


def _sites(stream: _Stream, strings: list[str]) -> dict[int, list[tuple[str, str, int]]]:
    found: dict[int, list[tuple[str, str, int]]] = {}
    sites: list[list[tuple[str, str, int]]] = []
    node = -1
    while stream:
        node += 1 + stream.number()
        site = stream.number()
        if site == len(sites):
            frames = []
            for _ in range(stream.number()):
                name, file = strings[stream.number()], strings[stream.number()]
                frames.append((name, file, stream.number()))
            sites.append(frames)
        found[node] = sites[site]
    return found


def _edges(stream: _Stream) -> list[tuple[int, int, int]]:
    found: list[tuple[int, int, int]] = []
    layouts: list[list[int]] = []
    slots: dict[int, int] = {}
    node = -1

    def target(before: int) -> tuple[int, int]:
        code = stream.number()
        if code % 2:
            return before, slots[code // 2]
        to = before + _signed(code // 2)
        if abs(to - before) >= 2048:
            slots[to % 64] = to
        return to, to

    while stream:
        head = stream.number()
        layout, gap = divmod(head, 4)
        node += 1 + (gap if gap < 3 else 3 + stream.number())
        before = node
        labels: list[int] | None = None
        if layout == 1:
            labels = [8 * index + 1 for index in range(stream.number())]
        elif layout >= 2:
            if layout - 2 == len(layouts):
                layouts.append([stream.number() for _ in range(stream.number())])
            labels = layouts[layout - 2]
        for place in range(stream.number() if labels is None else len(labels)):
            label = stream.number() if labels is None else labels[place]
            before, to = target(before)
            found.append((label & 7, label >> 3, to))
    return found
