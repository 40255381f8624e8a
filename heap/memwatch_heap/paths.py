"""The way from a root to an object, by what stays: modules, globals, and only at last frames."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from memwatch_heap import rules
from memwatch_heap._backend import kernels
from memwatch_heap.graph import U8, HeapGraph
from memwatch_heap.holders import NO_EDGE, SEE_THROUGH, Holders
from memwatch_heap.locations import Sources, is_engine_script, short_name, source_of
from memwatch_heap.modules import exports

_MAX_STEPS = 200  # a path longer than this is cut: it is a chain, not a place
_NAMED = ("context", "property", "shortcut", "internal")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a path: over an edge to a node."""

    kind: str
    label: str
    node: int


@dataclass(frozen=True, slots=True)
class Path:
    """A way to an object.

    Attributes:
        start: the node it begins at. root: what that is called (`app.js`, `globalThis`, `json`).
        steps: from there to the object.
        stable: False where it leads over stacks, handles or what did not live before.
        script: the whole name of the script that `root` is short for; mostly a path.
    """

    start: int
    root: str
    steps: tuple[Step, ...]
    stable: bool
    script: str = ""


class Paths:
    """Ways to every object of a heap: one search from stable roots, continued from weaker ones."""

    def __init__(self, holders: Holders, sources: Sources, old: NDArray[np.bool_]) -> None:
        self._graph = graph = holders.graph
        self._sources = sources
        self._roots: dict[int, str] = {}
        self._exports = {export.cell: export for export in exports(graph)}
        self._seen = np.zeros(graph.node_count, np.uint8)
        self._by = np.full(graph.node_count, NO_EDGE, np.uint32)
        self._search(holders, old)

    def to(self, node: int) -> Path:
        """The way to a node."""
        steps: list[Step] = []
        graph = self._graph
        while self._by[node] != NO_EDGE and len(steps) < _MAX_STEPS:
            edge = int(self._by[node])
            kind = graph.edge_types[int(graph.edge_type[edge])]
            steps.append(Step(kind, graph.edge_label(edge), node))
            node = int(source_of(graph, np.array([edge]))[0])
        steps.reverse()
        root = self._roots.get(node, "")
        if root:
            return Path(node, root, tuple(self._named(node, steps)), True, self._script(node))
        return self._from_made_up(node, steps)

    def _named(self, start: int, steps: list[Step]) -> list[Step]:
        """The steps, the first by the variable's name where an exported one lives in its cell."""
        export = self._exports.get(start)
        if export is None or not steps:
            return steps
        return [replace(steps[0], kind="context", label=export.name), *steps[1:]]

    def _script(self, start: int) -> str:
        """The script of a root that is a module's context or one of its exported variables."""
        export = self._exports.get(start)
        return self._sources.script_of_context(start if export is None else export.context)

    def _from_made_up(self, node: int, steps: list[Step]) -> Path:
        """A path that only a made-up root has (a thread, a handle): the last of those names it."""
        graph = self._graph
        synthetic = graph.node_code("synthetic")
        root = ""
        while steps and graph.node_type[steps[0].node] == synthetic:
            node = steps.pop(0).node
            root = graph.name_of(node)
        return Path(node, root, tuple(steps), False)

    def last_step(self, holders: Holders, node: int) -> Step:
        """The step from the dominator of a node to it."""
        graph, edge = self._graph, int(holders.edge[node])
        kind = graph.edge_types[int(graph.edge_type[edge])]
        return Step(kind, graph.edge_label(edge), node)

    def _search(self, holders: Holders, old: NDArray[np.bool_]) -> None:
        graph = self._graph
        own, engine = self._modules(old)
        clean = holders.holds.copy()
        for kind in ("array", "object"):
            clean |= (holders.category == SEE_THROUGH) & (graph.node_type == graph.node_code(kind))
        of_the_program = old & clean
        of_the_program[list(engine)] = False
        self._spread(own, of_the_program)
        self._spread({**self._global_objects(), **engine}, old & clean)
        self._spread({}, clean)
        self._spread({graph.root: ""}, np.ones(graph.node_count, bool))

    def _spread(self, roots: dict[int, str], enter: NDArray[np.bool_]) -> None:
        """Goes on from all that was reached and from further roots, into what is let in now."""
        graph = self._graph
        self._roots = {**roots, **self._roots}
        sources = np.append(np.flatnonzero(self._seen), list(roots)).astype(np.uint32)
        self._seen[sources] = 0
        never = [i for i in graph.strings.find(*(r.name for r in rules.PATH_NEVER)) if i >= 0]
        kernels("paths").spread(
            graph.first_edge, graph.edge_type, graph.edge_name, graph.edge_to,
            sources, passable(graph), self._seen, self._by,
            enter.astype(np.uint8), np.array(sorted(never), np.uint32),
        )  # fmt: skip

    def _modules(self, old: NDArray[np.bool_]) -> tuple[dict[int, str], dict[int, str]]:
        """(the program's, the engine's) modules with what they are called."""
        own: dict[int, str] = {}
        engine: dict[int, str] = {}
        for context in _module_contexts(self._graph):
            script = self._sources.script_of_context(context)
            if old[context] and script:
                (engine if is_engine_script(script) else own)[context] = short_name(script)
        for cell, export in self._exports.items():
            for modules in (own, engine):
                if old[cell] and export.context in modules:
                    modules[cell] = modules[export.context]
        return {**own, **_python_modules(self._graph)}, engine

    def _global_objects(self) -> dict[int, str]:
        graph = self._graph
        shortcut = graph.edge_code("shortcut")
        return {
            int(graph.edge_to[edge]): "globalThis"
            for edge in graph.edges_of(graph.root)
            if graph.edge_type[edge] == shortcut
        }


def _passes(kind: str) -> int:
    if kind in ("weak",):
        return 0
    return 2 if kind in _NAMED else 1


def _module_contexts(graph: HeapGraph) -> list[int]:
    """Contexts right below a realm: the variables of modules and scripts."""
    context, realm, previous = graph.strings.find(
        "system / Context", "system / NativeContext", "previous"
    )
    if min(context, realm, previous) < 0:
        return []
    edges = np.flatnonzero(graph.edge_name == np.uint32(previous))
    edges = edges[graph.edge_type[edges] == graph.edge_code("internal")]
    edges = edges[graph.node_name[graph.edge_to[edges]] == np.uint32(realm)]
    nodes = source_of(graph, edges)
    return [int(node) for node in nodes[graph.node_name[nodes] == np.uint32(context)]]


def _python_modules(graph: HeapGraph) -> dict[int, str]:
    """The modules of CPython, by the names they were imported under."""
    shortcut = graph.edge_code("shortcut")
    return {
        int(graph.edge_to[edge]): graph.edge_label(edge)
        for edge in graph.edges_of(graph.root)
        if graph.edge_type[edge] == shortcut and graph.name_of(int(graph.edge_to[edge])) == "module"
    }


def passable(graph: HeapGraph) -> U8:
    """Per edge type: 0 it holds nothing, 1 it holds under a number, 2 under a name."""
    return np.array([_passes(kind) for kind in graph.edge_types], np.uint8)
