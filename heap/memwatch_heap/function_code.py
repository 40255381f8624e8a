"""What the compiled code of JavaScript functions tells: names that it uses, functions inside.

A function's constants hold the names of the globals and properties that it uses, and of each
`let`, `const` or `class` variable of an outer function that it reads, as that may not be set yet.
They do not hold outer parameters, `var`s and functions: those may be read without a name.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from memwatch_heap import rules
from memwatch_heap.contexts import sources_of
from memwatch_heap.graph import HeapGraph

# A function with more constants than this, inner functions and all, is told as not known.
_MAX_NODES = 2000


@dataclass(frozen=True, slots=True)
class FunctionCode:
    """The code of a function and of all functions inside it.

    Attributes:
        names: strings in it. inside: the functions inside, at any depth.
        whole: False where some of it is not compiled (yet, or any more), or too large.
    """

    names: frozenset[str]
    inside: frozenset[int]
    whole: bool


class Functions:
    """Functions of one heap, by their shared parts, which all closures of one function have."""

    def __init__(self, graph: HeapGraph) -> None:
        self._graph = graph
        self._codes: dict[int, FunctionCode] = {}

    @cached_property
    def _by_scope(self) -> dict[int, int]:
        """The function that each description of a scope belongs to.

        What was never compiled has its name in that place.
        """
        pairs = self._internal("name_or_scope_info")
        return {scope: function for function, scope in pairs}

    @cached_property
    def _shared(self) -> frozenset[int]:
        return frozenset(self._by_scope.values())

    @cached_property
    def _closures(self) -> dict[int, int]:
        """One closure of each function that has any."""
        return {function: closure for closure, function in self._internal("shared")}

    @cached_property
    def property_names(self) -> frozenset[int]:
        """Strings that are the name of a property anywhere in the heap."""
        graph = self._graph
        used = np.zeros(len(graph.strings), bool)
        used[graph.edge_name[graph.edge_type == graph.edge_code("property")]] = True
        return frozenset(np.flatnonzero(used).tolist())

    def of_scope(self, scope_info: int) -> int | None:
        """The function whose own variables a scope describes; None for modules' and blocks'."""
        return self._by_scope.get(scope_info)

    def closure_of(self, function: int) -> int | None:
        """A closure of a function, None where none is left."""
        return self._closures.get(function)

    def code_of(self, function: int) -> FunctionCode:
        """What the code of a function tells."""
        found = self._codes.get(function)
        if found is None:
            found = self._codes[function] = self._walk(function)
        return found

    def _walk(self, function: int) -> FunctionCode:
        graph = self._graph
        code, hidden = graph.node_code("code"), graph.node_code("hidden")
        seen, stack = {function}, [(function, function)]
        names: set[str] = set()
        inside: set[int] = set()
        compiled: set[int] = set()
        while stack and len(seen) < _MAX_NODES:
            at, owner = stack.pop()
            for edge in graph.edges_of(at):
                to = int(graph.edge_to[edge])
                if to in seen or not self._leads_to_code(edge, at in self._shared):
                    continue
                seen.add(to)
                if graph.node_type[to] not in (code, hidden):
                    names |= {graph.name_of(to)} if graph.type_of(to) == "string" else set()
                elif to in self._shared:
                    inside.add(to)
                    stack.append((to, to))
                elif graph.name_of(to) not in rules.NO_CODE:
                    compiled |= {owner} if graph.name_of(to) == rules.BYTECODE else set()
                    stack.append((to, owner))
        whole = not stack and compiled == inside | {function}
        return FunctionCode(frozenset(names), frozenset(inside), whole)

    def _leads_to_code(self, edge: int, from_function: bool) -> bool:
        """Whether an edge leads from a function to its code, or on within that."""
        kind = self._graph.edge_types[int(self._graph.edge_type[edge])]
        label = self._graph.edge_label(edge)
        if from_function:
            return label in rules.CODE_LABELS
        return kind == "hidden" or label in rules.CODE_LABELS or label.isdigit()

    def _internal(self, label: str) -> list[tuple[int, int]]:
        """(source, target) of the engine's own edges of a name, the last of a source first."""
        graph = self._graph
        (name,) = graph.strings.find(label)
        if name < 0:
            return []
        edges = np.flatnonzero(graph.edge_name == np.uint32(name))
        edges = edges[graph.edge_type[edges] == graph.edge_code("internal")][::-1]
        return list(
            zip(sources_of(graph, edges).tolist(), graph.edge_to[edges].tolist(), strict=True)
        )
