"""Growth by class and by id, from ledgers that outlive their graphs."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch_heap.basis import find_basis
from memwatch_heap.formats import read
from memwatch_heap.growth import Growth, Names, make_ledger
from memwatch_heap.holders import find_holders
from memwatch_heap.prints import Prints
from memwatch_heap.testing import HeapBuilder
from tests.heap.modules import with_cache


def growth_of(graphs):
    names = Names()
    ledgers = []
    for graph in graphs:
        basis = find_basis(graph)
        holders = find_holders(graph, basis)
        ledgers.append(make_ledger(holders, basis.shallow, basis.retained, names))
    return Growth(tuple(ledgers), tuple(names.all()))


def reports(first, last):
    return range(10_001 + 2 * first, 10_001 + 2 * last, 2)


def test_classes_are_counted_by_id():
    """New, gone and survived add up to the counts, and sizes are those of each snapshot."""
    growth = growth_of([with_cache(reports(0, 30)), with_cache(reports(10, 60))])
    row = next(row for row in growth.classes() if row.name == "Report")
    assert (row.counts, row.new, row.gone, row.survived) == ((30, 50), 30, 10, 20)
    assert row.shallow_bytes == (30 * 40, 50 * 40)
    assert row.retained_bytes == (30 * 40, 50 * 40)


def test_a_survivor_that_holds_more_has_grown():
    """The Map is the same object, and retains what came."""
    growth = growth_of([with_cache(reports(0, 30)), with_cache(reports(0, 60))])
    row = next(row for row in growth.classes() if row.name == "Map")
    assert (row.survived, row.grown) == (1, 1)
    assert row.retained_bytes[1] - row.retained_bytes[0] == 30 * 40


def test_the_greatest_growth_stands_first():
    """Rows are in the order of retained bytes gained."""
    growth = growth_of([with_cache(reports(0, 30)), with_cache(reports(0, 60))])
    gains = [row.retained_bytes[-1] - row.retained_bytes[0] for row in growth.classes()]
    assert gains == sorted(gains, reverse=True)


@given(st.sets(st.integers(0, 60), min_size=1), st.sets(st.integers(0, 60), min_size=1))
def test_every_object_is_new_gone_or_survived(before, after):
    """For any two sets of ids the three counts are those of the sets."""
    graphs = []
    for numbers in (before, after):
        builder = HeapBuilder()
        box = builder.node("object", "Box", node_id=3, size=8, held_by=builder.root)
        for number in sorted(numbers):
            builder.node("object", "Thing", node_id=2 * number + 101, size=8, held_by=box)
        graphs.append(builder.graph())
    row = next(row for row in growth_of(graphs).classes() if row.name == "Thing")
    assert row.new == len(after - before)
    assert row.gone == len(before - after)
    assert row.survived == len(before & after)


def python_heap(values, addresses=None):
    """A Python heap: a list of objects that each hold one text of their own."""
    builder = HeapBuilder()
    builder.node("synthetic", "(modules)", node_id=2, held_by=builder.root, edge=("element", 1))
    edge = ("shortcut", "app")
    module = builder.node("object", "module", node_id=17, size=8, held_by=builder.root, edge=edge)
    edge = ("property", "rows")
    rows = builder.node("object", "list", node_id=19, size=8, held_by=module, edge=edge)
    marks = {}
    for place, value in enumerate(values):
        address = 101 + 2 * (addresses[place] if addresses else place)
        row = builder.node("object", "app.Row", node_id=address, size=48)
        builder.edge(rows, "element", place, row)
        text = builder.node(
            "string", "str", node_id=address + 1000, size=50, held_by=row, edge=("property", "text")
        )
        marks[text] = value
    for number, node in enumerate(builder.nodes):
        node["trace_node_id"] = marks.get(number, 0)
    fields = ("type", "name", "id", "self_size", "edge_count", "trace_node_id", "detachedness")
    return read(BytesIO(builder.text(node_fields=fields)), name="python")


def test_an_address_that_is_used_again_is_another_object():
    """Same address, same class, other values: the first object is gone."""
    growth = growth_of([python_heap(range(1, 31)), python_heap(range(101, 161))])
    row = next(row for row in growth.classes() if row.name == "app.Row")
    assert (row.new, row.gone, row.survived) == (60, 30, 0)


def test_an_object_with_its_values_lives_on():
    """Same address, same class, same values: it is the same object."""
    growth = growth_of([python_heap(range(1, 31)), python_heap(range(1, 61))])
    row = next(row for row in growth.classes() if row.name == "app.Row")
    assert (row.new, row.gone, row.survived) == (30, 0, 30)


@pytest.mark.parametrize(("mine", "theirs", "same"), [
    ((5, 0), (5, 0), True),
    ((5, 0), (6, 0), False),
    ((5, 7), (6, 7), True),
    ((5, 7), (6, 8), False),
    ((0, 0), (6, 8), True),
])  # fmt: skip
def test_prints_agree_where_texts_or_numbers_do(mine, theirs, same):
    """An object may change in one of the two; without values nothing speaks against it."""

    def one(pair):
        text, number = (np.array([value], np.uint32) for value in pair)
        return Prints(text, number, text, number)

    row = np.array([0])
    assert one(mine).agree(row, one(theirs), row).tolist() == [same]
