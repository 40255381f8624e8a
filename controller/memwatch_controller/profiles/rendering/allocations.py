"""Reports of kind `allocations`: by line, by stack, compared, and as a flame graph's tree."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memwatch_controller.profiles.rendering import documents
from memwatch_controller.profiles.rendering.documents import Row
from memwatch_controller.profiles.reporting import RenderJob

KIND = "allocations"

#: A stack: (file, line), the innermost frame first.
Stack = tuple[tuple[str, int], ...]

#: Frames of a stack in one row of a table; the flame graph has them all.
_SHOWN_FRAMES = 12

#: Nodes of a flame graph: more are too small to be seen.
_MAX_NODES = 20_000

_FIGURES = (
    ("count", "blocks", "count"),
    ("size_bytes", "size", "bytes"),
    ("count_delta", "blocks Δ", "count"),
    ("size_delta_bytes", "size Δ", "bytes"),
)


@dataclass
class _Figures:
    """Blocks and bytes, before and after."""

    count_before: int = 0
    size_before: int = 0
    count: int = 0
    size: int = 0

    def add(self, row: Iterable[int]) -> None:
        """Adds count and bytes before, count and bytes after."""
        count_before, size_before, count, size = row
        self.count_before += count_before
        self.size_before += size_before
        self.count += count
        self.size += size

    def fields(self) -> Row:
        """The figures as a row has them."""
        return {
            "count": self.count,
            "size_bytes": self.size,
            "count_delta": self.count - self.count_before,
            "size_delta_bytes": self.size - self.size_before,
        }


def render_lines(job: RenderJob, path: Path, _base: Path | None) -> None:
    """By the line that allocated, the most growth first."""
    found = documents.read(path, KIND)
    by_line = _by_line(_stacks(found))
    columns = (("location", "line", "text"), *_FIGURES)
    documents.write(job, documents.table(job, columns, _rows(by_line), _totals(found)))


def render_stacks(job: RenderJob, path: Path, _base: Path | None) -> None:
    """By the whole stack, the most growth first."""
    found = documents.read(path, KIND)
    by_stack = {stack: _figures(row) for stack, row in _stacks(found).items()}
    rows = []
    for row, stack in _sorted(by_stack):
        frames = [f"{file}:{line}" for file, line in stack]
        rows.append({"location": " ← ".join(frames[:_SHOWN_FRAMES]), **row, "frames": frames})
    columns = (*_FIGURES, ("location", "stack, innermost first", "text"))
    documents.write(job, documents.table(job, columns, rows, _totals(found)))


def render_diff(job: RenderJob, path: Path, base: Path | None) -> None:
    """From the end of an earlier profile to the end of this one, by line."""
    assert base is not None
    earlier, later = documents.read(base, KIND), documents.read(path, KIND)
    compared: dict[Stack, list[int]] = {}
    for stack, row in _stacks(earlier).items():
        compared[stack] = [row[2], row[3], 0, 0]
    for stack, row in _stacks(later).items():
        known = compared.setdefault(stack, [0, 0, 0, 0])
        known[2:] = row[2:]
    notes = []
    if not (earlier["was_on"] and later["was_on"]):
        notes.append(
            "each profile knows only what was allocated while it recorded: the difference is "
            "between two such times, not between two states of the heap"
        )
    columns = (("location", "line", "text"), *_FIGURES)
    totals = {
        **_side(later["after"]),
        "count_delta": later["after"]["count"] - earlier["after"]["count"],
        "size_delta_bytes": later["after"]["size_bytes"] - earlier["after"]["size_bytes"],
    }
    rows = _rows(_by_line(compared))
    documents.write(job, documents.table(job, columns, rows, totals, notes))


def render_flamegraph(job: RenderJob, path: Path, _base: Path | None) -> None:
    """What is there at the end as a tree from the outermost frame: name, size, count, children."""
    found = documents.read(path, KIND)
    root: dict[str, Any] = {"name": "all", "size_bytes": 0, "count": 0, "children": {}}
    nodes = 0
    for stack, row in sorted(_stacks(found).items(), key=lambda item: -item[1][3]):
        node = root
        for file, line in reversed(stack):
            _add(node, row)
            name = f"{file}:{line}"
            if name not in node["children"]:
                if nodes >= _MAX_NODES:
                    break
                nodes += 1
                node["children"][name] = {
                    "name": name,
                    "size_bytes": 0,
                    "count": 0,
                    "children": {},
                }
            node = node["children"][name]
        _add(node, row)
    document = {
        "format": documents.FORMAT,
        "kind": KIND,
        "report": job.report,
        "root": _listed(root),
        "notes": job.notes,
    }
    documents.write(job, document)


def _add(node: dict[str, Any], row: list[int]) -> None:
    node["count"] += row[2]
    node["size_bytes"] += row[3]


def _listed(root: dict[str, Any]) -> dict[str, Any]:
    """The same tree with children as lists, the largest first; no recursion: stacks are deep."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        children = sorted(node["children"].values(), key=lambda child: -child["size_bytes"])
        node["children"] = children
        waiting.extend(children)
    return root


def _stacks(found: Mapping[str, Any]) -> dict[Stack, list[int]]:
    """Count and bytes before, count and bytes after, by stack."""
    files, table = found["files"], found["frame_table"]
    frames = [(str(files[file]), int(line)) for file, line in table]
    return {
        tuple(frames[number] for number in row[4]): [int(figure) for figure in row[:4]]
        for row in found["stacks"]
    }


def _by_line(stacks: Mapping[Stack, list[int]]) -> dict[tuple[str, int], _Figures]:
    found: dict[tuple[str, int], _Figures] = {}
    for stack, row in stacks.items():
        found.setdefault(stack[0] if stack else ("?", 0), _Figures()).add(row)
    return found


def _figures(row: list[int]) -> _Figures:
    figures = _Figures()
    figures.add(row)
    return figures


def _sorted(by_key: Mapping[Any, _Figures]) -> list[tuple[Row, Any]]:
    rows = [(figures.fields(), key) for key, figures in by_key.items()]
    rows.sort(key=lambda item: (-item[0]["size_delta_bytes"], -item[0]["size_bytes"], str(item[1])))
    return rows


def _rows(by_line: Mapping[tuple[str, int], _Figures]) -> list[Row]:
    return [
        {"location": f"{file}:{line}", **row, "file": file, "line": line}
        for row, (file, line) in _sorted(by_line)
    ]


def _totals(found: Mapping[str, Any]) -> Row:
    before, after = _side(found["before"]), _side(found["after"])
    return {
        **after,
        "count_delta": after["count"] - before["count"],
        "size_delta_bytes": after["size_bytes"] - before["size_bytes"],
    }


def _side(side: Mapping[str, Any]) -> dict[str, int]:
    return {"count": int(side["count"]), "size_bytes": int(side["size_bytes"])}


RENDERERS = {
    "lines.json": render_lines,
    "stacks.json": render_stacks,
    "diff.json": render_diff,
    "flamegraph.json": render_flamegraph,
}
