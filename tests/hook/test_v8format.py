"""The `.heapsnapshot` writer: exact bytes for a small graph, stable ids, whole batches."""

import json

from memwatch_hook import v8format
from tests.hook.client import Heap


def node(part, kind, name, number, size, edges):
    part.types.append(kind)
    part.names.append(name)
    part.ids.append(number)
    part.sizes.append(size)
    part.edge_counts.append(len(edges))
    for edge_type, name_or_index, to in edges:
        part.labels.append(name_or_index << v8format.LABEL_SHIFT | edge_type)
        part.targets.append(to * v8format.NODE_WIDTH)


def written(parts, strings):
    pieces: list[bytes] = []
    v8format.write(parts, strings, pieces.append)
    return b"".join(pieces)


def test_a_small_graph_is_written_exactly():
    """Two parts become one list of nodes and one of edges, in order."""
    first, second = v8format.Nodes(), v8format.Nodes()
    node(first, v8format.SYNTHETIC, 0, 1, 0, [(v8format.ELEMENT, 0, 1)])
    node(second, v8format.OBJECT, 1, 65537, 64, [(v8format.PROPERTY, 2, 0)])
    file = json.loads(written([first, second], ["", "dict", 'quo"te\n']))
    assert file["nodes"] == [9, 0, 1, 0, 1, 0, 0, 3, 1, 65537, 64, 1, 0, 0]
    assert file["edges"] == [1, 0, 7, 2, 2, 0]
    assert file["strings"] == ["", "dict", 'quo"te\n']
    assert file["snapshot"]["node_count"] == 2
    assert file["snapshot"]["meta"]["node_fields"] == list(v8format.NODE_FIELDS)


def test_there_is_no_space_in_the_rows():
    """Readers of V8's files look for commas only."""
    part = v8format.Nodes()
    node(part, v8format.SYNTHETIC, 0, 1, 0, [(v8format.ELEMENT, 0, 0)])
    assert b'"nodes":[9,0,1,0,1,0,0],"edges":[1,0,0],' in written([part], [""])


def test_marks_of_values_are_written():
    """A part's marks stand beside its nodes, where V8 has the id of an allocation."""
    part = v8format.Nodes()
    node(part, v8format.STRING, 0, 1, 50, [])
    part.marks.append(4711)
    assert b'"nodes":[2,0,1,50,0,4711,0]' in written([part], [""])


def test_more_rows_than_a_batch_are_joined():
    """Batches meet without a lost or doubled comma."""
    part = v8format.Nodes()
    count = 2 * v8format.BATCH + 3
    for number in range(count):
        node(part, v8format.OBJECT, 0, number + 1, 16, [(v8format.ELEMENT, 0, number)])
    heap = Heap.parse(written([part], ["x"] + ["y"] * v8format.BATCH))
    assert len(heap.ids) == count
    assert heap.edges[-1] == [("element", 0, count - 1)]


def test_a_graph_is_written_in_pieces():
    """No piece holds the whole text."""
    part = v8format.Nodes()
    for number in range(10 * v8format.BATCH):
        node(part, v8format.OBJECT, 0, number + 1, 16, [])
    pieces: list[bytes] = []
    v8format.write([part], [""], pieces.append)
    assert max(map(len, pieces)) < sum(map(len, pieces)) / 9


def test_strings_are_numbered_once():
    """The same name has one number; the empty one is 0."""
    strings = v8format.Strings()
    assert [strings.index(name) for name in ("", "a", "b", "a")] == [0, 1, 2, 1]
    assert strings.table == ["", "a", "b"]


def test_chunks_keep_their_numbers():
    """What a child has numbered, the next child of the same process numbers alike."""
    parent, child, later = (v8format.ChunkNumbers() for _ in range(3))
    parent.bases({7})
    child.learn(parent.known())
    assert child.bases({3, 9, 7}) == {7: 1 << 16, 3: 2 << 16, 9: 3 << 16}
    parent.learn(child.known())
    later.learn(parent.known())
    assert later.bases({9, 3}) == {3: 2 << 16, 9: 3 << 16}
