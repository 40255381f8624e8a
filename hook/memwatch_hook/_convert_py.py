"""The pure-Python converter of heap dumps: the twin of csrc/convert.c, checked against it.

It gives the same bytes, some seventy times slower (9 s a million objects).
"""

from __future__ import annotations

import os

from . import dump, v8format

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PIECE_BYTES = 64 << 10  # read at once
BATCH_BYTES = 64 << 10  # written at once
MAX_BLOCK_BYTES = 1 << 20
MAX_STRING_BYTES = 64 << 10
MAX_CLASSES = 1 << 20
MAX_SIZE = 1 << 53  # of one object: what any reader of JSON holds exactly
_MAX_NUMBER_BYTES = 10
_ALL_FLAGS = dump.OWN_NAME | dump.OWN_SIZE | dump.NO_EDGES | dump.MARK
_HIDDEN = v8format.EDGE_TYPES.index("hidden")
_INDEXED = (v8format.ELEMENT, _HIDDEN)
_NO_SITE = (-1, 0)
_NO_RECORD = "a node has edges in stream N and none in stream E"


def convert(
    file: int,
    out: int,
    start: int,
    end: int,
    nodes: int,
    edges: int,
    strings: int,
    has_sites: bool,
    header: tuple[str, str, str, str],
) -> tuple[int, int, int, int]:
    """As `_convert.convert`: objects, their bytes, the bytes written, and nodes with a site.

    Raises:
        ValueError: the dump contradicts itself.
    """
    sink = _Sink(out)
    place = file, start, end, nodes, strings
    tree = _Tree()
    allocations = 0
    if has_sites:
        allocations = sum(1 for _ in _allocations(place, tree.learn))
    count = 1 + len(tree.functions) if allocations else 0
    sink.text(f"{header[0]}{nodes}{header[1]}{edges}{header[2]}{count}{header[3]}")
    sums = [0, 0, 0]
    sited = _allocations(place, lambda frames: None) if allocations else None
    sink.rows(_node_rows(_Nodes(*place), sums, tree, sited))
    if sums[2] != edges:
        raise ValueError(f"its nodes have {sums[2]} edges, its end tells of {edges}")
    sink.text('],"edges":[')
    sink.rows(_edge_rows(_Nodes(*place), _Edges(*place)))
    sink.text('],"trace_function_infos":[')
    if allocations:
        sink.rows(tree.function_rows())
        sink.text(f'],"trace_tree":[{tree.text()}],"samples":[],"locations":[],"value_marks":[')
        sink.rows(_mark_rows(_Nodes(*place)))
    else:
        sink.text('],"trace_tree":[],"samples":[],"locations":[')
    sink.text('],"strings":[')
    sink.rows(_string_rows(_Stream(file, "S", start, end), strings))
    sink.text("]}")
    sink.flush()
    return sums[0], sums[1], sink.written, allocations


class _Sink:
    """Text out, in batches."""

    def __init__(self, out: int) -> None:
        self.written = 0
        self._out = out
        self._batch = bytearray()

    def text(self, text: str) -> None:
        self._batch += text.encode()
        if len(self._batch) >= BATCH_BYTES:
            self.flush()

    def rows(self, rows: Iterator[str]) -> None:
        for row in rows:
            self.text(row)
            break
        for row in rows:
            self.text("," + row)

    def flush(self) -> None:
        left = memoryview(bytes(self._batch))
        self.written += len(left)
        self._batch.clear()
        while left:
            left = left[os.write(self._out, left) :]


