from memwatch_heap.diff import compare
from memwatch_heap.testing import HeapBuilder


def test_tells_new_and_gone_by_id():
    """An id on one side only is new or gone; on both sides it is neither, whatever its size."""
    before, after = HeapBuilder(), HeapBuilder()
    for heap, ids in ((before, (11, 13)), (after, (13, 15, 17))):
        for node_id in ids:
            size = 10 if heap is before else 20
            heap.node("object", "User", size=size, node_id=node_id, held_by=heap.root)
    (row,) = compare(before.graph(), after.graph())
    assert (row.name, row.count_before, row.count_after) == ("User", 2, 3)
    assert (row.new_count, row.new_bytes, row.gone_count, row.gone_bytes) == (2, 40, 1, 10)
    assert (row.count_delta, row.bytes_delta) == (1, 30)
