from memwatch_heap.measures import measure
from memwatch_heap.retained import dominated, shallow_sizes
from memwatch_heap.testing import HeapBuilder


def test_private_arrays_count_at_their_only_owner():
    """A Map's table counts at the Map; an array of two owners, or of the engine's, stays."""
    heap = HeapBuilder()
    a = heap.node("object", "Map", size=10, held_by=0, edge=("shortcut", "a"))
    b = heap.node("object", "Map", size=20, held_by=0, edge=("shortcut", "b"))
    table = heap.node("array", "", size=100, held_by=a)
    heap.node("hidden", "system / Part", size=7, held_by=table)
    shared = heap.node("array", "", size=1000, held_by=a)
    heap.edge(b, "internal", "shared", shared)
    roots = heap.node("synthetic", "(GC roots)", held_by=0, edge=("element", 1))
    heap.node("array", "", size=5000, held_by=roots)
    sizes = shallow_sizes(heap.graph()).tolist()
    assert sizes == [0, 117, 20, 0, 0, 1000, 0, 5000]


def test_nothing_moves_without_user_roots():
    """A snapshot of the engine itself is shown as it is."""
    heap = HeapBuilder()
    roots = heap.node("synthetic", "(GC roots)", held_by=0, edge=("element", 1))
    owner = heap.node("object", "Map", size=10, held_by=roots)
    heap.node("array", "", size=100, held_by=owner)
    assert shallow_sizes(heap.graph()).tolist() == [0, 0, 10, 100]


def test_the_tree_downwards():
    """What a node dominates at once is listed in the order of the nodes."""
    heap = HeapBuilder()
    a = heap.node("object", "A", size=1, held_by=0, edge=("shortcut", "a"))
    b = heap.node("object", "B", size=2, held_by=a)
    c = heap.node("object", "C", size=4, held_by=a)
    d = heap.node("object", "D", size=8, held_by=b)
    heap.edge(c, "property", "d", d)
    graph = heap.graph()
    found = measure(graph)
    assert found.retained.tolist() == [15, 15, 2, 4, 8]
    start, children = dominated(found.dominator, graph.root)
    assert children[start[a] : start[a + 1]].tolist() == [b, c, d]


def test_a_weak_map_value_hangs_on_its_key():
    """Freeing the key frees the value, although the table refers to it too."""
    heap = HeapBuilder()
    page = heap.node("object", "page", size=1, held_by=0, edge=("shortcut", "page"))
    table = heap.node("array", "", size=2, node_id=77, held_by=page)
    key = heap.node("object", "Key", size=4, node_id=79, held_by=page)
    value = heap.node("object", "Value", size=8, node_id=81)
    pair = "part of key (Key @79) -> value (Value @81) pair in WeakMap (table @77)"
    heap.edge(table, "internal", f"1 / {pair}", value)
    heap.edge(key, "internal", f"2 / {pair}", value)
    found = measure(heap.graph())
    assert found.dominator[value] == key
    assert found.retained[key] == 12
    assert found.distance[value] == 3
