from memwatch_heap.strings import duplicate_strings
from memwatch_heap.testing import HeapBuilder


def test_finds_texts_held_more_than_once():
    """The most wasteful first; single texts, empty sizes and other types do not count."""
    heap = HeapBuilder()
    for text, size, times in (("aa", 16, 3), ("bb", 40, 2), ("once", 99, 1), ("number", 0, 5)):
        for _ in range(times):
            heap.node("string", text, size=size, held_by=0)
    heap.node("object", "bb", size=80, held_by=0)
    graph = heap.graph()
    found = duplicate_strings(graph, graph.self_size.astype("int64"))
    assert [(d.text, d.count, d.bytes, d.wasted_bytes, d.nodes) for d in found] == [
        ("bb", 2, 80, 40, (4, 5)),
        ("aa", 3, 48, 32, (1, 2, 3)),
    ]


def test_tells_cut_texts_apart():
    """Two strings cut at 1,024 characters are one text only with the same size, length and hash."""
    heap = HeapBuilder()
    for size, length in ((5000, 4900), (5000, 4900), (5000, 4901), (6000, 4900)):
        node = heap.node("string", "x" * 1024, size=size, held_by=0)
        number = heap.node("number", "smi number", held_by=node, edge=("internal", "length"))
        heap.node("string", str(length), held_by=number, edge=("internal", "value"))
    graph = heap.graph()
    (found,) = duplicate_strings(graph, graph.self_size.astype("int64"))
    assert (found.count, found.nodes) == (2, (1, 4))
