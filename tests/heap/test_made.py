"""Where a suspect's objects were made: exact counts by line, the program's own line first."""

import io

import numpy as np

from memwatch_heap.formats import read
from memwatch_heap.made import made_at
from memwatch_heap.testing import NODE_FIELDS, HeapBuilder

FUNCTIONS = ["function_id", "name", "script_name", "script_id", "line", "column"]
TREE = ["id", "function_info_index", "count", "size", "children"]
STRINGS = (
    "models.py:88", "/srv/models.py", "decoder.py:353", "/usr/lib/python3.11/json/decoder.py",
    "views.py:12", "/srv/views.py", "orm.py:7", "/srv/venv/lib/python3.11/site-packages/orm.py",
)  # fmt: skip


def heap(sites: list[int], tree: str, marks: str = ""):
    """A heap whose objects have those trace nodes; functions 1 to 4 are the lines above."""
    heap = HeapBuilder()
    for text in STRINGS:
        heap._string(text)
    for site in sites:
        node = heap.node("object", "Row", size=8, held_by=0, edge=("property", "rows"))
        heap.nodes[node]["trace_node_id"] = site
    at = {text: heap._string(text) for text in STRINGS}
    rows = ["0,0,0,0,0,0"]
    for name, file in zip(STRINGS[::2], STRINGS[1::2], strict=True):
        line = name.rpartition(":")[2]
        rows.append(f"{len(rows)},{at[name]},{at[file]},{at[file]},{line},0")
    heap.header = {"trace_function_count": len(rows)}
    data = heap.text(node_fields=(*NODE_FIELDS, "trace_node_id"))
    meta = f'"trace_function_info_fields": {FUNCTIONS}, "trace_node_fields": {TREE}, '
    data = data.replace(b'"node_fields"', meta.replace("'", '"').encode() + b'"node_fields"', 1)
    data = data.replace(
        b'"trace_function_infos":[]', b'"trace_function_infos":[%s]' % ",".join(rows).encode()
    )
    data = data.replace(b'"trace_tree":[]', f'"trace_tree":[{tree}]{marks}'.encode())
    return read(io.BytesIO(data))


def made(graph):
    sites, known = made_at(graph, np.arange(1, graph.node_count))
    return [(s.script, s.line, s.what, s.count, s.callers) for s in sites], known


def test_counts_are_exact_and_the_most_frequent_comes_first():
    """Lines by how many objects they made; those without a known line are counted out."""
    graph = heap([2, 2, 3, 0, 2], "1,0,0,0,[2,1,3,24,[],3,3,1,8,[]]")
    assert made(graph) == (
        [("/srv/models.py", 88, "", 3, ()), ("/srv/views.py", 12, "", 1, ())],
        4,
    )


def test_the_programs_own_line_is_named():
    """What the standard library and installed packages make is made where they were called."""
    # views -> models -> orm -> decoder; and decoder alone.
    tree = "1,0,0,0,[2,3,0,0,[3,1,0,0,[4,4,0,0,[5,2,2,16,[]]]],6,2,1,8,[]]"
    sites, known = made(heap([5, 5, 6], tree))
    assert known == 3
    assert sites == [
        ("/srv/models.py", 88, "through decoder.py:353", 2, ("views.py:12",)),
        ("/usr/lib/python3.11/json/decoder.py", 353, "", 1, ()),
    ]


def test_without_traces_nothing_is_said():
    """A snapshot without traces, whose field may hold marks, names no line."""
    assert made(heap([7, 7], "")) == ([], 0)


def test_marks_beside_traces_are_read():
    """Marks of values are there in a section of their own, one a node."""
    graph = heap([2, 0], "1,0,0,0,[2,1,1,8,[]]", ',"value_marks":[0,0,4000000000]')
    assert graph.value_marks is not None
    assert graph.value_marks.tolist() == [0, 0, 4000000000]
