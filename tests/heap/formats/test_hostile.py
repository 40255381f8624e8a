"""Files that lie: a clear error or the right answer, in bounded memory and time."""

import gzip
import io
import json
import tracemalloc

import pytest
import zstandard

from memwatch_heap.errors import SnapshotError
from memwatch_heap.formats import read
from memwatch_heap.testing import HeapBuilder


def heap_of(count: int = 3) -> HeapBuilder:
    heap = HeapBuilder()
    for n in range(count):
        heap.node("object", f"class {n}", size=8, held_by=0, edge=("property", f"p{n}"))
    return heap


def problem_of(data: bytes, **more) -> str:
    with pytest.raises(SnapshotError) as caught:
        read(io.BytesIO(data), name="x", **more)
    assert str(caught.value) == f"cannot read heap snapshot x: {caught.value.problem}"
    return caught.value.problem


def with_header(**changed) -> bytes:
    heap = heap_of()
    heap.header = changed
    return heap.text()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it is empty"),
        (b" \n ", "it is empty"),
        (b"[1]", "'{' expected"),
        (b"MZ\x90\x00", "'{' expected"),
        (b"{}", "it has no 'snapshot', 'nodes', 'edges', 'strings'"),
        (b'{"nodes":[]}', "'nodes' stands before 'snapshot'"),
        (b'{"snapshot":[}', "header is no JSON"),
        (b'{"snapshot":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "header is no JSON"),
        (b'{"snapshot":{"x":"' + b"y" * (2 << 20) + b'"}}', "header is longer than a megabyte"),
        (b'{"snapshot":{}}', "no 'meta'"),
        (b'{"snapshot":{"meta":{}}}', "no list of names 'node_fields'"),
        (b'{"snapshot":{"meta":{"node_fields":["type"]}}}', "'node_fields' lacks 'name', 'id'"),
        (with_header(node_count=5), "'nodes' has 4 rows, 5 promised, at byte"),
        (with_header(node_count=3), "'nodes' has more rows than the 3 promised"),
        (with_header(edge_count=9), "'edges' has 3 rows, 9 promised"),
        (with_header(edge_count=0), "'edges' has more rows than the 0 promised"),
        (with_header(node_count=-1), "no number 'node_count'"),
        (with_header(node_count="4"), "no number 'node_count'"),
        (with_header(node_count=10**15), "'node_count' is 1000000000000000, at most"),
        (with_header(node_count=4_000_000_000), "'nodes' has 4 rows, 4000000000 promised"),
        (with_header(root_index=5), "'root_index' 5 is no node"),
        (with_header(root_index=6000), "'root_index' 6000 is no node"),
    ],
)
def test_says_what_is_wrong_and_where(data, said):
    """Each lie is named, with the row or byte where there is one."""
    assert said in problem_of(data)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ((b'"nodes":[9', b'"nodes":[99'), "'type' is out of range in row 0 of 'nodes'"),
        ((b'"nodes":[9', b'"nodes":[-9'), "no number at '-' in row 0 of 'nodes'"),
        ((b'"nodes":[9', b'"nodes":[9.5'), "no number at '.' in row 0 of 'nodes'"),
        ((b'"nodes":[9', b'"nodes":[9e1'), "no number at 'e' in row 0 of 'nodes'"),
        ((b'"nodes":[9', b'"nodes":[null'), "no number at 'n' in row 0 of 'nodes'"),
        ((b'"nodes":[9', b'"nodes":[[9]'), "no number at '[' in row 0 of 'nodes'"),
        ((b'"nodes":[9,0,1', b'"nodes":[9,0,' + b"9" * 40), "no number at '9' in row 0"),
        ((b'"nodes":[9,0,1', b'"nodes":[9,0,3'), "id 3 occurs twice, at node 1"),
        ((b'"nodes":[9,0,', b'"nodes":[9,77,'), "named by string 77 of 7"),
        ((b'"edges":[2,4,6', b'"edges":[2,4,7'), "'to_node' is out of range in row 0 of 'edges'"),
        ((b'"edges":[2,4,6', b'"edges":[2,4,24'), "'to_node' is out of range in row 0"),
        ((b'"edges":[2,4,6', b'"edges":[7,4,6'), "'type' is out of range in row 0"),
        ((b'"edges":[2,4,6', b'"edges":[2,99,6'), "an edge is named by string 99 of 7"),
        ((b'"edges":[2,4,6', b'"edges":[2,5000000000,6'), "'name_or_index' is out of range"),
        ((b'"nodes":[9,0,1,0,3', b'"nodes":[9,0,1,0,2'), "nodes have 2 edges, it holds 3"),
        ((b'"nodes":[9,0,1,0,3', b'"nodes":[9,0,1,0,9000000000'), "'edge_count' is out of range"),
        ((b'"locations":[', b'"locations":[1'), "no number at ']'"),
        (
            (b'"locations":[', b'"locations":[600,1,1,1'),
            "'object_index' is out of range in row 0 of 'locations'",
        ),
        ((b'"strings":["",', b'"strings":["",,'), "no string in row 1 of 'strings'"),
        ((b'"strings":["",', b'"strings":["" '), "no string in row 1 of 'strings'"),
        ((b'"strings":["",', b'"strings":[1,"",'), "no string in row 0 of 'strings'"),
        ((b'"edges":', b'"nodes":'), "'nodes' stands twice"),
    ],
)
def test_names_the_damaged_row(change, said):
    """One changed number or mark is found, and the row and field are named."""
    data = heap_of().text()
    assert change[0] in data
    assert said in problem_of(data.replace(change[0], change[1], 1))


