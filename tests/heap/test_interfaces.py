from memwatch_heap.classes import classify
from memwatch_heap.interfaces import Interface
from memwatch_heap.testing import HeapBuilder


def plain_objects(*shapes):
    heap = HeapBuilder()
    for n, names in enumerate(shapes):
        node = heap.node("object", "Object", size=8, held_by=0, edge=("property", f"p{n}"))
        for name in names:
            heap.edge(node, "property", name, 0)
    return heap


def names_of(heap, definitions=None):
    classes = classify(heap.graph(), definitions)
    return [classes.names[c] for c in classes.of[1:]]


def test_names_objects_by_the_properties_that_many_share():
    """A shape seen twice is a name; it fits all that have its properties, the largest first."""
    heap = plain_objects("ab", "ab", "abc", "abc", "bax", "c", "", ["__proto__", "a", "b"])
    assert names_of(heap) == [
        "{a, b}", "{a, b}", "{a, b, c}", "{a, b, c}", "{a, b}", "Object", "Object", "{a, b}",
    ]  # fmt: skip


def test_odd_names_are_quoted_and_long_ones_cut():
    """A name with a comma is quoted; properties stop before 120 characters."""
    odd = ["a,b", 'q"', "plain"]
    long = ["x" * 70, "y" * 60]
    heap = plain_objects(odd, odd, long, long)
    cut = "{" + "x" * 70 + "}"
    quoted = '{"a,b", "q\\"", plain}'
    assert names_of(heap) == [quoted, quoted, cut, cut]


def test_definitions_of_another_snapshot_can_be_applied():
    """For a comparison the older snapshot is named by the newer one's definitions."""
    heap = plain_objects("ab", "ab", "cd")
    definitions = [Interface("{c}", ("c",)), Interface("{twice}", ("a", "a"))]
    assert names_of(heap, definitions) == ["Object", "Object", "{c}"]
