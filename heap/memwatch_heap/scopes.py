"""Closures' contexts for people: which variables functions keep alive, and which nobody reads.

Contexts of one scope that the same functions share are one row. That a variable is read is told
from the code of those functions (see `function_code`). That it is not, takes more: the code of all
of them is there and none names it; a function of the same scope that has no closure left does name
it, so its kind is one that has to be named; and no property of that name is in the heap that this
one could mean instead. All else is not known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from memwatch_heap._backend import kernels
from memwatch_heap.contexts import OTHER, Contexts, Nodes, edges_of, find_contexts, sources_of
from memwatch_heap.function_code import Functions
from memwatch_heap.graph import HeapGraph
from memwatch_heap.locations import Place, Sources
from memwatch_heap.measures import Measures
from memwatch_heap.retained import dominated

I64 = NDArray[np.int64]

# Rows that are looked into: a reader acts on the first few.
MAX_SCOPES = 100
# Variables and functions told of one scope, and contexts named of it.
MAX_SLOTS = 30
MAX_SHARERS = 10
SAMPLES = 3
# A name from the source is shown up to here.
_MAX_NAME = 80


class SlotState(StrEnum):
    """Whether a function that holds the context can read a variable."""

    READ = "read"
    UNREAD = "not read"
    UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Sharer:
    """A function whose closures hold contexts. `line` counts from 1; 0 where it is not known.

    `closures` counts those that hold them directly, not over a scope inside.
    """

    function: str
    script: str
    line: int
    closures: int


@dataclass(frozen=True, slots=True)
class Slot:
    """One variable of a scope.

    Attributes:
        name: the variable's.
        values: contexts in which it holds an object.
        value_class: the class of most of these.
        retained_bytes: what the values keep alive that hang on this variable of their contexts
            alone, nothing counted twice.
        state: whether a holder can read it. why: what says so.
    """

    name: str
    values: int
    value_class: str
    retained_bytes: int
    state: SlotState
    why: str


@dataclass(frozen=True, slots=True)
class Scope:
    """Contexts of one scope that the same functions share.

    Attributes:
        function: whose variables they are; empty for a module or a block.
        script, line: where that is, from 1; empty and 0 where the snapshot does not say.
        contexts: how many.
        retained_bytes: what they keep alive, nothing counted twice.
        unread_bytes: what the variables keep alive that nobody reads.
        sharers: the functions that hold them, directly or over the scopes inside.
        running: whether something else holds some, such as an async function that waits.
        slots: the variables, the heaviest first.
        samples: ids of the contexts that retain the most.
    """

    function: str
    script: str
    line: int
    contexts: int
    retained_bytes: int
    unread_bytes: int
    sharers: tuple[Sharer, ...]
    running: bool
    slots: tuple[Slot, ...]
    samples: tuple[int, ...]


def find_scopes(graph: HeapGraph, measures: Measures, limit: int = MAX_SCOPES) -> list[Scope]:
    """The scopes of a JavaScript heap whose contexts retain the most; none in other heaps.

    Needs some 20 bytes per node, and 40 per context and closure, beside the graph.
    """
    contexts = find_contexts(graph)
    return [] if contexts is None else _Rows(graph, measures, contexts).scopes(limit)


@dataclass(frozen=True, slots=True)
class _Sum:
    """A variable of one row: string of its name, bytes that its values retain, the values."""

    name: int
    retained: int
    values: Nodes


class _Rows:
    """Makes rows of contexts: the ones that retain the most, with all that is known of them."""

    def __init__(self, graph: HeapGraph, measures: Measures, contexts: Contexts) -> None:
        self._graph = graph
        self._measures = measures
        self._contexts = contexts
        self._sources = Sources(graph)
        self._functions = Functions(graph)
        self._tree = dominated(measures.dominator, graph.root)

    def scopes(self, limit: int) -> list[Scope]:
        """The rows, the one that retains the most first."""
        pattern = self._contexts.patterns()
        patterns = int(pattern.max()) + 1
        retained = self._retained(self._contexts.nodes, pattern, patterns)
        chosen = np.argsort(-retained, kind="stable")[:limit].tolist()
        order = np.argsort(pattern, kind="stable")
        starts = np.searchsorted(pattern[order], np.arange(patterns + 1))
        members = [order[starts[row] : starts[row + 1]] for row in chosen]
        sums = self._slot_sums(members)
        return [
            self._scope(rows, int(retained[row]), of_row)
            for row, rows, of_row in zip(chosen, members, sums, strict=True)
        ]

    def _retained(self, nodes: Nodes, group: Nodes, groups: int) -> I64:
        """Bytes per group of nodes; what is below a node of the same group is not counted again."""
        of = np.zeros(self._graph.node_count, np.uint32)
        of[nodes] = group + 1
        measures = self._measures
        sums: I64 = kernels("classes").retained_by(
            of, measures.sizes, measures.retained, *self._tree, self._graph.root, groups + 1
        )
        return sums[1:]

    def _slot_sums(self, members: Sequence[Nodes]) -> list[list[_Sum]]:
        """The variables of each row."""
        graph, dominator = self._graph, self._measures.dominator
        kind, hidden = graph.edge_code("context"), graph.node_code("hidden")
        rows: list[list[tuple[int, Nodes]]] = []
        nodes, group, groups = [np.zeros(0, np.intp)], [np.zeros(0, np.intp)], 0
        for row in members:
            edges = edges_of(graph, self._contexts.nodes[row])
            edges = edges[graph.edge_type[edges] == kind]
            edges = edges[graph.node_type[graph.edge_to[edges]] != hidden]
            names, at = np.unique(graph.edge_name[edges], return_inverse=True)
            at, values = at.ravel(), graph.edge_to[edges].astype(np.intp)
            alone = dominator[values] == sources_of(graph, edges)
            alone &= _counts(values) == 1
            nodes.append(values[alone])
            group.append(groups + at[alone])
            groups += len(names)
            rows.append([(name, values[at == n]) for n, name in enumerate(names.tolist())])
        sums = iter(self._retained(np.concatenate(nodes), np.concatenate(group), groups).tolist())
        return [[_Sum(name, next(sums), values) for name, values in row] for row in rows]

    def _scope(self, rows: Nodes, retained: int, sums: list[_Sum]) -> Scope:
        contexts, graph = self._contexts, self._graph
        holders = contexts.holders_of(int(rows[0]))
        functions = [holder for holder in holders if holder != OTHER]
        owner = self._functions.of_scope(int(contexts.scope_info[rows[0]]))
        place = self._place(owner)
        sharers = self._sharers(rows, functions)
        reading = _Reading(graph, self._functions, owner, functions, len(functions) < len(holders))
        slots = [self._slot(found, reading) for found in sums]
        slots.sort(key=lambda slot: (-slot.retained_bytes, slot.name))
        nodes = contexts.nodes[rows]
        heaviest = nodes[np.argsort(-self._measures.retained[nodes], kind="stable")[:SAMPLES]]
        return Scope(
            function=_function_name(graph, owner),
            script=place.script if place else next((s.script for s in sharers if s.script), ""),
            line=place.line if place else 0,
            contexts=len(rows),
            retained_bytes=retained,
            unread_bytes=sum(s.retained_bytes for s in slots if s.state is SlotState.UNREAD),
            sharers=tuple(sharers[:MAX_SHARERS]),
            running=reading.running,
            slots=tuple(slots[:MAX_SLOTS]),
            samples=tuple(graph.node_id[heaviest].tolist()),
        )

    def _sharers(self, rows: Nodes, functions: Sequence[int]) -> list[Sharer]:
        """The functions that hold contexts, those with the most closures first."""
        counts = self._contexts.closures_of(rows)
        sharers = []
        for function in functions:
            place = self._place(function)
            script, line = (place.script, place.line) if place else ("", 0)
            name = _function_name(self._graph, function)
            sharers.append(Sharer(name, script, line, counts.get(function, 0)))
        return sorted(sharers, key=lambda sharer: (-sharer.closures, sharer.function))

    def _place(self, function: int | None) -> Place | None:
        closure = None if function is None else self._functions.closure_of(function)
        return None if closure is None else self._sources.of(closure)

    def _slot(self, found: _Sum, reading: "_Reading") -> Slot:
        classes = self._measures.classes
        used, counts = np.unique(classes.of[found.values], return_counts=True)
        state, why = reading.of(found.name)
        return Slot(
            name=_cut(self._graph.strings[found.name]),
            values=len(found.values),
            value_class=_cut(classes.names[int(used[np.argmax(counts)])]),
            retained_bytes=found.retained,
            state=state,
            why=why,
        )


class _Reading:
    """Tells which variables of one scope the functions that hold it can read."""

    def __init__(
        self,
        graph: HeapGraph,
        functions: Functions,
        owner: int | None,
        holders: Sequence[int],
        running: bool,
    ) -> None:
        self.running = running
        self._graph = graph
        self._functions = functions
        self._holders = holders
        code = None if owner is None else functions.code_of(owner)
        self._inside = frozenset(code.inside) if code and code.whole else frozenset()
        self._partly = [f for f in holders if not functions.code_of(f).whole]

    def of(self, name: int) -> tuple[SlotState, str]:
        """Whether a variable (the string of its name) is read, and what says so."""
        text = self._graph.strings[name]
        readers = self._naming(self._holders, text)
        if readers:
            return SlotState.READ, f"{self._word(readers[0])} names it"
        if self._inside and self._inside <= set(self._holders):
            return SlotState.READ, "every function inside holds it, and one of them reads it"
        if self.running:
            return SlotState.UNKNOWN, "a call that has not ended, or the engine, holds it too"
        if self._partly:
            return SlotState.UNKNOWN, f"{self._word(self._partly[0])} is not compiled"
        if self._naming(self._holders, "eval"):
            return SlotState.UNKNOWN, "eval may read it"
        return self._unnamed(name, text)

    def _unnamed(self, name: int, text: str) -> tuple[SlotState, str]:
        """Of a variable that no holder names, all of which are compiled."""
        gone = [f for f in self._inside if f not in self._holders]
        naming = self._naming(gone, text)
        if not naming:
            return SlotState.UNKNOWN, "no code names it; a parameter or var needs no name"
        only = f"only {self._word(naming[0])} names it, of which no closure is left"
        if name in self._functions.property_names:
            return SlotState.UNKNOWN, f"{only}, and may mean a property of that name"
        return SlotState.UNREAD, only

    def _naming(self, functions: Sequence[int], text: str) -> list[int]:
        return [f for f in functions if text in self._functions.code_of(f).names]

    def _word(self, function: int) -> str:
        name = _function_name(self._graph, function)
        return f"'{name}'" if name else "a function without a name"


def _counts(values: Nodes) -> Nodes:
    """Per value how often it is there."""
    _, at, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray(counts[at.ravel()])


def _function_name(graph: HeapGraph, function: int | None) -> str:
    """A function's own name; empty where it has none and the engine says so in brackets."""
    name = "" if function is None else graph.name_of(function)
    return "" if name.startswith("(") else _cut(name)


def _cut(name: str) -> str:
    return name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 1] + "…"
