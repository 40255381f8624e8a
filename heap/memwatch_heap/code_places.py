"""Places in the source, and how Python's heaps say them: by the names of their code objects."""

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from memwatch_heap import rules
from memwatch_heap.graph import HeapGraph

# A module's own function says where it is; of imported ones it takes many to be believed.
_MINE = 1000
_CODE = re.compile(r"^(?P<name>.*?) \((?P<script>.+):(?P<line>\d+)\)$")


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the source; line and column count from 1 (0: not known)."""

    script: str
    line: int
    column: int
    what: str

    @property
    def short(self) -> str:
        """The file's own name."""
        return short_name(self.script)

    @property
    def is_engine(self) -> bool:
        """Whether the runtime itself, not the program, has this place."""
        return is_engine_script(self.script)

    def __str__(self) -> str:
        return f"{self.short}:{self.line}" if self.line else self.short


def short_name(script: str) -> str:
    """The last part of a script's path; engine scripts keep theirs."""
    if is_engine_script(script):
        return script
    return script.rstrip("/").rpartition("/")[2] or script


def is_engine_script(script: str) -> bool:
    """Whether a script belongs to the runtime itself."""
    if not script or script.startswith(rules.ENGINE_SCRIPTS):
        return True
    return bool(rules.STANDARD_LIBRARY.search(script)) and "site-packages" not in script


class CodePlaces:
    """Where the objects of a Python heap come from.

    A code object is called `report (/srv/app.py:12)`; a function, a generator and a coroutine lead
    straight to theirs, an object over its class to the first of its methods.
    """

    def __init__(self, graph: HeapGraph) -> None:
        self._graph = graph
        self._code = graph.node_code("code")
        self._by_class: dict[int, Place | None] = {}

    def place_of(self, node: int) -> Place | None:
        """The place of an object; None where the heap is not Python's or does not say."""
        if not self._has_places:
            return None
        return self._of_code(node) or self._of_wrapped(node) or self._of_class(node)

    @cached_property
    def _has_places(self) -> bool:
        return not len(self._graph.locations.node)

    def place_of_module(self, module: int) -> Place | None:
        """The file of a module, by the functions that it defines; no line."""
        namespace = self._follow(module, "__dict__") if self._has_places else -1
        if namespace < 0:
            return None
        graph = self._graph
        files: Counter[str] = Counter()
        for edge in graph.edges_of(namespace):
            to = int(graph.edge_to[edge])
            place = self._of_code(to) if graph.node_type[to] == graph.node_code("closure") else None
            # What is imported from elsewhere keeps its own module's name.
            if place is not None:
                files[place.script] += 1 + _MINE * (self._module_of(to) == namespace)
        return Place(max(files, key=files.__getitem__), 0, 0, "module") if files else None

    def _module_of(self, function: int) -> int:
        return self._follow(function, "__globals__")

    def _of_code(self, node: int) -> Place | None:
        """Of what runs code: the place of that code."""
        graph = self._graph
        for edge in graph.edges_of(node):
            to = int(graph.edge_to[edge])
            if graph.node_type[to] == self._code:
                return self._parse(to)
        return None

    def _of_wrapped(self, node: int) -> Place | None:
        """Of a wrapper that keeps what it wraps, as `lru_cache` and decorators do."""
        namespace = self._follow(node, "__dict__")
        wrapped = self._follow(namespace, "__wrapped__") if namespace >= 0 else -1
        return None if wrapped < 0 else self._of_code(wrapped)

    def _parse(self, code: int) -> Place | None:
        found = _CODE.match(self._graph.name_of(code))
        if found is None:
            return None
        what = f"function {found['name']}"
        return Place(found["script"], int(found["line"]), 0, what)

    def _of_class(self, node: int) -> Place | None:
        cls = self._follow(node, "__class__")
        if cls < 0 or self._graph.name_of(node) == "type":
            return None
        if cls not in self._by_class:
            self._by_class[cls] = self._first_method(cls, self._graph.name_of(node))
        return self._by_class[cls]

    def _first_method(self, cls: int, name: str) -> Place | None:
        """The first line of a class's methods stands for the class."""
        namespace = self._follow(cls, "__dict__")
        if namespace < 0:
            return None
        graph = self._graph
        closure = graph.node_code("closure")
        members = {int(graph.edge_to[edge]) for edge in graph.edges_of(namespace)}
        found = [self._of_code(node) for node in members if graph.node_type[node] == closure]
        places = [place for place in found if place is not None]
        own = [place for place in places if name.rpartition(".")[2] in place.what] or places
        if not own:
            return None
        first = min(own, key=lambda place: (place.script, place.line))
        return Place(first.script, first.line, 0, f"class {name}")

    def _follow(self, node: int, label: str) -> int:
        graph = self._graph
        for edge in graph.edges_of(node):
            if graph.edge_label(edge) == label:
                return int(graph.edge_to[edge])
        return -1
