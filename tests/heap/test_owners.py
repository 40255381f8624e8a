"""The kernels that turn dominators into owners agree with their plain twins on any graph."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memwatch_heap._kernels import owners as compiled
from memwatch_heap._kernels import paths as compiled_paths
from memwatch_heap._plain import owners as plain
from memwatch_heap._plain import paths as plain_paths

pytest.importorskip("numba", reason="the compiled kernels need numba")


@st.composite
def trees(draw):
    """A dominator tree (each node after its dominator), with marks and groups."""
    count = draw(st.integers(1, 30))
    idom = [0] + [draw(st.integers(0, node - 1)) for node in range(1, count)]
    bits = st.lists(st.integers(0, 1), min_size=count, max_size=count)
    groups = draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
    labels = draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
    chains = draw(st.lists(st.integers(0, 2), min_size=3, max_size=3))
    return (
        np.arange(count, dtype=np.uint32),
        np.array(idom, np.uint32),
        np.array(draw(bits), np.uint8),
        np.array(groups, np.uint32),
        np.array(chains, np.uint8),
        np.array(labels, np.uint32),
    )


@st.composite
def graphs(draw):
    """first_edge, edge_type, edge_name, to of a small graph."""
    count = draw(st.integers(1, 12))
    degrees = draw(st.lists(st.integers(0, 4), min_size=count, max_size=count))
    first = np.concatenate([[0], np.cumsum(degrees)]).astype(np.uint32)
    edges = int(first[-1])
    column = st.lists(st.integers(0, 2), min_size=edges, max_size=edges)
    to = draw(st.lists(st.integers(0, count - 1), min_size=edges, max_size=edges))
    return (
        first,
        np.array(draw(column), np.uint8),
        np.array(draw(column), np.uint32),
        np.array(to, np.uint32),
    )


@given(trees())
@settings(max_examples=150, deadline=None)
def test_owners_agree(tree):
    """Owners and links are the same, compiled and plain."""
    (owner, linked), (plain_owner, plain_linked) = compiled.owners(*tree), plain.owners(*tree)
    assert owner.tolist() == plain_owner.tolist()
    assert linked.tolist() == plain_linked.tolist()


@given(trees())
@settings(max_examples=100, deadline=None)
def test_sums_agree(tree):
    """Sums over the tree are the same, compiled and plain."""
    order, idom, stop, group, _, _ = tree
    weight = group.astype(np.float64)
    expected = plain.sums(order, idom, weight, stop)
    assert compiled.sums(order, idom, weight, stop).tolist() == expected.tolist()


@given(graphs(), st.lists(st.integers(0, 2), min_size=3, max_size=3), st.data())
@settings(max_examples=150, deadline=None)
def test_dominating_edges_agree(graph, rank, data):
    """The edge that names a node under its dominator is the same, compiled and plain."""
    first, kinds, _, to = graph
    nodes = st.lists(st.integers(0, len(first) - 2), min_size=len(first) - 1)
    idom = np.array(data.draw(nodes)[: len(first) - 1], np.uint32)
    arguments = (first, kinds, to, idom, np.array(rank, np.uint8))
    expected = plain.dominating_edges(*arguments)
    assert compiled.dominating_edges(*arguments).tolist() == expected.tolist()


@given(graphs(), st.lists(st.integers(0, 2), min_size=3, max_size=3), st.data())
@settings(max_examples=150, deadline=None)
def test_spreading_agrees(graph, passes, data):
    """The same nodes are reached, by the same edges, compiled and plain."""
    first, kinds, names, to = graph
    count = len(first) - 1
    enter = np.array(data.draw(st.lists(st.integers(0, 1), min_size=count, max_size=count)), "u1")
    sources = np.array(data.draw(st.lists(st.integers(0, count - 1), max_size=3)), np.uint32)
    states = []
    for run in (compiled_paths.spread, plain_paths.spread):
        seen, by = np.zeros(count, np.uint8), np.full(count, 0xFFFF_FFFF, np.uint32)
        passing = np.array(passes, np.uint8)
        reached = run(
            first, kinds, names, to, sources, passing, seen, by, enter, np.array([1], np.uint32)
        )
        states.append((reached, seen.tolist(), by.tolist()))
    assert states[0] == states[1]
