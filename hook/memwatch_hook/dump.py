"""Writes an object graph as a heap dump (docs/formats/heap-dump.md): compact, in one go.

The C walker writes the same format from the heap itself; this is what the pure-Python one uses.
"""

from __future__ import annotations

import json
import struct

from . import v8format

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    Sink = Callable[[bytes], None]

MAGIC = b"MWHEAP\r\n"
VERSION = 1
SITES_VERSION = 2  # of a dump that tells where objects were allocated
END_MAGIC = b"MWHE"
HEAD, STRINGS, NODES, EDGES, ALLOCATIONS, END = b"HSNEAZ"

OWN_NAME, OWN_SIZE, NO_EDGES, MARK = 1, 2, 4, 8
LIST, SEQUENCE, FIRST_LAYOUT = range(3)

BLOCK_BYTES = 64 << 10  # a block is written when it has grown so large
MAX_LAYOUTS = 1 << 16  # what a reader must be ready to keep
MAX_LAYOUT_LABELS = 64
MAX_STRING_BYTES = 16 << 10
SLOTS = 64
FAR = 2048  # targets this far from the one before are remembered in a slot
MAX_SITE_FRAMES = 64  # of one stack: the innermost ones
MAX_FRAMES = 1 << 18  # of all stacks together: what a reader must be ready to keep
MAX_LINE = (1 << 31) - 1
_MAX_GAP = 3

_BLOCK = struct.Struct("<BI")
_U32 = struct.Struct("<I")
# Node types whose nodes have names of their own: functions, code, and what is no object.
_NAMED = frozenset((v8format.CODE, v8format.CLOSURE, v8format.SYNTHETIC))


class Sites:
    """The stacks that objects were allocated by, each once, numbered from 1.

    A stack's frames are numbers of two strings (name and file) and a line, the innermost first.
    """

    def __init__(self) -> None:
        self.stacks: list[list[tuple[int, int, int]]] = []
        self.left_out = 0  # objects whose site was one too many
        self._frames = 0

    def add(self, frames: list[tuple[int, int, int]]) -> int:
        """A new stack's number; 0 where there is no room for one more."""
        kept = frames[:MAX_SITE_FRAMES]
        if not kept or self._frames + len(kept) > MAX_FRAMES:
            return 0
        self._frames += len(kept)
        self.stacks.append(kept)
        return len(self.stacks)


def write(
    parts: list[v8format.Nodes],
    strings: list[str],
    head: dict[str, Any],
    sink: Sink,
    sites: Sites | None = None,
) -> int:
    """Writes a whole dump, the nodes of all parts in order; its size in bytes.

    `head` is what the first block says. Nodes of the first part are not objects. With `sites` it
    tells where objects were allocated, as each part's `sites` number them.
    """
    out = _Blocks(sink, VERSION if sites is None else SITES_VERSION)
    out.text(HEAD, head)
    for text in strings:
        data = _utf8(text)
        _number(out.streams[STRINGS], len(data))
        out.streams[STRINGS] += data
        out.flush_full(STRINGS)
    classes: _Classes = {}
    coder, first, last_id = _EdgeCoder(out.streams[EDGES]), 0, 0
    for part in parts:
        last_id = _write_nodes(out, part, classes, last_id)
        _write_edges(out, part, coder, first)
        first += len(part.types)
    ending = _ending(parts, len(strings))
    if sites is not None:
        ending["allocations"] = _write_allocations(out, parts, sites)
        ending["sites_left_out"] = sites.left_out
    out.text(END, ending)
    return out.size


def _ending(parts: list[v8format.Nodes], strings: int) -> dict[str, int]:
    nodes = sum(len(part.types) for part in parts)
    return {
        "nodes": nodes,
        "edges": sum(len(part.targets) for part in parts),
        "strings": strings,
        "objects": nodes - len(parts[0].types),
        "self_size_bytes": sum(sum(part.sizes) for part in parts),
    }


