"""Reads V8's `.heapsnapshot`: one pass over the bytes, straight into typed columns."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memwatch_heap._backend import kernels
from memwatch_heap.errors import SnapshotError
from memwatch_heap.formats.cursor import Cursor
from memwatch_heap.formats.header import Header, header_from
from memwatch_heap.formats.states import (
    END,
    FIELD,
    FULL,
    LENGTH,
    MORE,
    POS,
    RANGE,
    ROW,
    STATUS,
    SYNTAX,
    WIDE,
)
from memwatch_heap.graph import HeapGraph, Locations
from memwatch_heap.string_table import StringTable, TextStore
from memwatch_heap.traces import AllocationTraces, allocation_traces

# The head of a file is 1 to 2 KB; a megabyte leaves room for many more field names.
_MAX_HEAD = 1 << 20
# A trace tree is read as one value, some 20 bytes per frame; a longer one is left out.
_MAX_TREE = 256 << 20
# Strings that no node, edge or function names: V8 has none of them, other writers may.
_STRINGS_BESIDE = 1 << 16
# How many strings are read in a file that has them before its header.
_STRINGS_AHEAD = 1 << 22
# V8 writes up to 12 sections; a file of millions would be read for hours.
_MAX_SECTIONS = 100
# Columns start with room for this many rows where the file's size does not tell, and double.
_FIRST_ROOM = 1 << 18


def read_v8(cursor: Cursor) -> HeapGraph:
    """The graph of the snapshot under the cursor; SnapshotError where it is not whole."""
    return _Reader(cursor).read()


def read_header(cursor: Cursor) -> Header:
    """The header alone: V8 writes it first, so a few kilobytes are read."""
    reader = _Reader(cursor)
    if cursor.peek() < 0:
        raise SnapshotError(cursor.source.name, "it is empty")
    cursor.expect(b"{", "a heap snapshot")
    for key in reader.keys():  # noqa: SIM118 (an iterator, no dictionary)
        if key == "snapshot":
            reader.section(key)
            break
        cursor.value(f"section {key!r}", 0)
    if reader.header is None:
        raise SnapshotError(cursor.source.name, "it has no 'snapshot'")
    return reader.header


class _Reader:
    """The parts of one file, as they come."""

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.header: Header | None = None
        self.nodes: dict[str, NDArray[Any]] | None = None
        self.edges: dict[str, NDArray[Any]] | None = None
        self.strings: StringTable | None = None
        self.locations: dict[str, NDArray[Any]] | None = None
        self.functions: NDArray[np.uint64] | None = None
        self.tree: bytes | None = None
        self.marks: NDArray[np.uint64] | None = None
        self.tokens = kernels("tokens")

    def read(self) -> HeapGraph:
        cursor = self.cursor
        first = cursor.peek()
        if first < 0:
            raise SnapshotError(cursor.source.name, "it is empty")
        cursor.expect(b"{", "a heap snapshot")
        for key in self.keys():
            self.section(key)
        return self._graph()

    def keys(self) -> Iterator[str]:
        """The keys of the outer object, each with the cursor before its value."""
        cursor = self.cursor
        if cursor.peek() == ord("}"):
            cursor.pos += 1
            return
        for _ in range(_MAX_SECTIONS):
            raw = cursor.value("a section's name", 256)
            cursor.expect(b":", "a section")
            yield "" if raw is None else raw.decode("utf-8", "replace").strip('"')
            found = cursor.peek()
            if found < 0:
                raise cursor.fail("truncated after a section")
            cursor.pos += 1
            if found == ord("}"):
                return
            if found != ord(","):
                raise cursor.fail(f"',' or '}}' expected after a section, not {chr(found)!r}")
        raise cursor.fail(f"more than {_MAX_SECTIONS} sections")

    def section(self, key: str) -> None:
        """Reads or steps over the value of a key."""
        match key:
            case "snapshot":
                head = self.cursor.value("the header", _MAX_HEAD)
                self.header = header_from(self.cursor.source.name, head)
            case "nodes":
                self.nodes = self._read_nodes(self._needs_header(key))
            case "edges":
                self.edges = self._read_edges(self._needs_header(key))
            case "strings":
                self.strings = self._read_strings()
            case "locations":
                self.locations = self._read_locations(self._needs_header(key))
            case "trace_function_infos":
                self.functions = self._read_numbers(key)
            case "value_marks":
                self.marks = self._read_numbers(key)
            case "trace_tree":
                self.tree = self.cursor.value(key, _MAX_TREE)
            case _:
                self.cursor.value(f"section {key!r}", 0)

    def _needs_header(self, key: str) -> Header:
        if self.header is None:
            raise self.cursor.fail(f"{key!r} stands before 'snapshot'")
        if getattr(self, key) is not None:
            raise self.cursor.fail(f"{key!r} stands twice")
        return self.header

    # -- numbers

    def _room(self, promised: int, fields: int) -> int:
        """How many rows to make room for at first: never more than the file can hold."""
        size = self.cursor.source.size
        if size is None or self.cursor.source.packed:
            return min(promised, _FIRST_ROOM)
        return min(promised, size // (2 * fields) + 1)

    def _read_nodes(self, header: Header) -> dict[str, NDArray[Any]]:
        layout = header.node_layout()
        room = self._room(header.node_count, int(layout[0]))
        columns: dict[str, NDArray[Any]] = {
            "type": np.empty(room, np.uint8),
            "name": np.empty(room, np.uint32),
            "id": np.empty(room, np.uint32),
            "size": np.empty(room, np.uint32),
            "first": np.zeros(room + 1, np.uint32),
            "detached": np.empty(room if layout[7] >= 0 else 0, np.uint8),
            "trace": np.empty(room if layout[8] >= 0 else 0, np.uint32),
        }
        state = np.zeros(LENGTH, np.int64)

        def parse() -> None:
            self.tokens.parse_nodes(
                self.cursor.buffer, self.cursor.end, state, layout, *columns.values()
            )

        self._run("nodes", state, parse, columns, header.node_count, header.node_fields)
        return columns

    def _read_edges(self, header: Header) -> dict[str, NDArray[Any]]:
        layout = header.edge_layout()
        room = self._room(header.edge_count, int(layout[0]))
        columns: dict[str, NDArray[Any]] = {
            "type": np.empty(room, np.uint8),
            "name": np.empty(room, np.uint32),
            "to": np.empty(room, np.uint32),
        }
        state = np.zeros(LENGTH, np.int64)

        def parse() -> None:
            self.tokens.parse_edges(
                self.cursor.buffer, self.cursor.end, state, layout, *columns.values()
            )

        self._run("edges", state, parse, columns, header.edge_count, header.edge_fields)
        return columns

    def _read_locations(self, header: Header) -> dict[str, NDArray[Any]]:
        fields = len(header.location_fields)
        room = self._room(header.node_count // 2, fields) if fields else 0
        columns: dict[str, NDArray[Any]] = {
            name: np.empty(room, np.uint32) for name in ("node", "script", "line", "column")
        }
        if not fields:
            self.cursor.value("locations", 0)
            return columns
        layout = header.location_layout()
        state = np.zeros(LENGTH, np.int64)

        def parse() -> None:
            self.tokens.parse_locations(
                self.cursor.buffer, self.cursor.end, state, layout, *columns.values()
            )

        self._run("locations", state, parse, columns, None, header.location_fields)
        return columns

    def _read_numbers(self, key: str) -> NDArray[np.uint64]:
        columns: dict[str, NDArray[Any]] = {"number": np.empty(1 << 12, np.uint64)}
        state = np.zeros(LENGTH, np.int64)

        def parse() -> None:
            self.tokens.parse_numbers(self.cursor.buffer, self.cursor.end, state, columns["number"])

        self._run(key, state, parse, columns, None, (key,))
        return columns["number"]

    def _run(
        self,
        key: str,
        state: NDArray[np.int64],
        parse: Any,
        columns: dict[str, NDArray[Any]],
        promised: int | None,
        fields: tuple[str, ...],
    ) -> None:
        """Feeds a kernel until the array ends; grows and widens the columns as it asks."""
        cursor = self.cursor
        cursor.expect(b"[", f"{key!r}")
        while True:
            state[POS] = cursor.pos
            parse()
            cursor.pos = int(state[POS])
            rows, status = int(state[ROW]), int(state[STATUS])
            if status == END:
                break
            if status == MORE:
                if not cursor.fill():
                    raise cursor.fail(f"truncated in {key!r} after {_of(rows, promised)}")
            elif status == FULL:
                if promised is not None and rows >= promised:
                    raise cursor.fail(f"{key!r} has more rows than the {promised} promised")
                _grow(columns, min(2 * rows + 1024, promised or 2 * rows + 1024))
            elif status == WIDE:
                self._widen(key, columns, rows)
            else:
                self._reject(key, state, fields)
        if promised is not None and rows != promised:
            raise cursor.fail(f"{key!r} has {rows} rows, {promised} promised")
        _grow(columns, rows)

    def _widen(self, key: str, columns: dict[str, NDArray[Any]], row: int) -> None:
        if columns["id"].dtype == np.uint64:
            raise self.cursor.fail(f"a number beyond 2^53 in row {row} of {key!r}")
        columns["id"] = columns["id"].astype(np.uint64)
        columns["size"] = columns["size"].astype(np.uint64)

    def _reject(self, key: str, state: NDArray[np.int64], fields: tuple[str, ...]) -> None:
        row = int(state[ROW])
        if state[STATUS] == RANGE:
            name = fields[int(state[FIELD])]
            raise self.cursor.fail(f"{name!r} is out of range in row {row} of {key!r}")
        place = int(state[FIELD])
        seen = chr(int(self.cursor.buffer[place]))
        raise self.cursor.fail(f"no number at {seen!r} in row {row} of {key!r}", place)

    # -- strings

    def _read_strings(self) -> StringTable:
        cursor = self.cursor
        cursor.expect(b"[", "'strings'")
        store = TextStore()
        closing: NDArray[Any] = np.empty(1 << 14, np.uint32)
        state = np.zeros(LENGTH, np.int64)
        while True:
            start = cursor.pos
            offset = store.length - start
            if closing.dtype == np.uint32 and offset + cursor.end > 0xFFFF_FFF0:
                closing = closing.astype(np.uint64)
            state[POS] = start
            self.tokens.scan_strings(cursor.buffer, cursor.end, state, offset, closing)
            cursor.pos = int(state[POS])
            self._keep(store, cursor.buffer.data[start : cursor.pos])
            status, rows = int(state[STATUS]), int(state[ROW])
            if status == END:
                break
            if status == FULL:
                self._grow_strings(closing, rows)
            elif status == SYNTAX:
                raise cursor.fail(f"no string in row {rows} of 'strings'")
            elif not cursor.fill():
                raise cursor.fail(f"truncated in 'strings' after {rows} strings")
        closing.resize(rows, refcheck=False)
        return StringTable(self._finish(store), closing)

    def _grow_strings(self, closing: NDArray[Any], rows: int) -> None:
        """Doubles the room for strings, up to as many as anything could name."""
        limit = _STRINGS_AHEAD
        if self.header is not None:
            named = self.header.node_count + self.header.edge_count
            limit = named + 2 * self.header.function_count + _STRINGS_BESIDE
        if rows >= limit:
            raise self.cursor.fail(f"more than {limit} strings, and nothing to name so many")
        closing.resize(min(2 * rows + 1024, limit), refcheck=False)

    def _keep(self, store: TextStore, text: memoryview) -> None:
        try:
            store.add(text)
        except OSError as problem:
            raise self.cursor.fail(f"no room for its strings: {problem.strerror}") from problem

    def _finish(self, store: TextStore) -> NDArray[np.uint8]:
        try:
            return store.finish()
        except OSError as problem:
            raise self.cursor.fail(f"no room for its strings: {problem.strerror}") from problem

    # -- the whole

    def _graph(self) -> HeapGraph:
        name = self.cursor.source.name
        header, nodes, edges, strings = self.header, self.nodes, self.edges, self.strings
        if header is None or nodes is None or edges is None or strings is None:
            parts = {"snapshot": header, "nodes": nodes, "edges": edges, "strings": strings}
            missing = ", ".join(repr(key) for key, part in parts.items() if part is None)
            raise SnapshotError(name, f"it has no {missing}")
        graph = HeapGraph(
            name=name,
            node_types=header.node_types,
            edge_types=header.edge_types,
            root=header.root(name),
            node_type=nodes["type"],
            node_name=nodes["name"],
            node_id=nodes["id"],
            self_size=nodes["size"],
            first_edge=nodes["first"],
            edge_type=edges["type"],
            edge_name=edges["name"],
            edge_to=edges["to"],
            strings=strings,
            locations=_locations(self.locations),
            detachedness=nodes["detached"] if len(nodes["detached"]) else None,
            trace_node=nodes["trace"] if len(nodes["trace"]) else None,
            traces=self._traces(header),
            value_marks=self._marks(header),
            extra_native_bytes=header.extra_native_bytes,
        )
        graph.check()
        return graph

    def _marks(self, header: Header) -> NDArray[np.uint32] | None:
        if self.marks is None:
            return None
        if len(self.marks) != header.node_count or self.marks.max(initial=0) >= 1 << 32:
            raise SnapshotError(self.cursor.source.name, "'value_marks' is no list of marks")
        return self.marks.astype(np.uint32)

    def _traces(self, header: Header) -> AllocationTraces | None:
        fields = header.function_fields, header.trace_fields
        try:
            return allocation_traces(*fields, self.functions, self.tree)
        except ValueError as problem:
            raise SnapshotError(self.cursor.source.name, str(problem)) from problem


def _of(rows: int, promised: int | None) -> str:
    return f"{rows} rows" if promised is None else f"{rows} of {promised} rows"


def _grow(columns: dict[str, NDArray[Any]], rows: int) -> None:
    """Makes each column as long as `rows` (the one of first edges is one longer)."""
    for name, column in columns.items():
        wanted = rows + (name == "first")
        if len(column) and len(column) != wanted:
            column.resize(wanted, refcheck=False)


def _locations(columns: dict[str, NDArray[Any]] | None) -> Locations:
    """Sorted by node; of several rows for one node the last counts."""
    if columns is None:
        return Locations.none()
    node = columns["node"]
    if len(node) and not (node[1:] > node[:-1]).all():
        order = np.argsort(node, kind="stable")
        order = order[np.append(node[order][1:] != node[order][:-1], True)]
        columns = {name: column[order] for name, column in columns.items()}
    return Locations(**columns)
