"""Writes an object graph as a V8 `.heapsnapshot` (the layout of Node 24), piece by piece.

The graph is held in flat arrays (about 60 bytes an object); its text, five times that, never is.
"""

from __future__ import annotations

import json
from array import array

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NODE_FIELDS = ("type", "name", "id", "self_size", "edge_count", "trace_node_id", "detachedness")
NODE_TYPES = (
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
    "concatenated string",
    "sliced string",
    "symbol",
    "bigint",
    "object shape",
)
EDGE_FIELDS = ("type", "name_or_index", "to_node")
EDGE_TYPES = ("context", "element", "property", "internal", "hidden", "shortcut", "weak")

STRING, OBJECT, CODE, CLOSURE, NUMBER, SYNTHETIC = (
    NODE_TYPES.index(name)
    for name in ("string", "object", "code", "closure", "number", "synthetic")
)
ELEMENT, PROPERTY, INTERNAL, SHORTCUT = (
    EDGE_TYPES.index(name) for name in ("element", "property", "internal", "shortcut")
)

NODE_WIDTH = len(NODE_FIELDS)
LABEL_SHIFT = 3  # an edge's label: its name or index, shifted over its type (one of 7)
BATCH = 8192  # rows turned into text at once

# Ids. DevTools holds them in 32 bits, so an address of 47 cannot be one. An address is cut into a
# chunk of 1 MiB and a place in it, in steps of 16 bytes (no object is smaller); chunks are numbered
# as they are first seen in this process. 64 GiB of heap fit into 32 bits; number 0 is for
# the synthetic nodes. An id is stable as long as its object lives; a new object at the
# address of a dead one takes over its id, as addresses do.
CHUNK_SHIFT = 20
PLACE_SHIFT = 4
PLACE_BITS = CHUNK_SHIFT - PLACE_SHIFT
PLACE_MASK = (1 << PLACE_BITS) - 1


class ChunkNumbers:
    """Numbers the chunks of address space that objects were seen in, for one process's life."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}

    def bases(self, chunks: set[int]) -> dict[int, int]:
        """For each chunk the id of its first place; unknown ones are numbered, lowest first."""
        for chunk in sorted(chunks - self._numbers.keys()):
            self._numbers[chunk] = len(self._numbers) + 1
        return {chunk: self._numbers[chunk] << PLACE_BITS for chunk in chunks}

    def known(self) -> list[int]:
        """The chunks in the order of their numbers."""
        return list(self._numbers)

    def learn(self, chunks: list[int]) -> None:
        """Takes over what a forked child has numbered: `known()` of the child."""
        for chunk in chunks:
            self._numbers.setdefault(chunk, len(self._numbers) + 1)


class Strings:
    """The table of names: each string once, numbered."""

    def __init__(self) -> None:
        self.table: list[str] = [""]
        self._index = {"": 0}

    def index(self, text: str) -> int:
        """The number of a string, which is added if it is new."""
        found = self._index.get(text)
        if found is None:
            found = self._index[text] = len(self.table)
            self.table.append(text)
        return found


class Nodes:
    """Columns of nodes, and of their edges in node order.

    `labels` holds for each edge `name_or_index << LABEL_SHIFT | type`, `targets` the flat index of
    the node it leads to: ordinal × NODE_WIDTH. `marks` (see `_marks.py`) stand in the field
    `trace_node_id`, which a snapshot without allocation traces has no other use for; a part without
    marks has none at all. `sites` are numbers in `dump.Sites`, from 1, or nothing at all.
    """

    def __init__(self) -> None:
        self.types = bytearray()
        self.names = array("I")
        self.ids = array("Q")
        self.sizes = array("Q")
        self.edge_counts = array("I")
        self.marks = array("I")
        self.sites = array("I")
        self.labels = array("I")
        self.targets = array("I")


def write(parts: list[Nodes], strings: list[str], sink: Callable[[bytes], None]) -> None:
    """Writes the whole snapshot: the nodes of all parts in order, then their edges."""
    before, between, after = header()
    nodes = sum(len(part.types) for part in parts)
    edges = sum(len(part.targets) for part in parts)
    sink(f"{before}{nodes}{between}{edges}{after}".encode())
    for index, row in enumerate(_node_rows(parts)):
        sink(("," + row if index else row).encode())
    sink(b'],"edges":[')
    for index, row in enumerate(_edge_rows(parts)):
        sink(("," + row if index else row).encode())
    sink(b'],"trace_function_infos":[],"trace_tree":[],"samples":[],"locations":[],"strings":[')
    for start in range(0, len(strings), BATCH):
        text = json.dumps(strings[start : start + BATCH], separators=(",", ":"))[1:-1]
        sink(("," + text if start else text).encode())
    sink(b"]}")


def header() -> tuple[str, str, str]:
    """What stands before the number of nodes, between it and that of edges, and up to the nodes."""
    before, between, traces, after = header_with_traces()
    return before, between, f"{traces}0{after}"


def header_with_traces() -> tuple[str, str, str, str]:
    """The same, cut also at the number of functions in allocation traces."""
    meta = {
        "node_fields": NODE_FIELDS,
        "node_types": [NODE_TYPES, "string", "number", "number", "number", "number"],
        "edge_fields": EDGE_FIELDS,
        "edge_types": [EDGE_TYPES, "string_or_number", "node"],
        "trace_function_info_fields": [
            "function_id",
            "name",
            "script_name",
            "script_id",
            "line",
            "column",
        ],
        "trace_node_fields": ["id", "function_info_index", "count", "size", "children"],
        "sample_fields": ["timestamp_us", "last_assigned_id"],
        "location_fields": ["object_index", "script_id", "line", "column"],
    }
    return (
        '{"snapshot":{"meta":' + json.dumps(meta, separators=(",", ":")) + ',"node_count":',
        ',"edge_count":',
        ',"trace_function_count":',
        ',"extra_native_bytes":0},"nodes":[',
    )


def _node_rows(parts: list[Nodes]) -> Iterator[str]:
    for part in parts:
        for start in range(0, len(part.types), BATCH):
            end = min(start + BATCH, len(part.types))
            rows = [0] * ((end - start) * NODE_WIDTH)
            rows[0::NODE_WIDTH] = part.types[start:end]
            rows[1::NODE_WIDTH] = part.names[start:end]
            rows[2::NODE_WIDTH] = part.ids[start:end]
            rows[3::NODE_WIDTH] = part.sizes[start:end]
            rows[4::NODE_WIDTH] = part.edge_counts[start:end]
            if part.marks:
                rows[5::NODE_WIDTH] = part.marks[start:end]
            yield _numbers(rows)


def _edge_rows(parts: list[Nodes]) -> Iterator[str]:
    width = len(EDGE_FIELDS)
    for part in parts:
        for start in range(0, len(part.labels), BATCH):
            labels = part.labels[start : start + BATCH]
            rows = [0] * (len(labels) * width)
            rows[0::width] = [label & 7 for label in labels]
            rows[1::width] = [label >> LABEL_SHIFT for label in labels]
            rows[2::width] = part.targets[start : start + BATCH]
            yield _numbers(rows)


def _numbers(numbers: list[int]) -> str:
    # The interpreter's own repr of a list is the fastest way to text there is.
    return repr(numbers)[1:-1].replace(", ", ",")