class _Blocks:
    """The streams' unwritten bytes, and the blocks that they go into."""

    def __init__(self, sink: Sink, version: int) -> None:
        self.streams = {kind: bytearray() for kind in (STRINGS, NODES, EDGES, ALLOCATIONS)}
        self.size = 0
        self._sink = sink
        self._put(MAGIC + bytes([version]))

    def flush_full(self, kind: int) -> None:
        """Writes the blocks of one stream that are full."""
        stream = self.streams[kind]
        while len(stream) >= BLOCK_BYTES:
            self._block(kind, bytes(stream[:BLOCK_BYTES]))
            del stream[:BLOCK_BYTES]

    def text(self, kind: int, facts: dict[str, Any]) -> None:
        """Writes what is left of the streams and a block of JSON; after the last one the end."""
        for one, stream in self.streams.items():
            if stream:
                self._block(one, bytes(stream))
                stream.clear()
        payload = json.dumps(facts, separators=(",", ":")).encode()
        self._block(kind, payload)
        if kind == END:
            self._put(_U32.pack(len(payload)) + END_MAGIC)

    def _block(self, kind: int, payload: bytes) -> None:
        self._put(_BLOCK.pack(kind, len(payload)) + payload)

    def _put(self, data: bytes) -> None:
        self._sink(data)
        self.size += len(data)


if TYPE_CHECKING:
    # By node type, name (-1: each its own), whether its nodes have no edges, and whether a mark.
    _Classes = dict[tuple[int, int, bool, bool], int]


def _write_nodes(out: _Blocks, part: v8format.Nodes, classes: _Classes, last_id: int) -> int:
    stream = out.streams[NODES]
    marks: Iterable[int] = part.marks or (0 for _ in part.types)
    rows = zip(part.types, part.names, part.ids, part.sizes, part.edge_counts, marks)
    for kind, name, number, size, count, mark in rows:
        key = (kind, -1 if kind in _NAMED else name, not count, bool(mark))
        known = classes.get(key)
        if known is None:
            known = classes[key] = len(classes)
            _number(stream, known)
            _describe(stream, key)
        else:
            _number(stream, known)
        if key[1] < 0:
            _number(stream, name)
        _number(stream, _zigzag(number - last_id))
        last_id = number
        _number(stream, size)
        if count:
            _number(stream, count)
        if mark:
            stream += _U32.pack(mark)
        if len(stream) >= BLOCK_BYTES:
            out.flush_full(NODES)
    return last_id


def _describe(stream: bytearray, key: tuple[int, int, bool, bool]) -> None:
    kind, name, no_edges, has_mark = key
    flags = OWN_SIZE | (NO_EDGES if no_edges else 0) | (MARK if has_mark else 0)
    _number(stream, kind)
    _number(stream, flags | (OWN_NAME if name < 0 else 0))
    _number(stream, max(name, 0))
    _number(stream, 0)


def _write_edges(out: _Blocks, part: v8format.Nodes, coder: _EdgeCoder, first: int) -> None:
    at = 0
    for number, count in enumerate(part.edge_counts, first):
        if count:
            end = at + count
            coder.record(number, part.labels[at:end], part.targets[at:end])
            at = end
            if len(out.streams[EDGES]) >= BLOCK_BYTES:
                out.flush_full(EDGES)


