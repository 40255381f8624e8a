import numpy as np
import pytest
from hypothesis import given, settings

from memwatch_heap.classes import class_rows
from memwatch_heap.distances import UNREACHED
from memwatch_heap.errors import IndexFileError, UnknownNodeError
from memwatch_heap.index import MAX_PAGE, HeapIndex, write_index
from memwatch_heap.index_file import VERSION, verify
from memwatch_heap.measures import measure
from memwatch_heap.retainers import first_edges, incoming, path, retainers
from memwatch_heap.scopes import find_scopes
from memwatch_heap.testing import HeapBuilder
from tests.heap.support import heaps


def holder_heap(children: int):
    heap = HeapBuilder("shop")
    page = heap.node("object", "global", size=8, held_by=0, edge=("shortcut", "global"))
    holder = heap.node("object", "Cache", size=8, held_by=page, edge=("property", "cache"))
    for n in range(children):
        heap.node("object", "Item", size=n + 1, held_by=holder, edge=("element", n))
    return heap


def written(folder, heap, **more):
    graph = heap.graph()
    measures = measure(graph)
    file = folder / "x.index"
    write_index(file, graph, measures, **more)
    return file, graph, measures


def test_answers_what_a_view_asks(tmp_path):
    """Classes, objects, retainers, ways, dominators and children come from the file alone."""
    file, graph, measures = written(tmp_path, holder_heap(5), snapshot="sha256:1")
    index = HeapIndex.open(file, snapshot="sha256:1")
    assert index.classes == class_rows(graph, measures)
    assert [row.shallow_bytes for row in index.objects(",Item").rows] == [5, 4, 3, 2, 1]
    page = index.objects(",Item", offset=1, limit=2)
    assert ([row.shallow_bytes for row in page.rows], page.offset, page.total) == ([4, 3], 1, 5)
    item = page.rows[0].id
    (retainer,) = index.retainers(item).rows
    assert (retainer.kind, retainer.label, retainer.node.name) == ("element", "3", "Cache")
    assert [step.label for step in index.path(item)] == ["global", "cache", "3"]
    assert [row.name for row in index.dominators(item)] == ["Cache", "global", ""]
    assert [row.shallow_bytes for row in index.dominated(retainer.node.id, 0, 2).rows] == [5, 4]
    assert [edge.label for edge in index.references(retainer.node.id, 3).rows] == ["3", "4"]
    assert index.largest(limit=2).rows[1].name == "global"
    assert index.largest(limit=1, by_shallow=True).rows[0].shallow_bytes == 8
    assert (index.node_count, index.root, index.name) == (8, 1, "shop")
    assert [row.name for row in index.named("ACHE").rows] == ["Cache"]
    assert (index.named("item", 1, 2).total, index.named('"').total) == (5, 0)


def test_ignores_retainers_on_demand(tmp_path):
    """As if the ignored held nothing: the next way, its distance, and the others in that order."""
    heap = holder_heap(2)
    item, cache = 3, 2
    far = heap.node("object", "Log", size=8, held_by=1, edge=("property", "log"))
    entry = heap.node("object", "Entry", size=8, held_by=far, edge=("element", 0))
    heap.edge(entry, "property", "item", item)
    file, graph, _ = written(tmp_path, heap)
    index = HeapIndex.open(file)
    ids = [int(graph.node_id[node]) for node in range(graph.node_count)]
    both = index.retainers(ids[item])
    assert [(row.node.name, row.node.distance) for row in both.rows] == [("Cache", 2), ("Entry", 3)]
    rest = index.retainers(ids[item], ignored=[ids[cache]])
    assert [(row.node.name, row.label) for row in rest.rows] == [("Entry", "item")]
    assert [step.label for step in index.path(ids[item], ignored=[ids[cache]])][1:] == [
        "log", "0", "item",
    ]  # fmt: skip
    alone = index.retainers(ids[item], ignored=[ids[far]])
    assert [row.node.distance for row in alone.rows] == [2, UNREACHED]
    assert index.path(ids[item], ignored=[ids[cache], ids[entry]]) == []
    with pytest.raises(UnknownNodeError):
        index.retainers(ids[item], ignored=[10**6])


