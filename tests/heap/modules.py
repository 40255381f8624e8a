"""Heaps of one small Node module made by hand: variables, a function that uses them, its script."""

from memwatch_heap.graph import HeapGraph
from memwatch_heap.testing import HeapBuilder

SCRIPT = "/srv/app.js"
SCRIPT_ID = 7


class Module(HeapBuilder):
    """A module `app.js` whose variables hang on a context; ids are given, so that heaps compare."""

    def __init__(self) -> None:
        super().__init__()
        realm = self.node("hidden", "system / NativeContext", node_id=3, size=8)
        self.globals = self.node("object", "global", node_id=5, size=8)
        self.edge(self.root, "shortcut", "1", self.globals)
        self.edge(self.globals, "internal", "native_context", realm)
        self.context = self.node("object", "system / Context", node_id=7, size=8)
        self.edge(self.context, "internal", "previous", realm)
        self.edge(self.globals, "property", "handler", self.function("handle", 9, line=10))

    def function(self, name: str, node_id: int, *, line: int = 0, words: tuple[str, ...] = ()):
        """A function of the module, with the strings of its code."""
        closure = self.node("closure", name, node_id=node_id, size=8, location=(SCRIPT_ID, line, 4))
        self.edge(closure, "internal", "context", self.context)
        shared = self.node(
            "code", name, node_id=node_id + 100_000, held_by=closure, edge=("internal", "shared")
        )
        self.node(
            "code", SCRIPT, node_id=node_id + 200_000, held_by=shared, edge=("internal", "script")
        )
        data = self.node(
            "code",
            "",
            node_id=node_id + 300_000,
            held_by=shared,
            edge=("internal", "function_data"),
        )
        for place, word in enumerate(words):
            number = node_id + 400_000 + place * 1_000
            self.node("string", word, node_id=number, held_by=data, edge=("hidden", place))
        return closure

    def variable(self, name: str, kind: str, node_id: int) -> int:
        """A variable of the module that holds an object of a class."""
        edge = ("context", name)
        return self.node("object", kind, node_id=node_id, size=16, held_by=self.context, edge=edge)

    def table(self, owner: int, node_id: int, label: str = "table") -> int:
        """The backing store of a container."""
        return self.node(
            "array", "", node_id=node_id, size=64, held_by=owner, edge=("internal", label)
        )

    def fill(self, table: int, ids: range, kind: str = "Report", size: int = 40) -> None:
        """Puts objects of a class into a backing store."""
        for place, node_id in enumerate(ids):
            edge = ("internal", str(place))
            self.node("object", kind, node_id=node_id, size=size, held_by=table, edge=edge)


def with_cache(ids: range, *, table_id: int = 1001, map_id: int = 1003) -> HeapGraph:
    """A module whose Map `cache` holds reports with these ids."""
    module = Module()
    cache = module.variable("cache", "Map", map_id)
    module.fill(module.table(cache, table_id), ids)
    return module.graph()