class _EdgeCoder:
    """Writes the records of edges; remembers layouts and what is often referred to."""

    def __init__(self, stream: bytearray) -> None:
        self._stream = stream
        self._layouts: dict[bytes, int] = {}
        self._slots = [-1] * SLOTS
        self._next = 0  # the node after the one that was written last

    def record(self, node: int, labels: Sequence[int], targets: Sequence[int]) -> None:
        """The edges of one node; targets are ordinals × NODE_WIDTH."""
        gap = node - self._next
        self._next = node + 1
        if _is_sequence(labels):
            self._head(SEQUENCE, gap)
            _number(self._stream, len(labels))
            self._targets(node, targets)
            return
        layout = self._layout(labels, gap)
        if layout == LIST:
            _number(self._stream, len(labels))
            previous = node
            for label, target in zip(labels, targets):
                _number(self._stream, label)
                previous = self._target(previous, target // v8format.NODE_WIDTH)
        else:
            self._targets(node, targets)

    def _layout(self, labels: Sequence[int], gap: int) -> int:
        """Writes a record's head, and the layout where it is a new one; its number."""
        if len(labels) > MAX_LAYOUT_LABELS:
            self._head(LIST, gap)
            return LIST
        key = bytes(memoryview(labels))  # type: ignore[arg-type]
        known = self._layouts.get(key)
        if known is not None:
            self._head(known, gap)
            return known
        if len(self._layouts) >= MAX_LAYOUTS:
            self._head(LIST, gap)
            return LIST
        known = self._layouts[key] = FIRST_LAYOUT + len(self._layouts)
        self._head(known, gap)
        _number(self._stream, len(labels))
        for label in labels:
            _number(self._stream, label)
        return known

    def _head(self, layout: int, gap: int) -> None:
        _number(self._stream, 4 * layout + min(gap, _MAX_GAP))
        if gap >= _MAX_GAP:
            _number(self._stream, gap - _MAX_GAP)

    def _targets(self, node: int, targets: Sequence[int]) -> None:
        previous = node
        for target in targets:
            previous = self._target(previous, target // v8format.NODE_WIDTH)

    def _target(self, previous: int, target: int) -> int:
        """Writes a target; what is the target before, for the next one."""
        slot, difference = target % SLOTS, target - previous
        far = abs(difference) >= FAR
        if far and self._slots[slot] == target:
            self._stream.append(2 * slot + 1)
            return previous
        if far:
            self._slots[slot] = target
        _number(self._stream, 2 * _zigzag(difference))
        return target


def _write_allocations(out: _Blocks, parts: list[v8format.Nodes], sites: Sites) -> int:
    """Writes which nodes have a site, and each site where it comes first; how many nodes."""
    stream = out.streams[ALLOCATIONS]
    numbers: dict[int, int] = {}
    first = after_last = count = 0
    for part in parts:
        for node, site in enumerate(part.sites, first):
            if site:
                _number(stream, node - after_last)
                after_last, count = node + 1, count + 1
                _write_site(stream, site, numbers, sites)
            if len(stream) >= BLOCK_BYTES:
                out.flush_full(ALLOCATIONS)
        first += len(part.types)
    return count


def _write_site(stream: bytearray, site: int, numbers: dict[int, int], sites: Sites) -> None:
    known = numbers.get(site)
    if known is not None:
        _number(stream, known)
        return
    _number(stream, len(numbers))
    numbers[site] = len(numbers)
    frames = sites.stacks[site - 1]
    _number(stream, len(frames))
    for frame in frames:
        for value in frame:
            _number(stream, value)


def _utf8(text: str) -> bytes:
    data = text.encode("utf-8", "replace")
    if len(data) > MAX_STRING_BYTES:
        data = data[:MAX_STRING_BYTES].decode("utf-8", "ignore").encode()
    return data


def _is_sequence(labels: Sequence[int]) -> bool:
    step = 1 << v8format.LABEL_SHIFT
    last = v8format.ELEMENT + (len(labels) - 1) * step
    if labels[0] != v8format.ELEMENT or labels[-1] != last:
        return False
    return all(label == at for label, at in zip(labels, range(v8format.ELEMENT, last + 1, step)))


def _zigzag(value: int) -> int:
    return 2 * value if value >= 0 else -2 * value - 1


def _number(stream: bytearray, value: int) -> None:
    while value >= 0x80:
        stream.append(value & 0x7F | 0x80)
        value >>= 7
    stream.append(value)
