"""The way to an object: over modules and globals where there is one, over made-up roots else."""

import numpy as np

from memwatch_heap.basis import find_basis
from memwatch_heap.holders import find_holders
from memwatch_heap.locations import Sources
from memwatch_heap.paths import Paths
from tests.heap.modules import SCRIPT, Module


def path_to(module, node, old=None):
    graph = module.graph()
    holders = find_holders(graph, find_basis(graph))
    lived = np.ones(graph.node_count, bool)
    for young in old or ():
        lived[young] = False
    return Paths(holders, Sources(graph), lived).to(node)


def test_a_variable_is_reached_from_its_module():
    """The root is the script, although the function leads there, too."""
    module = Module()
    cache = module.variable("cache", "Map", 1003)
    path = path_to(module, cache)
    assert (path.root, path.script, path.stable) == ("app.js", SCRIPT, True)
    assert [step.label for step in path.steps] == ["cache"]


def test_a_global_is_reached_from_the_global_object():
    """What no module holds is said to be global."""
    module = Module()
    edge = ("property", "audit")
    trail = module.node("object", "Array", node_id=1003, held_by=module.globals, edge=edge)
    path = path_to(module, trail)
    assert (path.root, [step.label for step in path.steps]) == ("globalThis", ["audit"])


def test_an_exported_variable_is_reached_from_its_module():
    """It lives in a cell under its name in the table of exports, and not in the context."""
    module = Module()
    record = module.node(
        "hidden",
        "system / SourceTextModule",
        held_by=module.context,
        edge=("internal", "extension"),
    )
    cell = module.node("hidden", "system / Cell", node_id=1001)
    cache = module.node("object", "Map", node_id=1003, held_by=cell, edge=("internal", "value"))
    table = module.node("array", "", node_id=1005, held_by=record, edge=("hidden", 0))
    module.node("string", "cache", node_id=1007, held_by=table, edge=("internal", "5"))
    own = module.node("array", "", node_id=1009, held_by=record, edge=("hidden", 5))
    module.edge(table, "internal", "6", cell)
    module.edge(own, "internal", "0", cell)
    path = path_to(module, cache)
    assert (path.root, path.script, path.stable) == ("app.js", "/srv/app.js", True)
    assert [(step.kind, step.label) for step in path.steps] == [("context", "cache")]


def test_what_lived_before_is_the_better_way():
    """A shorter way over a new object is not stable."""
    module = Module()
    cache = module.variable("cache", "Map", 1003)
    inner = module.node("object", "Map", node_id=1005, held_by=cache, edge=("property", "inner"))
    target = module.node("object", "Set", node_id=1007, held_by=inner, edge=("property", "target"))
    fresh = module.variable("fresh", "Request", 1009)
    module.edge(fresh, "property", "target", target)
    labels = [step.label for step in path_to(module, target, old=[fresh]).steps]
    assert labels == ["cache", "inner", "target"]


def test_only_a_thread_leads_there():
    """A made-up root names the path, which is not called stable."""
    module = Module()
    threads = module.node("synthetic", "(threads)", held_by=module.root)
    thread = module.node("synthetic", "thread worker", held_by=threads)
    jobs = module.node("object", "list", node_id=1003, held_by=thread, edge=("property", "jobs"))
    path = path_to(module, jobs)
    assert (path.root, path.stable) == ("thread worker", False)
    assert [step.label for step in path.steps] == ["jobs"]


def test_weak_edges_lead_nowhere():
    """A weak map's table is no way to what it does not hold."""
    module = Module()
    cache = module.variable("cache", "WeakSet", 1003)
    node = module.node("object", "Report", node_id=1005)
    module.edge(cache, "weak", "0", node)
    assert path_to(module, node).steps == ()
