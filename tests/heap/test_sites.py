"""Where objects pile up: spread out, in two containers, in chains, as parts of others."""

from memwatch_heap.verdict import explain
from tests.heap.modules import Module


def explained(build, counts=(40, 80)):
    """The suspects of heaps built for growing counts."""
    return explain([build(count) for count in counts]).suspects


def ids(count, start=10_001):
    return range(start, start + 2 * count, 2)


def test_many_small_containers_are_one_spread_out():
    """Objects in forty Maps of a Map are put down to the outer one."""

    def build(count):
        module = Module()
        tenants = module.variable("tenants", "Map", 1003)
        table = module.table(tenants, 1001)
        inner = []
        for number in range(40):
            edge = ("internal", str(number))
            node_id = 3001 + 2 * number
            inner.append(module.node("object", "Map", node_id=node_id, held_by=table, edge=edge))
        tables = [module.table(one, 5001 + 2 * number) for number, one in enumerate(inner)]
        for number, node_id in enumerate(ids(count)):
            module.fill(tables[number % 40], range(node_id, node_id + 1), "Row")
        return module.graph()

    (suspect,) = explained(build, (80, 200))
    assert suspect.path == "app.js: tenants (Map) → Map → Row"
    assert (suspect.new_count, suspect.counts) == (120, (80, 200))


def tenants(members, count):
    """A Map of tenants, each with an inbox that has a Map, `count` mails over all of them."""
    module = Module()
    table = module.table(module.variable("tenants", "Map", 1003), 1001)
    stores = []
    for number in range(members):
        node_id, above = 100_001 + 20 * number, table
        names = (("internal", str(number)), ("property", "inbox"), ("property", "items"))
        for edge, kind in zip(names, ("Tenant", "Inbox", "Map"), strict=True):
            above = module.node("object", kind, node_id=node_id, held_by=above, edge=edge)
            node_id += 2
        stores.append(module.table(above, node_id))
    for number, node_id in enumerate(ids(count)):
        module.fill(stores[number % members], range(node_id, node_id + 1), "Mail")
    return module.graph()


def test_containers_deep_inside_alike_objects_are_one_spread_out():
    """What each tenant's inbox collects is put down to the tenants, although none is alone."""
    (suspect,) = explained(lambda count: tenants(30, count), (60, 150))
    assert suspect.path == "app.js: tenants (Map) → Tenant → Inbox → Map → Mail"
    assert (suspect.new_count, suspect.counts) == (90, (60, 150))


def test_a_field_that_each_was_given_is_no_pile():
    """One new object far inside each of many is set once, and piles up nowhere."""
    assert explained(lambda count: tenants(30, count), (0, 30)) == ()


def test_objects_in_two_containers_are_put_down_to_one_that_holds_all():
    """An index beside the list does not hide the leak, although neither dominates it."""

    def build(count):
        module = Module()
        by_id = module.table(module.variable("byId", "Map", 1003), 1001)
        recent = module.table(module.variable("recent", "Array", 1007), 1005)
        for place, node_id in enumerate(ids(count)):
            edge = ("internal", str(place))
            node = module.node("object", "Job", node_id=node_id, size=40, held_by=by_id, edge=edge)
            if place >= count - 20:
                module.edge(recent, "internal", str(place), node)
        return module.graph()

    (suspect,) = explained(build)
    assert suspect.path == "app.js: byId (Map) → Job"
    assert suspect.new_count == 40


def test_a_chain_is_held_by_what_holds_its_head():
    """A linked list is one container with as many objects as it has links."""

    def build(count):
        module = Module()
        queue = module.variable("queue", "Queue", 1003)
        above, label = queue, "head"
        for node_id in ids(count):
            edge = ("property", label)
            above = module.node("object", "Job", node_id=node_id, size=40, held_by=above, edge=edge)
            label = "next"
        return module.graph()

    (suspect,) = explained(build)
    assert (suspect.name, suspect.kind) == ("queue.head", "linked list")
    assert (suspect.new_count, suspect.container_size) == (40, 80)


def test_what_two_suspects_share_is_a_part_of_them():
    """A context that two kept closures share is no suspect of its own."""

    def build(count):
        module = Module()
        tables = [
            module.table(module.variable(name, "Array", 1003 + 10 * n), 1001 + 10 * n)
            for n, name in enumerate(("undo", "redo"))
        ]
        for place, node_id in enumerate(ids(count)):
            shared = module.node("object", "system / Context", node_id=50_000 + node_id, size=100)
            for n, table in enumerate(tables):
                closure = module.node(
                    "closure",
                    "",
                    node_id=node_id + 20_000 * (n + 5),
                    size=10,
                    held_by=table,
                    edge=("internal", str(place)),
                )
                module.edge(closure, "internal", "context", shared)
        return module.graph()

    suspects = explained(build)
    assert sorted(suspect.name for suspect in suspects) == ["redo", "undo"]
    assert {suspect.object_class for suspect in suspects} == {"Function"}
    assert sum(suspect.new_bytes for suspect in suspects) == 40 * 120


def test_listeners_are_named_by_emitter_and_event():
    """`_events` is the emitter's own business: the reader sees the emitter."""

    def build(count):
        module = Module()
        bus = module.variable("bus", "EventEmitter", 1003)
        edge = ("property", "_events")
        events = module.node("object", "Object", node_id=1005, size=8, held_by=bus, edge=edge)
        edge = ("property", "close")
        listeners = module.node("object", "Array", node_id=1007, held_by=events, edge=edge)
        for place, node_id in enumerate(ids(count)):
            node = module.node("closure", "", node_id=node_id, size=9)
            module.edge(listeners, "element", place, node)
        return module.graph()

    (suspect,) = explained(build)
    assert suspect.path == "app.js: bus (EventEmitter) → listeners of 'close' → Function"


def test_native_handles_are_a_container():
    """Objects that C++ pins and never lets go are seen."""

    def build(count):
        module = Module()
        roots = module.node("synthetic", "(GC roots)", node_id=21, held_by=module.root)
        handles = module.node("synthetic", "(Global handles)", node_id=23, held_by=roots)
        module.fill(handles, ids(count), "TCP")
        return module.graph()

    (suspect,) = explained(build)
    assert (suspect.kind, suspect.object_class, suspect.new_count) == ("native handles", "TCP", 40)


def test_stack_roots_are_none():
    """What runs at the moment holds nothing for good."""

    def build(count):
        module = Module()
        roots = module.node("synthetic", "(Stack roots)", node_id=21, held_by=module.root)
        module.fill(roots, ids(count), "Request")
        return module.graph()

    assert explained(build) == ()


def test_a_frame_is_no_path_where_a_module_leads_there():
    """The shortest way may lead over a stack; the one that is told leads over the module."""

    def build(count):
        module = Module()
        cache = module.variable("cache", "Map", 1003)
        module.fill(module.table(cache, 1001), ids(count))
        roots = module.node("synthetic", "(Stack roots)", node_id=21, held_by=module.root)
        module.edge(roots, "internal", "1", cache)
        return module.graph()

    assert explained(build)[0].path == "app.js: cache (Map) → Report"


def test_a_few_heavy_objects_are_a_pile():
    """Five new buffers of a mebibyte are worth more than a thousand numbers."""

    def build(count):
        module = Module()
        uploads = module.table(module.variable("uploads", "Set", 1003), 1001)
        module.fill(uploads, ids(count), "Buffer", size=1 << 20)
        return module.graph()

    (suspect,) = explained(build, (15, 20))
    assert (suspect.new_count, suspect.new_bytes) == (5, 5 << 20)
