import subprocess

import numpy as np
import pytest

from memwatch_heap import formats
from memwatch_heap.contexts import find_contexts
from memwatch_heap.measures import measure
from memwatch_heap.scopes import SlotState, find_scopes
from memwatch_heap.testing import HeapBuilder
from tests.support import runtimes

# `kept` is read by the closure that stays; `lost` only by one that was called and let go; nothing
# tells of `given`, a parameter; `waits` was never called, and so never compiled.
PROGRAM = """
const kept_closures = [];
function serve(given) {
  const lost = new Array(500).fill('x');
  const kept = {note: given};
  function once() { return lost.length; }
  once();
  const stay = () => kept.note + given;
  stay();
  kept_closures.push(stay);
}
function lazy(part) {
  let held = {part};
  return function waits() { return held; };
}
for (let n = 0; n < 20; n++) { serve('a' + n); kept_closures.push(lazy(n)); }
require('v8').writeHeapSnapshot(process.argv[2]);
"""


@pytest.fixture(scope="module", params=[runtimes.NODE_MAJORS[0], runtimes.NODE_MAJORS[-1]])
def heap(request, tmp_path_factory):
    node = runtimes.node(request.param) or pytest.skip(f"Node {request.param} is not installed")
    folder = tmp_path_factory.mktemp("scopes")
    (folder / "app.js").write_text(PROGRAM)
    subprocess.run([node, "app.js", "x.heapsnapshot"], cwd=folder, check=True, timeout=60)
    graph = formats.read(folder / "x.heapsnapshot")
    return graph, measure(graph)


def scope_of(rows, function):
    (row,) = (row for row in rows if row.function == function and row.script.endswith("app.js"))
    return row


def test_tells_what_closures_keep_alive(heap):
    """A scope has its contexts, the closures that share them, and what each variable retains."""
    row = scope_of(find_scopes(*heap), "serve")

    assert (row.contexts, row.line, row.running) == (20, 3, False)
    (sharer,) = row.sharers
    assert (sharer.closures, sharer.line) == (20, 8)
    slots = {slot.name: slot for slot in row.slots}
    assert slots["lost"].values == 20
    assert slots["lost"].value_class == "Array"
    assert 20 * 4000 <= slots["lost"].retained_bytes <= row.retained_bytes
    assert row.slots[0].name == "lost"
    graph, _ = heap
    assert graph.name_of(graph.node_of(row.samples[0])) == "system / Context"


def test_tells_what_nobody_reads_and_what_it_cannot_know(heap):
    """What no holder's code names is only called unread where that kind has to be named."""
    rows = find_scopes(*heap)
    slots = {slot.name: slot for slot in scope_of(rows, "serve").slots}

    assert slots["kept"].state is SlotState.READ
    assert slots["lost"].state is SlotState.UNREAD
    assert "'once'" in slots["lost"].why
    assert slots["given"].state is SlotState.UNKNOWN
    assert scope_of(rows, "serve").unread_bytes == slots["lost"].retained_bytes
    (held,) = scope_of(rows, "lazy").slots
    assert (held.state, held.why) == (SlotState.UNKNOWN, "'waits' is not compiled")


def context_heap(*, closures, names=("once",), prop=None, running=False):
    """One scope of `outer`: functions `stay` and `once` inside, closures of those named."""
    heap = HeapBuilder()
    page = heap.node("object", "global", held_by=0, edge=("shortcut", "global"))
    scope = heap.node("code", "system / ScopeInfo")
    context = heap.node("object", "system / Context", size=16)
    heap.edge(context, "internal", "scope_info", scope)
    value = heap.node("object", "Big", size=100, held_by=context, edge=("context", "big"))
    if prop:
        heap.edge(page, "property", prop, value)
    outer = heap.node("code", "outer", held_by=page)
    heap.edge(outer, "internal", "name_or_scope_info", scope)
    code = heap.node(
        "code", "system / BytecodeArray", held_by=outer, edge=("internal", "function_data")
    )
    for name in ("stay", "once"):
        inner = heap.node("code", name, held_by=code, edge=("hidden", 1))
        heap.node(
            "code", "system / ScopeInfo", held_by=inner, edge=("internal", "name_or_scope_info")
        )
        own = heap.node(
            "code", "system / BytecodeArray", held_by=inner, edge=("internal", "function_data")
        )
        if name in names:
            heap.node("string", "big", held_by=own, edge=("hidden", 0))
        if name in closures:
            closure = heap.node("closure", name, size=8, held_by=page, edge=("property", name))
            heap.edge(closure, "internal", "shared", inner)
            heap.edge(closure, "internal", "context", context)
    if running:
        heap.edge(page, "internal", "generator", context)
    return heap.graph()


@pytest.mark.parametrize(
    ("heap", "state"),
    [
        ({"closures": ["stay"]}, SlotState.UNREAD),
        ({"closures": ["stay"], "names": ()}, SlotState.UNKNOWN),
        ({"closures": ["stay"], "prop": "big"}, SlotState.UNKNOWN),
        ({"closures": ["stay"], "running": True}, SlotState.UNKNOWN),
        ({"closures": ["once"]}, SlotState.READ),
        ({"closures": ["once", "stay"], "names": ()}, SlotState.READ),
    ],
)
def test_calls_unread_only_what_is_shown_to_be(heap, state):
    """Each piece of evidence is needed; what all functions inside hold, one of them reads."""
    graph = context_heap(**heap)
    (row,) = find_scopes(graph, measure(graph))

    assert row.slots[0].state is state
    assert row.slots[0].retained_bytes == (0 if "prop" in heap else 100)


def test_counts_functions_of_inner_scopes():
    """A closure of a scope inside holds the contexts around its own, too."""
    heap = HeapBuilder()
    outer, inner = (heap.node("object", "system / Context", size=8) for _ in range(2))
    heap.edge(inner, "internal", "previous", outer)
    shared = heap.node("code", "deep")
    closure = heap.node("closure", "deep", size=8, held_by=0)
    heap.edge(closure, "internal", "shared", shared)
    heap.edge(closure, "internal", "context", inner)
    contexts = find_contexts(heap.graph())

    assert contexts is not None
    assert [contexts.holders_of(row) for row in range(2)] == [[shared], [shared]]
    assert contexts.closures_of(np.arange(2)) == {shared: 1}


def test_a_heap_without_contexts_has_no_scopes():
    """A Python heap, or one without names, gives an empty list."""
    graph = HeapBuilder().graph()

    assert find_scopes(graph, measure(graph)) == []
