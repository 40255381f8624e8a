"""Reports of kind `node-allocations`: what was allocated meanwhile and is still alive.

The artifact is the heap snapshot with which V8's allocation timeline ends; objects that were
allocated while it ran know the stack that allocated them.
"""

from pathlib import Path
from typing import Any

import numpy as np

from memwatch_controller.profiles.rendering import documents, stackreports
from memwatch_controller.profiles.rendering.documents import Row
from memwatch_controller.profiles.rendering.stacks import Frame, Tree
from memwatch_controller.profiles.reporting import RenderJob
from memwatch_heap.classes import classify
from memwatch_heap.errors import HeapError
from memwatch_heap.formats import read as read_heap
from memwatch_heap.graph import HeapGraph
from memwatch_heap.traces import AllocationTraces

#: Frames of a stack in one row.
_SHOWN_FRAMES = 12

_COLUMNS = (
    ("name", "class", "text"),
    ("count", "objects", "count"),
    ("size_bytes", "size", "bytes"),
    ("location", "allocated by, innermost first", "text"),
)


def read(path: Path) -> tuple[Tree, int]:
    """The tree of what is still alive.

    Raises:
        ValueError: it is no such snapshot.
    """
    graph, traces = _opened(path)
    return _tree(graph, traces), 1


def render_survivors(job: RenderJob, path: Path, _base: Path | None) -> None:
    """By class and stack, the most bytes first."""
    graph, traces = _opened(path)
    assert graph.trace_node is not None
    tree = _tree(graph, traces)
    place = {int(id_): node for node, id_ in enumerate(traces.node_id)}
    classes = classify(graph)
    nodes = np.flatnonzero(graph.trace_node)
    keys = classes.of[nodes].astype(np.uint64) << np.uint64(32) | graph.trace_node[nodes]
    unique, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    sizes = np.bincount(inverse, weights=graph.self_size[nodes], minlength=len(unique))
    rows = [
        _row(
            tree,
            place,
            classes.names[int(key) >> 32],
            int(key) & 0xFFFFFFFF,
            int(count),
            int(size),
        )
        for key, count, size in _heaviest(unique, counts, sizes, job.limit)
    ]
    totals = {"count": len(nodes), "size_bytes": int(graph.self_size[nodes].sum())}
    document = documents.table(job, _COLUMNS, rows, totals)
    document["row_count"] = len(unique)
    documents.write(job, document)


def _heaviest(keys: Any, counts: Any, sizes: Any, limit: int) -> list[tuple[Any, Any, Any]]:
    order = np.lexsort((keys, -sizes))[:limit]
    return [(keys[at], counts[at], sizes[at]) for at in order]


def _row(tree: Tree, place: dict[int, int], name: str, trace: int, count: int, size: int) -> Row:
    frames = [str(frame) for frame in tree.stack(place[trace])] if trace in place else []
    return {
        "name": name,
        "count": count,
        "size_bytes": size,
        "location": " ← ".join(frames[:_SHOWN_FRAMES]),
        "frames": frames,
    }


def _opened(path: Path) -> tuple[HeapGraph, AllocationTraces]:
    try:
        graph = read_heap(path, name="the artifact")
    except HeapError as error:
        raise ValueError(str(error)) from error
    if graph.traces is None or graph.trace_node is None:
        raise ValueError("the artifact has no allocation stacks: nothing was allocated meanwhile")
    return graph, graph.traces


def _tree(graph: HeapGraph, traces: AllocationTraces) -> Tree:
    """V8's own tree of stacks, with what the snapshot holds of each.

    V8's own sums are of the instant of writing: with what writing the snapshot itself allocated.
    """
    assert graph.trace_node is not None
    nodes = np.flatnonzero(graph.trace_node)
    ids, inverse, counts = np.unique(
        graph.trace_node[nodes], return_inverse=True, return_counts=True
    )
    sizes = np.bincount(inverse, weights=graph.self_size[nodes], minlength=len(ids))
    held = {
        id_: (int(size), count)
        for id_, size, count in zip(ids.tolist(), sizes.tolist(), counts.tolist(), strict=True)
    }
    frames = [_frame(graph, row) for row in traces.functions.tolist()]
    tree = Tree()
    columns = (traces.parent, traces.function, traces.node_id)
    for parent, function, id_ in zip(*(one.tolist() for one in columns), strict=True):
        tree.add(parent, frames[function], *held.get(id_, (0, 0)))
    return tree


def _frame(graph: HeapGraph, row: list[int]) -> Frame:
    name, file, _, line, column = row
    return Frame(graph.strings[name], graph.strings[file], line, column)


RENDERERS = {
    "survivors.json": render_survivors,
    **stackreports.renderers(read, "Allocated meanwhile and still alive"),
}
