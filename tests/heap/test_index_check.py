import numpy as np
import pytest

from memwatch_heap.errors import IndexFileError
from memwatch_heap.index import HeapIndex, write_index
from memwatch_heap.index_file import open_arrays, write_arrays
from memwatch_heap.measures import measure
from memwatch_heap.testing import HeapBuilder


def holder_heap() -> HeapBuilder:
    """A map that holds three objects."""
    heap = HeapBuilder()
    holder = heap.node("object", "Map", size=32, held_by=heap.root)
    for number in range(3):
        heap.node("object", "Leak", size=8, held_by=holder, edge=("element", number))
    return heap


def ask_all(index: HeapIndex, question: str) -> None:
    """Asks the same of every object."""
    for row in index.largest().rows:
        getattr(index, question)(row.id)


def changed(tmp_path, name, values):
    """An index with one array replaced, under a right checksum."""
    graph = holder_heap().graph()
    file = tmp_path / "x.index"
    write_index(file, graph, measure(graph), snapshot="d")
    arrays, meta = open_arrays(file)
    if name in arrays:
        arrays[name] = values(arrays[name].copy())
    else:
        meta[name] = values(meta[name])
    write_arrays(file, arrays, meta)
    return file


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("node_id", lambda v: v[:-1], "entries, not"),
        ("sizes", lambda v: v.astype(np.float64), "no array of whole numbers 'sizes'"),
        ("text", lambda v: v.astype(np.uint32), "'text' is not of bytes"),
        ("root", lambda v: 10**9, "is no node"),
        ("class_keys", lambda v: {}, "lacks one of"),
        ("scopes", lambda v: v.astype(np.int64), "'scopes' is not of bytes"),
        ("statistics", lambda v: {"no": 1}, "makes no sense"),
    ],
)
def test_parts_that_do_not_fit_are_refused(tmp_path, name, values, said):
    """Lengths, kinds of numbers and the head are checked when an index is opened."""
    file = changed(tmp_path, name, values)
    with pytest.raises(IndexFileError, match=said):
        HeapIndex.open(file, snapshot="d")


@pytest.mark.parametrize("name", ["classes", "scopes", "duplicates"])
@pytest.mark.parametrize("text", [b'[{"no": 1}]', b"[[]]", b"[1]", b"7", b"[" * 100_000, b"\xff"])
def test_packed_rows_that_make_no_sense_are_told(tmp_path, name, text):
    """They are unpacked by the first who asks, and damage is told then; the rest still answers."""
    wild = changed(tmp_path, name, lambda v: np.frombuffer(text, np.uint8))
    index = HeapIndex.open(wild, snapshot="d")
    assert len(index.largest().rows) > 3
    with pytest.raises(IndexFileError, match="contradicts itself"):
        getattr(index, name)


@pytest.mark.parametrize(
    ("name", "ask"), [("dominator", "dominators"), ("path_edge", "path"), ("edge_to", "references")]
)
def test_numbers_that_lead_nowhere_are_told(tmp_path, name, ask):
    """A query over damaged numbers ends with the file's name: no circle, no crash."""
    wild = changed(tmp_path, name, lambda v: np.full_like(v, np.iinfo(v.dtype).max - 1))
    index = HeapIndex.open(wild, snapshot="d")
    with pytest.raises(IndexFileError, match="contradicts itself"):
        ask_all(index, ask)


def test_a_circle_of_dominators_ends(tmp_path):
    """A node that dominates itself is damage, not an endless walk."""
    index = HeapIndex.open(
        changed(
            tmp_path, "dominator", lambda v: np.roll(np.arange(len(v), dtype=v.dtype), 1)[::-1]
        ),
        snapshot="d",
    )
    with pytest.raises(IndexFileError, match="circle"):
        ask_all(index, "dominators")


def test_a_head_with_words_of_its_own_is_no_code(tmp_path):
    """Only kinds of plain numbers are taken from a head."""
    file = tmp_path / "x"
    write_arrays(file, {"a": np.zeros(3, np.complex128)}, {})
    with pytest.raises(IndexFileError, match="makes no sense"):
        open_arrays(file)
