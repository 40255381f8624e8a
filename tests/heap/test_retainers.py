from hypothesis import given, settings

from memwatch_heap.measures import measure
from memwatch_heap.retainers import first_edges, incoming, path, paths, retainers, source_of
from memwatch_heap.testing import HeapBuilder
from tests.heap.support import heaps


def cache_heap():
    """Root → global → cache (a Map) → table → report ← listener, and weak and engine's edges."""
    heap = HeapBuilder()
    page = heap.node("object", "global", size=8, held_by=0, edge=("shortcut", "global"))
    cache = heap.node("object", "Map", size=8, held_by=page, edge=("property", "cache"))
    table = heap.node("array", "", size=8, held_by=cache, edge=("internal", "table"))
    report = heap.node("object", "Report", size=8, held_by=table, edge=("element", 7))
    emitter = heap.node("closure", "onData", size=8, held_by=page, edge=("property", "on"))
    context = heap.node("object", "system / Context", held_by=emitter, edge=("internal", "context"))
    heap.edge(context, "context", "report", report)
    heap.edge(emitter, "weak", "seen", report)
    heap.edge(report, "property", "self", report)
    return heap.graph(), report


def test_lists_retainers_by_distance():
    """The nearest first; weak edges and the root only on demand; kinds are told apart."""
    graph, report = cache_heap()
    distance = measure(graph).distance
    into = incoming(graph, distance)
    found = [(r.kind, r.label, r.distance) for r in retainers(graph, distance, report, into)]
    assert found == [("element", "7", 3), ("context", "report", 3), ("property", "self", 4)]
    with_weak = list(retainers(graph, distance, report, into, weak=True))
    assert [r.is_weak for r in with_weak] == [False, False, False, True]
    table = next(retainers(graph, distance, report, into)).node
    assert [r.is_internal for r in retainers(graph, distance, table, into)] == [True]


def test_finds_the_shortest_ways():
    """One way per retainer, from the root's side down, never through the node itself."""
    graph, report = cache_heap()
    distance = measure(graph).distance
    ways = paths(graph, distance, first_edges(graph, distance), report)
    assert [[step.label for step in way] for way in ways] == [
        ["global", "cache", "table", "7"],
        ["global", "on", "context", "report"],
    ]
    assert all(way[-1].node == report for way in ways)


def test_no_half_a_way_is_told():
    """What is nearest over an edge to the root itself has no way, and not the end of one."""
    heap = HeapBuilder()
    near = heap.node("object", "Near", size=8, held_by=0, edge=("shortcut", "near"))
    far = heap.node("synthetic", "(Far)", held_by=0, edge=("property", "far"))
    beyond = heap.node("object", "Beyond", size=8, held_by=far, edge=("property", "beyond"))
    heap.edge(near, "property", "back", 0)
    graph = heap.graph()
    edges = first_edges(graph, measure(graph).distance)
    assert [len(path(graph, edges, v)) for v in (near, far, beyond)] == [1, 0, 0]


@settings(max_examples=100, deadline=None)
@given(heaps())
def test_ways_are_real_and_as_long_as_the_distance(heap):
    """Every step is an edge from the node before; a scan finds what the list of edges has."""
    graph = heap.graph()
    distance = measure(graph).distance
    edges = first_edges(graph, distance)
    into = incoming(graph, distance)
    for v in range(graph.node_count):
        listed = list(retainers(graph, distance, v, into, weak=True))
        scanned = list(retainers(graph, distance, v, weak=True))
        assert sorted(listed, key=lambda r: r.edge) == sorted(scanned, key=lambda r: r.edge)
        way = path(graph, edges, v)
        at = graph.root
        for step in way:
            assert source_of(graph.first_edge, step.edge) == at
            assert graph.edge_to[step.edge] == step.node
            at = step.node
        if way and distance[v] < 100_000_000:
            assert (at, len(way)) == (v, distance[v])
