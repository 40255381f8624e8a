"""Walks its own process and checks the graph against the collector; prints what is wrong as JSON.

Run by test_walker_py.py under each interpreter: `python check_graph.py HOOK_FOLDER`.
"""

import gc
import json
import sys

sys.path.insert(0, sys.argv[1])

from memwatch_hook import _walker_py, options, v8format, walker


class Thing:
    def __init__(self, number):
        self.number = number
        self.items = [str(number), (number, [number])]


class Slots:
    __slots__ = ("a", "b")


def plant():
    slots = Slots()
    slots.a, slots.b = [1], {"k": (1, [2])}
    return [[Thing(number) for number in range(300)], slots, {Thing(1): Thing(2)}, {1: [1], "x": 2}]


PLANTED = plant()


def check():
    gc.collect()
    gc.disable()
    objects = gc.get_objects()
    order = walker.Order(
        objects, {}, {}, v8format.ChunkNumbers(), [sys._getframe()], options.HeapOptions({})
    )
    walk = _walker_py.Walk(order, lambda *_: None)
    walk.run()
    nodes, width = walk.nodes, v8format.NODE_WIDTH
    own = _walker_py.HOOK * width
    wrong = []
    missing = [type(o).__name__ for o in objects if id(o) not in walk._seen]
    if missing:
        wrong.append(["objects are missing", missing[:5]])
    at = 0
    for number, thing in enumerate(walk._objects):
        targets = nodes.targets[at : at + nodes.edge_counts[number]]
        at += nodes.edge_counts[number]
        found = set(targets)
        for referent in gc.get_referents(thing):
            index = walk._seen.get(id(referent))
            # A dict that the walk made by asking for it takes the place of its values.
            if index is None and type(referent) is dict:
                continue
            if index not in found and index != own:
                wrong.append(["an edge is missing", type(thing).__name__, type(referent).__name__])
        if type(thing) is dict and thing is not PLANTED[3]:
            continue
        if type(thing) is dict and len(targets) != 4:
            wrong.append(["keys are missing", len(targets)])
        if number % 7 == 0 and nodes.sizes[number] != sys.getsizeof(thing):
            wrong.append(["a size is wrong", type(thing).__name__])
    if at != len(nodes.targets):
        wrong.append(["edges do not add up", at, len(nodes.targets)])
    if len(set(nodes.ids)) != len(nodes.ids) or 0 in nodes.ids or max(nodes.ids) >= 1 << 32:
        wrong.append(["ids are not unique numbers of 32 bits"])
    counts = [nodes.types, nodes.names, nodes.ids, nodes.sizes, nodes.edge_counts]
    if {len(column) for column in counts} != {walk.count}:
        wrong.append(["columns differ", [len(column) for column in counts]])
    return {"wrong": wrong[:20], "objects": walk.count, "tracked": len(objects)}


print(json.dumps(check()))