def test_keeps_what_the_heap_says_of_strings_and_scopes(tmp_path):
    """Duplicate strings and closures' contexts come from the file as they were found."""
    heap = holder_heap(1)
    for _ in range(5):
        heap.node("string", "again", size=10, held_by=1)
    heap.node("object", "system / Context", size=8, held_by=1)
    file, graph, measures = written(tmp_path, heap)
    index = HeapIndex.open(file)
    (text,) = index.duplicates
    assert (text.text, text.count, text.wasted_bytes, len(text.nodes)) == ("again", 5, 40, 3)
    assert index.scopes == find_scopes(graph, measures)
    assert index.scopes[0].contexts == 1


def test_pages_are_bounded(tmp_path):
    """No page is longer than the limit, and none reaches beyond its own list."""
    file, _, _ = written(tmp_path, holder_heap(MAX_PAGE + 50))
    index = HeapIndex.open(file)
    assert len(index.objects(",Item", 0, 10**9).rows) == MAX_PAGE
    assert len(index.objects(",Item", MAX_PAGE, 10**9).rows) == 50
    assert index.objects(",Item", 10**9, 5).rows == ()
    assert index.objects("no such class").total == 0


def test_says_that_an_id_is_unknown(tmp_path):
    """An id that the heap does not have is an error of its own, whatever number it is."""
    index = HeapIndex.open(written(tmp_path, holder_heap(1))[0])
    for node_id in (0, 4, 10**30, -1):
        with pytest.raises(UnknownNodeError, match="no such id"):
            index.node(node_id)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: b"", "empty"),
        (lambda data: data[:20], "20 bytes"),
        (lambda data: data[:-1], "bytes of"),
        (lambda data: b"X" + data[1:], "no heap index"),
        (lambda data: data[:8] + bytes([VERSION + 1]) + data[9:], "version"),
        (lambda data: data[:60] + b"\0" + data[61:], "head is damaged"),
    ],
)
def test_refuses_a_damaged_file(tmp_path, damage, said):
    """A file that is cut, foreign, of another version or damaged is refused with the reason."""
    file, _, _ = written(tmp_path, holder_heap(3))
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(IndexFileError, match=said):
        HeapIndex.open(file)


def test_verify_finds_damaged_arrays(tmp_path):
    """One flipped bit anywhere in the arrays is found by a full check."""
    file, _, _ = written(tmp_path, holder_heap(3))
    verify(file)
    data = bytearray(file.read_bytes())
    data[-64] ^= 1
    file.write_bytes(data)
    with pytest.raises(IndexFileError, match="damaged"):
        verify(file)


def test_belongs_to_one_snapshot(tmp_path):
    """An index is not opened for another snapshot, and a missing file says so."""
    file, _, _ = written(tmp_path, holder_heap(3), snapshot="one")
    with pytest.raises(IndexFileError, match="another snapshot"):
        HeapIndex.open(file, snapshot="two")
    with pytest.raises(IndexFileError, match="No such file"):
        HeapIndex.open(tmp_path / "missing")


def test_leaves_nothing_behind_when_it_fails(tmp_path):
    """A failed write leaves neither half an index nor a temporary file."""
    graph = holder_heap(3).graph()
    measures = measure(graph)
    (tmp_path / "x.index").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_index(tmp_path / "x.index", graph, measures)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.index"]


@settings(max_examples=40, deadline=None)
@given(heap=heaps())
def test_agrees_with_the_heap_in_memory(heap, tmp_path_factory):
    """Every query gives what the graph and its measures say."""
    file, graph, measures = written(tmp_path_factory.mktemp("index"), heap)
    index = HeapIndex.open(file)
    into, edges = incoming(graph, measures.distance), first_edges(graph, measures.distance)
    for v in range(graph.node_count):
        node_id = int(graph.node_id[v])
        row = index.node(node_id)
        assert (row.shallow_bytes, row.retained_bytes) == (measures.sizes[v], measures.retained[v])
        assert row.class_name == measures.classes.names[measures.classes.of[v]]
        held = [(r.kind, r.label, r.distance) for r in retainers(graph, measures.distance, v, into)]
        assert [(r.kind, r.label, r.node.distance) for r in index.retainers(node_id).rows] == held
        assert [step.label for step in index.path(node_id)] == [
            step.label for step in path(graph, edges, v)
        ]
        children = {int(graph.node_id[w]) for w in np.flatnonzero(measures.dominator == v)}
        assert {child.id for child in index.dominated(node_id).rows} == children - {index.root}
