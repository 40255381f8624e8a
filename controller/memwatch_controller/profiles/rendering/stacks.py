"""Trees of call stacks and what was allocated in them: their tables, pages and files. Pure.

A tree is flat: node 0 is the root, and a node comes after the one that called it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from memwatch_controller.profiles.rendering.documents import Column, Row

#: Nodes of a flame graph: more are too small to be seen.
MAX_NODES = 20_000

#: Deeper calls of a table are indented no further.
_MAX_INDENT = 100

COLUMNS: Sequence[Column] = (
    ("location", "function", "text"),
    ("size_bytes", "self", "bytes"),
    ("total_bytes", "total", "bytes"),
    ("count", "objects", "count"),
)
TREE_COLUMNS: Sequence[Column] = (
    ("location", "function", "text"),
    ("total_bytes", "total", "bytes"),
    ("size_bytes", "self", "bytes"),
    ("count", "objects", "count"),
)
DIFF_COLUMNS: Sequence[Column] = (
    ("location", "function", "text"),
    ("size_delta_bytes", "self Δ", "bytes"),
    ("size_bytes", "self", "bytes"),
    ("count_delta", "objects Δ", "count"),
)


class Frame(NamedTuple):
    """A function; line and column count from 1, 0 where they are not known."""

    name: str
    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """Such as `takeOrder /app/shop.js:12`."""
        where = f" {self.file}:{self.line}" if self.file and self.line else f" {self.file}"
        return (self.name or "(anonymous)") + where.rstrip()


@dataclass
class Tree:
    """What was allocated in each stack, not counting what its callees did."""

    frames: list[Frame] = field(default_factory=list)
    parent: list[int] = field(default_factory=list)
    size: list[int] = field(default_factory=list)
    count: list[int] = field(default_factory=list)

    def add(self, parent: int, frame: Frame, size: int, count: int) -> int:
        """A node more; its number."""
        self.frames.append(frame)
        self.parent.append(parent)
        self.size.append(size)
        self.count.append(count)
        return len(self.frames) - 1

    def totals(self) -> list[int]:
        """The bytes of each node with all that it called."""
        totals = list(self.size)
        for node in range(len(totals) - 1, 0, -1):
            totals[self.parent[node]] += totals[node]
        return totals

    def children(self) -> list[list[int]]:
        """The nodes that each node called."""
        found: list[list[int]] = [[] for _ in self.frames]
        for node in range(1, len(self.frames)):
            found[self.parent[node]].append(node)
        return found

    def stack(self, node: int) -> list[Frame]:
        """The functions from a node up, the innermost first; without the root."""
        frames = []
        while node:
            frames.append(self.frames[node])
            node = self.parent[node]
        return frames

    def sums(self) -> Row:
        """All of it together."""
        return {"count": sum(self.count), "size_bytes": sum(self.size)}


def by_function(tree: Tree) -> list[Row]:
    """A row for each function, the largest own size first; recursion is counted once."""
    rows: dict[Frame, Row] = {}
    totals = tree.totals()
    for node in range(1, len(tree.frames)):
        frame = tree.frames[node]
        row = rows.setdefault(frame, _row(frame))
        row["size_bytes"] += tree.size[node]
        row["count"] += tree.count[node]
        if frame not in tree.stack(tree.parent[node]):
            row["total_bytes"] += totals[node]
    return sorted(rows.values(), key=lambda row: (-row["size_bytes"], -row["total_bytes"]))


def _row(frame: Frame) -> Row:
    return {
        "location": str(frame),
        "size_bytes": 0,
        "total_bytes": 0,
        "count": 0,
        "function": frame.name,
        "file": frame.file,
        "line": frame.line,
        "column": frame.column,
    }


def difference(earlier: Tree, later: Tree) -> list[Row]:
    """What each function's own size grew by, the most first."""
    before = {row["location"]: row for row in by_function(earlier)}
    rows = []
    for row in by_function(later):
        old = before.pop(row["location"], {"size_bytes": 0, "count": 0})
        rows.append(_grown(row, old))
    gone = {"size_bytes": 0, "total_bytes": 0, "count": 0}
    rows += [_grown({**row, **gone}, row) for row in before.values()]
    return sorted(rows, key=lambda row: (-row["size_delta_bytes"], row["location"]))


def _grown(row: Row, old: Mapping[str, Any]) -> Row:
    return {
        **row,
        "size_delta_bytes": row["size_bytes"] - old["size_bytes"],
        "count_delta": row["count"] - old["count"],
    }


def as_rows(tree: Tree) -> list[Row]:
    """The tree as rows from the top down, the largest branch first, indented by depth."""
    totals, children = tree.totals(), tree.children()
    rows: list[Row] = []
    waiting = [(node, 0) for node in sorted(children[0], key=lambda node: totals[node])]
    while waiting:
        node, depth = waiting.pop()
        if not totals[node]:
            continue
        indent = "  " * min(depth, _MAX_INDENT)
        rows.append(
            {
                "location": indent + str(tree.frames[node]),
                "depth": depth,
                "total_bytes": totals[node],
                "size_bytes": tree.size[node],
                "count": tree.count[node],
            }
        )
        below = sorted(children[node], key=lambda child: totals[child])
        waiting += [(child, depth + 1) for child in below]
    return rows


def flame(tree: Tree) -> dict[str, Any]:
    """The tree as a flame graph has it: name, bytes with all below, count, children.

    The smallest nodes are left out where there are too many; they are still in their callers.
    """
    totals = tree.totals()
    kept = _largest(totals)
    nodes = {0: _flame_node("all", totals[0], tree.count[0])}
    for node in range(1, len(tree.frames)):
        if node in kept and tree.parent[node] in nodes:
            nodes[node] = _flame_node(str(tree.frames[node]), totals[node], tree.count[node])
            nodes[tree.parent[node]]["children"].append(nodes[node])
    for one in nodes.values():
        one["children"].sort(key=lambda child: -child["size_bytes"])
    return nodes[0]


def _largest(totals: Sequence[int]) -> Iterable[int]:
    order = sorted(range(1, len(totals)), key=lambda node: (-totals[node], node))[:MAX_NODES]
    return {node for node in order if totals[node]}


def _flame_node(name: str, size: int, count: int) -> dict[str, Any]:
    return {"name": name, "size_bytes": size, "count": count, "children": []}
