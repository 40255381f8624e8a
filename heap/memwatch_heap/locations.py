"""Where in the source an object comes from: the place of its class, or of the function it is."""

from collections import deque
from collections.abc import Iterable, Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from memwatch_heap import rules
from memwatch_heap.code_places import CodePlaces, Place, is_engine_script, short_name
from memwatch_heap.function_code import Functions
from memwatch_heap.graph import U32, HeapGraph

__all__ = ["Place", "Sources", "is_engine_script", "short_name", "source_of"]

# How far below an object its source is looked for: a timer's callback, a promise's async function.
_DEPTH = 4
_BREADTH = 200
# How the function that fills a container is told: by two words at least, in so many functions.
_SURE = 4
_MAX_FUNCTIONS = 2000


class Sources:
    """The scripts and places of one heap."""

    def __init__(self, graph: HeapGraph) -> None:
        self._graph = graph
        self._code = CodePlaces(graph)
        self._functions = Functions(graph)
        self._shared, self._script, self._context = graph.strings.find(
            "shared", "script", "context"
        )
        (self._old_script,) = graph.strings.find("script_or_debug_info")

    @cached_property
    def scripts(self) -> dict[int, str]:
        """Names of the scripts that have a function in the heap, by id."""
        places, graph = self._graph.locations, self._graph
        closures = graph.node_type[places.node] == graph.node_code("closure")
        ids, at = np.unique(places.script[closures], return_index=True)
        nodes = places.node[closures][at]
        named = ((int(i), self._script_name(int(node))) for i, node in zip(ids, nodes, strict=True))
        return {number: name for number, name in named if name}

    @cached_property
    def closure_of_context(self) -> dict[int, int]:
        """For each context one function that runs in it."""
        graph = self._graph
        edges = np.flatnonzero(graph.edge_name == np.uint32(max(self._context, 0)))
        edges = edges[graph.edge_type[edges] == graph.edge_code("internal")]
        holders = source_of(graph, edges)
        closure = graph.node_type[holders] == graph.node_code("closure")
        pairs = zip(graph.edge_to[edges[closure]].tolist(), holders[closure].tolist(), strict=True)
        return dict(reversed(list(pairs)))

    def script_of_context(self, context: int) -> str:
        """The script whose functions share a context; empty where none is left."""
        closure = self.closure_of_context.get(context)
        place = None if closure is None else self.of(closure)
        return place.script if place else ""

    def of(self, node: int) -> Place | None:
        """The place that the snapshot gives for a node itself."""
        found = self._graph.locations.of(node)
        if found is None:
            return self._code.place_of(node)
        script, line, column = found
        name = self.scripts.get(script, f"script {script}")
        return Place(name, line + 1, column + 1, self._what(node))

    def adder(self, script: str, wanted: Mapping[str, int]) -> Place | None:
        """The function of a script whose code uses most of some words (names, methods, keys).

        Each word has a weight. A function's constants hold the names of what it calls and of the
        module's variables that it uses; nothing is guessed where they are below `_SURE` together.
        """
        best, least = None, (_SURE - 1, 0)
        for node in self._functions_of(script):
            words = self.words_of(node)
            # The code of a function holds that of those inside it: the smallest one is meant.
            score = (sum(wanted[word] for word in words & wanted.keys()), -len(words))
            if score > least:
                best, least = node, score
        return None if best is None else self.of(best)

    def of_way(self, start: int, nodes: Iterable[int]) -> Place | None:
        """Where a container is from, by the way to it.

        That is, the program's class or function nearest to it, else the file of the module that
        the way starts at.
        """
        for node in nodes:
            place = self.of(node)
            if place is not None and not place.is_engine:
                return place
        return self._code.place_of_module(start)

    def remover(self, script: str, name: str, methods: Iterable[str]) -> Place | None:
        """A function of a script whose code names a container and a method that takes out of it."""
        for node in self._functions_of(script):
            words = self.words_of(node)
            if name in words and not words.isdisjoint(methods):
                return self.of(node)
        return None

    def _functions_of(self, script: str) -> list[int]:
        """Closures of the functions of a script, at most _MAX_FUNCTIONS, one of each function."""
        numbers = [number for number, name in self.scripts.items() if name == script]
        places, graph = self._graph.locations, self._graph
        mine = np.isin(places.script, np.array(numbers, np.uint32))
        # The function at the very start is the module itself: it holds all code and says nothing.
        mine &= (places.line > 0) | (places.column > 0)
        mine &= graph.node_type[places.node] == graph.node_code("closure")
        rows = np.flatnonzero(mine)
        at = np.stack([places.line[rows], places.column[rows], graph.node_name[places.node[rows]]])
        _, one = np.unique(at, axis=1, return_index=True)
        found: list[int] = places.node[rows[np.sort(one)]][:_MAX_FUNCTIONS].tolist()
        return found

    def words_of(self, closure: int) -> frozenset[str]:
        """The strings in a function's code: what it calls, sets and names."""
        shared = self._follow(closure, (self._shared,))
        return frozenset() if shared < 0 else self._functions.code_of(shared).names

    def near(self, node: int, enter: NDArray[np.bool_]) -> Place | None:
        """The place of a node, else of the nearest thing that it holds; the program's own first."""
        fallback = None
        for found in self._around(node, enter):
            place = self.of(found)
            if place and not place.is_engine:
                return place
            fallback = fallback or place
        return fallback

    def _around(self, node: int, enter: NDArray[np.bool_]) -> Iterable[int]:
        graph = self._graph
        seen, queue = {node}, deque([(node, 0)])
        while queue and len(seen) < _BREADTH:
            at, depth = queue.popleft()
            yield at
            if depth == _DEPTH:
                continue
            for edge in graph.edges_of(at):
                to = int(graph.edge_to[edge])
                if to not in seen and enter[to]:
                    seen.add(to)
                    queue.append((to, depth + 1))

    def _what(self, node: int) -> str:
        graph = self._graph
        kind, name = graph.type_of(node), graph.name_of(node)
        if kind == "closure":
            return f"function {name}" if name else "function"
        return rules.RUNNING.get(name) or f"class {name}"

    def _script_name(self, closure: int) -> str:
        graph = self._graph
        shared = self._follow(closure, (self._shared,))
        script = -1 if shared < 0 else self._follow(shared, (self._script, self._old_script))
        return "" if script < 0 else graph.name_of(script)

    def _follow(self, node: int, names: tuple[int, ...]) -> int:
        graph = self._graph
        internal = graph.edge_code("internal")
        for edge in graph.edges_of(node):
            if graph.edge_type[edge] == internal and int(graph.edge_name[edge]) in names:
                return int(graph.edge_to[edge])
        return -1


def source_of(graph: HeapGraph, edges: NDArray[np.intp]) -> U32:
    """The nodes that edges start at."""
    return (np.searchsorted(graph.first_edge, edges, side="right") - 1).astype(np.uint32)
