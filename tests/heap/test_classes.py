from memwatch_heap.classes import class_rows
from memwatch_heap.testing import HeapBuilder


def test_counts_objects_by_class():
    """Objects of one name and place are one row; two places make two rows."""
    heap = HeapBuilder()
    for line in (1, 1, 2):
        heap.node("object", "User", size=24, held_by=heap.root, location=(5, line, 0))
    heap.node("closure", "onClick", size=64, held_by=heap.root)
    heap.node("native", '<div id="a">', size=8, held_by=heap.root)
    heap.node("native", "Node", size=8, held_by=heap.root, detachedness=2)
    heap.node("string", "empty", held_by=heap.root)
    rows = {row.key: (row.name, row.count, row.shallow_bytes) for row in class_rows(heap.graph())}
    assert rows == {
        "5,1,0,User": ("User", 2, 48),
        "5,2,0,User": ("User", 1, 24),
        ",Function": ("Function", 1, 64),
        ",<div>": ("<div>", 1, 8),
        ",Detached Node": ("Detached Node", 1, 8),
    }