def test_a_heap_without_nodes_is_refused():
    """No nodes means no root to start from."""
    data = heap_of().text()
    head, rest = data.split(b'"nodes":', 1)
    head = head.replace(b'"node_count": 4', b'"node_count": 0').replace(
        b'"edge_count": 3', b'"edge_count": 0'
    )
    tail = rest[rest.index(b'"trace_function_infos"') :]
    assert problem_of(head + b'"nodes":[],"edges":[],' + tail) == "'root_index' 0 is no node"


def test_reads_text_that_is_no_text():
    """Broken UTF-8 and half surrogate pairs (V8 cuts strings there) become U+FFFD, not errors."""
    data = heap_of().text()
    data = data.replace(b'"class 0"', b'"a\xff\xfeb"').replace(b'"class 1"', rb'"cut \ud83d"')
    data = data.replace(b'"class 2"', rb'"\ud83d\ude00 \u00e9 \q"')
    graph = read(io.BytesIO(data))
    assert [graph.name_of(v) for v in (1, 2)] == ["a\ufffd\ufffdb", "cut \ufffd"]
    assert graph.name_of(3).endswith(r"\q")
    for v in range(4):
        graph.name_of(v).encode()


def test_deep_nesting_is_counted_not_recursed_into():
    """A million brackets in a section that nobody reads, or in the tree of traces, do no harm."""
    data = heap_of().text()
    deep = b"[" * 1_000_000 + b"]" * 1_000_000
    graph = read(io.BytesIO(data.replace(b'"samples":[]', b'"samples":' + deep)))
    assert graph.node_count == 4
    tree = data.replace(b'"trace_tree":[]', b'"trace_tree":' + deep)
    assert read(io.BytesIO(tree)).traces is None


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress])
@pytest.mark.parametrize(
    "filling", [b" ", b"0,", b'"x":{},', b"\\"], ids=["blanks", "numbers", "keys", "string"]
)
def test_bombs_stop_early(pack, filling):
    """What unpacks to a hundred times its size is refused while it is still small in memory."""
    data = heap_of().text()
    places = {b" ": b'"nodes":', b"0,": b'"samples":[', b"\\": b'"strings":["'}
    place = places.get(filling, b'{"snapshot":')
    if place == b'{"snapshot":':
        bomb = b"{" + filling * ((96 << 20) // len(filling)) + data[1:]
    else:
        bomb = data.replace(place, place + filling * ((96 << 20) // len(filling)), 1)
    packed = pack(bomb)
    del bomb
    tracemalloc.start()
    try:
        problem = problem_of(packed)
        assert "more than 100 times as many" in problem or "more than 100 sections" in problem
        assert tracemalloc.get_traced_memory()[1] < 200 << 20
    finally:
        tracemalloc.stop()


def test_promises_cost_nothing():
    """A tiny packed file that promises four billion nodes does not get memory for them."""
    data = gzip.compress(with_header(node_count=4_000_000_000, edge_count=4_000_000_000))
    tracemalloc.start()
    try:
        assert "4000000000 promised" in problem_of(data)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_cut_and_damaged_packings_are_errors(pack):
    """A packed file that is cut or flipped is refused, never read in part."""
    packed = pack(heap_of(50).text())
    for length in range(4, len(packed), 7):
        assert problem_of(packed[:length])
    for place in range(4, len(packed), 11):
        flipped = bytearray(packed)
        flipped[place] ^= 0xFF
        try:
            assert read(io.BytesIO(bytes(flipped))).node_count == 51
        except SnapshotError:
            continue


def test_refuses_what_is_longer_than_allowed():
    """The caller's own limit counts unpacked bytes."""
    data = heap_of().text()
    assert read(io.BytesIO(data), max_bytes=len(data)).node_count == 4
    packed = gzip.compress(data)
    assert "more than 100 bytes unpacked" in problem_of(packed, max_bytes=100)


def test_refuses_more_strings_than_names():
    """A string table that nothing could name in full is refused before it fills the memory."""
    strings = b'"strings":[' + b",".join([b'""'] * 200_000)
    data = heap_of().text().replace(b'"strings":[""', strings)
    assert "nothing to name so many" in problem_of(data)


def test_files_that_cannot_be_opened(tmp_path):
    """A missing file and a folder are errors of the same kind."""
    with pytest.raises(SnapshotError, match=r"cannot read heap snapshot a.b: No such file"):
        read(tmp_path / "a.b")
    with pytest.raises(SnapshotError, match="it is a folder"):
        read(tmp_path)


def test_header_may_stand_anywhere_before_the_nodes():
    """Sections that come in another order, or that nobody knows, are read or stepped over."""
    value = json.loads(heap_of().text())
    turned = {"unknown": {"a": [1, {"b": "]}"}]}, "strings": value.pop("strings"), **value}
    assert read(io.BytesIO(json.dumps(turned, indent=1).encode())).name_of(1) == "class 0"
