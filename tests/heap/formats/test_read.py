import gzip
import io

import pytest
import zstandard

from memwatch_heap.errors import SnapshotError
from memwatch_heap.formats import peek, read
from memwatch_heap.testing import HeapBuilder

PACKERS = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor(level=1).compress,
}


def small() -> HeapBuilder:
    heap = HeapBuilder()
    users = heap.node("object", "Map", size=16, held_by=heap.root, edge=("shortcut", "users"))
    table = heap.node("array", "", size=64, held_by=users, edge=("internal", "table"))
    for n in range(3):
        heap.node("object", "User", size=24, held_by=table, edge=("element", n), location=(7, 3, n))
    heap.node("string", 'caf\u00e9 "\\ \n', size=12, held_by=users, edge=("property", "name"))
    return heap


def fails(data: bytes) -> str:
    with pytest.raises(SnapshotError) as caught:
        read(io.BytesIO(data), name="x")
    text = str(caught.value)
    assert text.startswith("cannot read heap snapshot x: ")
    return caught.value.problem


@pytest.mark.parametrize("packer", PACKERS)
def test_reads_what_it_is_packed_with(packer, tmp_path):
    """Plain, gzip and zstd files are told apart by their first bytes, whatever their name."""
    path = tmp_path / "a.bin"
    path.write_bytes(PACKERS[packer](small().text()))
    graph = read(path)
    assert (graph.node_count, graph.edge_count) == (7, 6)
    assert [graph.name_of(v) for v in range(3)] == ["", "Map", ""]
    assert graph.name_of(6) == 'caf\u00e9 "\\ \n'
    assert [graph.edge_label(e) for e in graph.edges_of(2)] == ["0", "1", "2"]
    assert graph.locations.of(4) == (7, 3, 1)
    assert graph.locations.of(6) is None


@pytest.mark.parametrize("newlines", [False, True])
def test_finds_fields_by_name(newlines):
    """The order of the fields and the newlines of V8's versions make no difference."""
    expected = small().graph()
    turned = small().text(
        node_fields=("id", "trace_node_id", "edge_count", "name", "type", "self_size"),
        edge_fields=("to_node", "type", "name_or_index"),
        newlines=newlines,
    )
    graph = read(io.BytesIO(turned))
    for column in ("node_type", "node_name", "node_id", "self_size", "first_edge", "edge_to"):
        assert (getattr(graph, column) == getattr(expected, column)).all()
    assert graph.trace_node is not None
    assert graph.detachedness is None


def test_every_cut_is_an_error():
    """A file cut at any byte is refused with the place, never read in part."""
    whole = small().text()
    for length in range(len(whole)):
        assert fails(whole[:length])


def test_widens_columns_that_need_it():
    """Ids beyond 32 bits and sizes beyond 4 GiB are kept exactly."""
    heap = small()
    heap.node("native", "big", size=1 << 40, node_id=(1 << 33) + 1, held_by=1)
    graph = heap.graph()
    assert graph.self_size[-1] == 1 << 40
    assert graph.node_id[-1] == (1 << 33) + 1
    assert list(graph.self_size[:3]) == [0, 16, 64]


@pytest.mark.parametrize("packer", PACKERS)
def test_peek_reads_the_header_alone(packer, tmp_path):
    """What a heap holds is known from its first bytes, even where the rest is missing."""
    path = tmp_path / "a.bin"
    data = small().text()
    path.write_bytes(PACKERS[packer](data[: data.index(b'"nodes"')]))
    header = peek(path)
    assert (header.node_count, header.edge_count) == (7, 6)
    assert header.memory_bytes > 100 << 20
    path.write_bytes(PACKERS[packer](b"{}"))
    with pytest.raises(SnapshotError, match="it has no 'snapshot'"):
        peek(path)