class _Stream:
    """The payloads of all blocks of one kind."""

    def __init__(self, file: int, kind: str, start: int, end: int) -> None:
        self._file = file
        self._kind = kind
        self._at = start
        self._end = end
        self._left = 0
        self._buffer = b""
        self._pos = 0

    def number(self) -> int:
        value = 0
        for shift in range(0, 7 * _MAX_NUMBER_BYTES, 7):
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                if value >> 64:
                    break
                return value
        raise ValueError(f"its stream {self._kind} has a number of more than 64 bits")

    def below(self, limit: int, what: str) -> int:
        value = self.number()
        if value >= limit:
            raise ValueError(f"{what} is {value}, expected less than {limit}")
        return value

    def moved(self, origin: int, zigzag: int, limit: int, what: str) -> int:
        to = origin + (-(zigzag + 1) // 2 if zigzag & 1 else zigzag // 2)
        if not 0 <= to < limit:
            raise ValueError(f"{what} is {to}, expected 0 to {limit}")
        return to

    def take(self, count: int) -> bytes:
        while len(self._buffer) - self._pos < count:
            more = self._more()
            if not more:
                raise ValueError(f"its stream {self._kind} ends within an item")
            self._buffer = self._buffer[self._pos :] + more
            self._pos = 0
        found = self._buffer[self._pos : self._pos + count]
        self._pos += count
        return found

    def ended(self) -> bool:
        if self._pos == len(self._buffer):
            self._buffer, self._pos = self._more(), 0
        return self._pos == len(self._buffer)

    def check_all_read(self) -> None:
        if not self.ended():
            raise ValueError(f"its stream {self._kind} goes on behind the last item")

    def _more(self) -> bytes:
        while not self._left:
            if self._at == self._end:
                return b""
            self._next_block()
        data = os.pread(self._file, min(self._left, PIECE_BYTES), self._at)
        if not data:
            raise ValueError("it was cut short while it was read")
        self._at += len(data)
        self._left -= len(data)
        return data

    def _next_block(self) -> None:
        head = os.pread(self._file, 5, self._at)
        self._at += 5
        length = int.from_bytes(head[1:], "little")
        if len(head) < 5 or self._at + length > self._end or length > MAX_BLOCK_BYTES:
            raise ValueError(f"a block at {self._at - 5} has {length} bytes")
        if head[0] in (dump.HEAD, dump.END):
            raise ValueError("it has a second head or end")
        if chr(head[0]) == self._kind:
            self._left = length
        else:
            self._at += length


class _Nodes:
    """The stream of nodes; each is a list: type, name, id, size, edges, mark."""

    def __init__(self, file: int, start: int, end: int, nodes: int, strings: int) -> None:
        self.left = nodes
        self.stream = _Stream(file, "N", start, end)
        self._strings = strings
        self._last_id = 0
        self._classes: list[tuple[int, int, int, int]] = []  # type, flags, name, size

    def next(self) -> list[int]:
        if not self.left:
            raise ValueError("it has edges of more nodes than there are")
        self.left -= 1
        stream = self.stream
        number = stream.number()
        if number == len(self._classes):
            self._learn()
        elif number > len(self._classes):
            raise ValueError(f"a node has class {number} of {len(self._classes)}")
        kind, flags, name, size = self._classes[number]
        if flags & dump.OWN_NAME:
            name = stream.below(self._strings, "a node's name")
        self._last_id = stream.moved(self._last_id, stream.number(), 1 << 32, "a node's id")
        if flags & dump.OWN_SIZE:
            size = stream.below(MAX_SIZE, "a node's size")
        count = 0 if flags & dump.NO_EDGES else stream.number()
        mark = int.from_bytes(stream.take(4), "little") if flags & dump.MARK else 0
        return [kind, name, self._last_id, size, count, mark]

    def _learn(self) -> None:
        if len(self._classes) == MAX_CLASSES:
            raise ValueError(f"it has more than {MAX_CLASSES} classes")
        kind = self.stream.below(len(v8format.NODE_TYPES), "a node's type")
        flags = self.stream.below(_ALL_FLAGS + 1, "a class's flags")
        name = self.stream.below(self._strings, "a class's name")
        self._classes.append((kind, flags, name, self.stream.below(MAX_SIZE, "a class's size")))


class _Edges:
    """The stream of edges."""

    def __init__(self, file: int, start: int, end: int, nodes: int, strings: int) -> None:
        self.stream = _Stream(file, "E", start, end)
        self._nodes = nodes
        self._strings = strings
        self._layouts: list[list[int]] = []
        self._slots = [-1] * dump.SLOTS

    def head(self) -> tuple[int, int]:
        """A record's layout, and how many nodes have no edges before it."""
        head = self.stream.number()
        gap = head & 3
        if gap == 3:
            gap += self.stream.below(1 << 32, "a gap")
        return head >> 2, gap

    def edges(self, layout: int, node: int) -> Iterator[tuple[int, int]]:
        """Labels and targets of a node's record."""
        labels = self._labels(layout) if layout >= dump.FIRST_LAYOUT else None
        count = len(labels) if labels is not None else self.stream.number()
        before = node
        for index in range(count):
            if labels is not None:
                label = labels[index]
            elif layout == dump.LIST:
                label = self._label()
            else:
                label = index << v8format.LABEL_SHIFT | v8format.ELEMENT
            to, before = self._target(before)
            yield label, to

    def _labels(self, layout: int) -> list[int]:
        known = layout - dump.FIRST_LAYOUT
        if known > len(self._layouts) or known == dump.MAX_LAYOUTS:
            raise ValueError(f"edges have layout {layout} of {len(self._layouts) + 2}")
        if known == len(self._layouts):
            count = self.stream.below(dump.MAX_LAYOUT_LABELS + 1, "a layout's length")
            self._layouts.append([self._label() for _ in range(count)])
        return self._layouts[known]

    def _label(self) -> int:
        found = self.stream.number()
        kind, name = found & 7, found >> v8format.LABEL_SHIFT
        limit = 1 << 32 if kind in _INDEXED else self._strings
        if kind >= len(v8format.EDGE_TYPES) or name >= limit:
            raise ValueError(f"an edge has type {kind} and name {name}")
        return found

    def _target(self, before: int) -> tuple[int, int]:
        written = self.stream.number()
        if written & 1:
            slot = written >> 1
            if slot >= dump.SLOTS or self._slots[slot] < 0:
                raise ValueError(f"an edge leads to slot {slot}, which is empty")
            return self._slots[slot], before
        to = self.stream.moved(before, written >> 1, self._nodes, "an edge's target")
        if abs(to - before) >= dump.FAR:
            self._slots[to % dump.SLOTS] = to
        return to, to


def _allocations(
    place: tuple[int, int, int, int, int], learn: Callable[[list[tuple[int, int, int]]], None]
) -> Iterator[tuple[int, int]]:
    """Nodes that have a site, with its number; `learn` gets each new site's frames."""
    file, start, end, nodes, strings = place
    stream = _Stream(file, "A", start, end)
    sites = after = 0
    while not stream.ended():
        node = after + stream.below(1 << 32, "a gap")
        if node >= nodes:
            raise ValueError("more nodes have a site than there are")
        site = stream.number()
        if site > sites:
            raise ValueError(f"a node has site {site} of {sites}")
        if site == sites:
            sites += 1
            learn(_frames(stream, strings))
        after = node + 1
        yield node, site


def _frames(stream: _Stream, strings: int) -> list[tuple[int, int, int]]:
    count = stream.below(dump.MAX_SITE_FRAMES + 1, "a site's length")
    if not count:
        raise ValueError("a site has no frames")
    frames = []
    for _ in range(count):
        name = stream.below(strings, "a frame's name")
        file = stream.below(strings, "a frame's file")
        frames.append((name, file, stream.below(dump.MAX_LINE + 1, "a frame's line")))
    return frames


class _Tree:
    """The sites as V8's tree of traces; node 0 is its root, and function 0 is the root's."""

    def __init__(self) -> None:
        self.functions: dict[tuple[int, int, int], int] = {}
        self._function = [0]  # of each node of the tree
        self._children: list[dict[int, int]] = [{}]
        self._sums = [[0, 0]]  # objects and bytes
        self._frames = 0
        self._leaves: list[int] = []  # by site

    def learn(self, frames: list[tuple[int, int, int]]) -> None:
        """Takes in a new site's frames, the innermost first."""
        self._frames += len(frames)
        if self._frames > dump.MAX_FRAMES:
            raise ValueError(f"its sites have more than {dump.MAX_FRAMES} frames")
        at = 0
        for frame in reversed(frames):
            at = self._called(at, self.functions.setdefault(frame, 1 + len(self.functions)))
        self._leaves.append(at)

    def trace_of(self, site: int, size: int) -> int:
        """The trace node of a site, which an object of that size is added to."""
        found = self._leaves[site]
        self._sums[found][0] += 1
        self._sums[found][1] += size
        return found + 1

    def function_rows(self) -> Iterator[str]:
        """The functions as text."""
        yield "0,0,0,0,0,0"
        for (name, file, line), number in self.functions.items():
            yield f"{number},{name},{file},{file},{line},0"

    def text(self, at: int = 0) -> str:
        """A node of the tree as text, with what is below it."""
        count, size = self._sums[at]
        below = ",".join(self.text(child) for child in self._children[at].values())
        return f"{at + 1},{self._function[at]},{count},{size},[{below}]"

    def _called(self, caller: int, function: int) -> int:
        children = self._children[caller]
        if function not in children:
            children[function] = len(self._children)
            self._children.append({})
            self._function.append(function)
            self._sums.append([0, 0])
        return children[function]


def _node_rows(
    nodes: _Nodes, sums: list[int], tree: _Tree, sited: Iterator[tuple[int, int]] | None
) -> Iterator[str]:
    """The nodes as text; `sums` are objects, their bytes, edges."""
    total = nodes.left
    next_sited = next(sited, _NO_SITE) if sited is not None else _NO_SITE
    while nodes.left:
        number = total - nodes.left
        node = nodes.next()
        sums[0] += node[0] != v8format.SYNTHETIC
        sums[1] += node[3]
        sums[2] += node[4]
        if sited is not None:
            node[5] = 0
            if number == next_sited[0]:
                node[5] = tree.trace_of(next_sited[1], node[3])
                next_sited = next(sited, _NO_SITE)
        yield ",".join(map(str, node)) + ",0"
    nodes.stream.check_all_read()


def _mark_rows(nodes: _Nodes) -> Iterator[str]:
    """The marks of all nodes, where allocation sites have taken their field."""
    while nodes.left:
        yield str(nodes.next()[5])


def _edge_rows(nodes: _Nodes, edges: _Edges) -> Iterator[str]:
    total = nodes.left
    while not edges.stream.ended():
        layout, gap = edges.head()
        for _ in range(gap):
            if nodes.next()[4]:
                raise ValueError(_NO_RECORD)
        told, number = nodes.next()[4], total - nodes.left - 1
        found = 0
        for label, to in edges.edges(layout, number):
            found += 1
            if found > told:
                break
            kind, name = label & 7, label >> v8format.LABEL_SHIFT
            yield f"{kind},{name},{to * v8format.NODE_WIDTH}"
        if found != told or not found:
            raise ValueError(f"a node has {told} edges in stream N and {found} in stream E")
    while nodes.left:
        if nodes.next()[4]:
            raise ValueError(_NO_RECORD)


def _string_rows(stream: _Stream, strings: int) -> Iterator[str]:
    for number in range(strings):
        data = stream.take(stream.below(MAX_STRING_BYTES + 1, "a string's length"))
        if data and not number:
            raise ValueError("string 0 is not empty")
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise ValueError(f"string {number} is no UTF-8") from None
        yield _json(text)
    stream.check_all_read()


# What JSON does not allow in a string; as csrc/convert.c writes it.
_ESCAPES = {
    **{code: f"\\u{code:04x}" for code in range(0x20)},
    ord('"'): '\\"',
    ord("\\"): "\\\\",
}


def _json(text: str) -> str:
    return f'"{text.translate(_ESCAPES)}"'
