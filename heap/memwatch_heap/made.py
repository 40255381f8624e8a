"""Which lines of the program made some objects, where the snapshot says so."""

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from memwatch_heap.code_places import Place, is_engine_script
from memwatch_heap.graph import HeapGraph
from memwatch_heap.report import AllocationSite

_SITES = 3  # of a suspect: the reader goes to the first, and sees whether it is the only one
_CALLERS = 3  # of a site: enough to tell who asked for it
# Stacks that are looked at, those of most objects first: what comes later changes no answer.
_MAX_STACKS = 500
_INSTALLED = ("site-packages/", "dist-packages/", "node_modules/")


def made_at(graph: HeapGraph, nodes: NDArray[np.intp]) -> tuple[tuple[AllocationSite, ...], int]:
    """The lines that most of some nodes were made at, and of how many nodes it is known.

    Of a stack it is the innermost line of the program's own code; what is called on the way is
    the program's way of making them.
    """
    if graph.traces is None or graph.trace_node is None:
        return (), 0
    stacks, counts = np.unique(graph.trace_node[nodes], return_counts=True)
    counts, stacks = counts[stacks != 0], stacks[stacks != 0]
    totals: Counter[Place] = Counter()
    callers: dict[Place, tuple[str, ...]] = {}
    for row in np.argsort(-counts, kind="stable")[:_MAX_STACKS].tolist():
        frames = _frames(graph, int(stacks[row]))
        if not frames:
            continue
        at = _own(frames)
        place = _told(frames, at)
        totals[place] += int(counts[row])
        callers.setdefault(place, _short(frames[at + 1 :]))
    sites = tuple(
        AllocationSite(place.script, place.line, place.column, place.what, count, callers[place])
        for place, count in totals.most_common(_SITES)
    )
    return sites, int(counts.sum())


def _frames(graph: HeapGraph, node_id: int) -> list[Place]:
    """A stack's frames, the innermost first; what is in a frame is the function's name."""
    assert graph.traces is not None
    frames = []
    for row in graph.traces.stack(node_id):
        name, script, _, line, column = graph.traces.functions[row].tolist()
        texts = [graph.strings[at] if at < len(graph.strings) else "" for at in (name, script)]
        frames.append(Place(texts[1], line, column, texts[0]))
    return frames


def _own(frames: list[Place]) -> int:
    """Which frame is the program's own; else the first of no runtime, else the innermost."""
    outside = [n for n, frame in enumerate(frames) if not is_engine_script(frame.script)]
    own = [n for n in outside if not any(part in frames[n].script for part in _INSTALLED)]
    return (own or outside or [0])[0]


def _told(frames: list[Place], at: int) -> Place:
    """A frame in words: the function where it has a name, and what it called to make them."""
    frame, inner = frames[at], frames[0]
    unnamed = frame.what in ("", f"{frame.script.rpartition('/')[2]}:{frame.line}")
    words = [] if unnamed else [f"function {frame.what}"]
    if at:
        words.append(f"through {inner.what or inner}")
    return Place(frame.script, frame.line, frame.column, ", ".join(words))


def _short(frames: Iterable[Place]) -> tuple[str, ...]:
    """The next frames outwards, each once in a row."""
    texts = [str(frame) for frame in frames]
    kept = texts[:1] + [after for before, after in pairwise(texts) if after != before]
    return tuple(kept[:_CALLERS])
