"""Kernels, their plain twins and the definitions agree on graphs that hypothesis makes."""

import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from memwatch_heap._backend import kernels
from memwatch_heap.classes import class_rows
from memwatch_heap.diff import compare
from memwatch_heap.dominators import dominators, essential_edges
from memwatch_heap.errors import SnapshotError
from memwatch_heap.formats import read
from memwatch_heap.formats.states import ROW
from memwatch_heap.measures import measure
from memwatch_heap.retainers import first_edges, incoming
from memwatch_heap.statistics import statistics
from memwatch_heap.weakmaps import weak_map_names
from tests.heap.support import heaps, plain_twins


def everything(graph):
    found = measure(graph)
    columns = (found.sizes, found.dominator, found.retained, found.distance, found.detached)
    return (
        [column.tolist() for column in columns],
        [found.classes.names[c] for c in found.classes.of],
        found.classes.definitions,
        class_rows(graph, found),
        [
            column.tolist()
            for into in [incoming(graph, found.distance)]
            for column in (into.start, into.edges, first_edges(graph, found.distance))
        ],
        statistics(graph, found),
    )


@settings(max_examples=150, deadline=None)
@given(heaps())
def test_every_measure_is_the_twins(heap):
    """Sizes, dominators, retained sizes, distances, classes and statistics are the plain ones."""
    graph = heap.graph()
    fast = everything(graph)
    with plain_twins():
        assert everything(heap.graph()) == fast


@settings(max_examples=80, deadline=None)
@given(heaps(), heaps())
def test_comparisons_are_the_twins(before, after):
    """What is new and gone is what the plain twin says."""
    fast = compare(before.graph(), after.graph())
    with plain_twins():
        assert compare(before.graph(), after.graph()) == fast


@settings(max_examples=150, deadline=None)
@given(heaps())
def test_dominators_are_what_their_definition_says(heap):
    """U dominates v if v cannot be reached without u, from the root and all that nothing keeps."""
    graph = heap.graph()
    counts = essential_edges(graph, weak_map_names(graph))
    kept = {int(w) for w in graph.edge_to[counts != 0]}
    starts = [v for v in range(graph.node_count) if v not in kept or v == graph.root]

    def reach(without: int | None) -> set[int]:
        seen: set[int] = set()
        stack = [v for v in starts if v != without]
        while stack:
            v = stack.pop()
            if v not in seen:
                seen.add(v)
                stack += [
                    int(graph.edge_to[e])
                    for e in graph.edges_of(v)
                    if counts[e] and graph.edge_to[e] != without
                ]
        return seen

    tree = dominators(graph)
    by_node = dict(zip(tree.order.tolist(), tree.order[tree.dominator].tolist(), strict=True))
    everywhere = reach(None)
    cut = {u: everywhere - reach(u) - {u} for u in everywhere if u != graph.root}
    for v in everywhere - {graph.root}:
        strict = [u for u, lost in cut.items() if v in lost]
        nearest = max(strict, key=lambda u: sum(u in cut[x] for x in strict), default=graph.root)
        assert by_node[v] == nearest
    for v in set(range(graph.node_count)) - everywhere:
        assert by_node[v] == graph.root


@settings(max_examples=100, deadline=None)
@given(heaps())
def test_retained_sizes_add_up(heap):
    """A node retains its own size and what those retain that it dominates; the root all."""
    graph = heap.graph()
    found = measure(graph)
    expected = found.sizes.copy()
    for v in range(graph.node_count):
        if v != graph.root:
            np.add.at(expected, [found.dominator[v]], found.retained[v])
    assert (expected == found.retained).all()
    assert found.retained[graph.root] == graph.self_size.sum()


@settings(max_examples=300, deadline=None)
@given(
    heaps(max_nodes=5),
    st.lists(st.tuples(st.integers(0), st.binary(max_size=3), st.integers(0, 6)), max_size=4),
)
def test_damaged_files_are_read_alike(heap, wounds):
    """Whatever is done to a file, kernels and twins refuse it alike or read the same from it."""
    text = bytearray(heap.text())
    for place, new, gone in wounds:
        place %= len(text) + 1
        text[place : place + gone] = new

    def outcome():
        try:
            graph = read(io.BytesIO(bytes(text)), name="x")
        except SnapshotError as problem:
            return str(problem)
        columns = ("node_type", "node_name", "node_id", "self_size", "first_edge")
        edges = ("edge_type", "edge_name", "edge_to")
        return [getattr(graph, name).tolist() for name in columns + edges], graph.strings[0]

    fast = outcome()
    with plain_twins():
        assert outcome() == fast


ROWS = st.lists(
    st.lists(
        st.integers(0, 17).flatmap(lambda digits: st.integers(0, 10**digits)),
        min_size=6,
        max_size=6,
    ),
    max_size=12,
)
BETWEEN = st.sampled_from((",", ",", ",", ",", "\n,", " ,", ",\t", ";", ",,", "]", ".5,", "-"))


@settings(max_examples=300, deadline=None)
@given(ROWS, st.data(), st.sampled_from((",", "\n,")), st.integers(0, 9))
def test_rows_of_any_numbers_are_read_alike(rows, data, usual, cut):
    """Long and short numbers, usual and odd separators, cut anywhere: as the twin has them."""
    lines = [",".join(map(str, row)) for row in rows]
    odd = {place: data.draw(BETWEEN) for place in data.draw(st.sets(st.integers(0, 12)))}
    joined = "".join(line + odd.get(n, usual) for n, line in enumerate(lines)) + "]"
    text = joined.encode()[: max(0, len(joined) - cut)]
    buffer = np.frombuffer(bytearray(text + bytes(64)), np.uint8)

    def parsed(name, layout, *kinds):
        columns = [np.zeros(14, kind) for kind in kinds]
        state = np.zeros(8, np.int64)
        getattr(kernels("tokens"), name)(buffer, len(text), state, np.array(layout), *columns)
        return state.tolist(), [column[: state[ROW]].tolist() for column in columns]

    def all_parsed():
        wide, narrow, byte = np.uint64, np.uint32, np.uint8
        nodes = (byte, narrow, narrow, narrow, narrow, byte, narrow)
        return (
            parsed("parse_nodes", [6, 9, 0, 1, 2, 3, 4, 5, -1], *nodes),
            parsed("parse_nodes", [6, 9, 5, 1, 2, 3, 4, -1, 0], *nodes[:2], wide, wide, *nodes[4:]),
            parsed("parse_edges", [3, 9, 0, 1, 2, 3, 10**6], byte, narrow, narrow),
            parsed("parse_locations", [6, 0, 2, 3, 5, 7, 10**6], *[narrow] * 4),
        )

    fast = all_parsed()
    with plain_twins():
        assert all_parsed() == fast
