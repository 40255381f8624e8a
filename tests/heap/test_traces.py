import io

from memwatch_heap.formats import read
from memwatch_heap.testing import NODE_FIELDS, HeapBuilder
from tests.heap.support import plain_twins

FUNCTIONS = ["function_id", "name", "script_name", "script_id", "line", "column"]
TREE = ["id", "function_info_index", "count", "size", "children"]


def tracked() -> bytes:
    heap = HeapBuilder()
    heap.node("object", "Leak", size=8, held_by=0, edge=("property", "app.js"))
    heap.header = {"trace_function_count": 2}
    data = heap.text(node_fields=(*NODE_FIELDS, "trace_node_id"))
    meta = f'"trace_function_info_fields": {FUNCTIONS}, "trace_node_fields": {TREE}, '
    data = data.replace(b'"node_fields"', meta.replace("'", '"').encode() + b'"node_fields"')
    rows = b'"trace_function_infos":[0,0,0,0,0,0,7,1,2,5,10,3]'
    data = data.replace(b'"trace_function_infos":[]', rows)
    return data.replace(
        b'"trace_tree":[]', b'"trace_tree":[1,0,0,0,[2,1,3,24,[3,1,1,8,[]],4,0,0,0,[]]]'
    )


def test_reads_where_objects_were_allocated():
    """The nested tree becomes flat; a stack goes from the innermost function outwards."""
    for twin in (False, True):
        if twin:
            with plain_twins():
                traces = read(io.BytesIO(tracked())).traces
        else:
            traces = read(io.BytesIO(tracked())).traces
        assert traces is not None
        assert traces.node_id.tolist() == [1, 2, 3, 4]
        assert traces.parent.tolist() == [0, 0, 1, 0]
        assert traces.count.tolist() == [0, 3, 1, 0]
        assert traces.stack(3) == [1, 1]
        assert traces.functions[1].tolist() == [1, 2, 5, 10, 3]
        assert traces.stack(99) == []
