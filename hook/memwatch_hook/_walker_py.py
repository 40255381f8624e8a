"""The pure-Python walk: the whole object graph of a forked child, breadth first, without recursion.

It is the twin of the C walker and works on any CPython; as it writes every object's reference
count, the child ends up with a copy of the heap.
"""

from __future__ import annotations

import gc
import sys
import types
from array import array
from itertools import islice

from . import dump, v8format
from ._shapes import Shape, Shapes
from ._sites import Finder
from .options import DUMP
from .own import dump_head, modules, own_things

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType
    from typing import Any

    from ._shapes import Edges
    from .walker import Order

MAX_FRAMES = 2000  # of one thread: the innermost ones
PROGRESS_EVERY = 16_384  # objects; a power of two

ROOT, MODULES, THREADS, NAMES, UNKNOWN, HOOK = range(6)
_GROUPS = (
    "",
    "(modules)",
    "(threads)",
    "(attribute names)",
    "(unknown holders)",
    "(memwatch hook)",
)


def write_heap(
    order: Order, sink: Callable[[bytes], None], progress: Callable[[str, int, int], None]
) -> dict[str, int]:
    """Walks the heap, then writes it; how many `objects` were seen, of what `heap_bytes`."""
    walk = Walk(order, progress)
    walk.run()
    progress("writing", 0, walk.count)
    parts = [walk.roots(), walk.nodes]
    if order.options.format == DUMP:
        dump.write(parts, walk.strings.table, dump_head(), sink, walk.sites)
    else:
        v8format.write(parts, walk.strings.table, sink)
    return {"objects": walk.count, "heap_bytes": sum(walk.nodes.sizes)}


class Walk:
    """One walk. Nodes of groups, threads and frames come first, then objects as they are found."""

    def __init__(self, order: Order, progress: Callable[[str, int, int], None]) -> None:
        self._order = order
        self._progress = progress
        self.strings = v8format.Strings()
        self.nodes = v8format.Nodes()
        self._shapes = Shapes(self.strings, order.options.strings)
        self._sites = Finder(self.strings) if order.sites else None
        self._made: dict[int, Shape] = {}  # by the address of the class
        self._seen: dict[int, int] = {}  # flat index of the node, by address
        self._objects: list[Any] = []
        self._synthetic: list[tuple[str, int]] = []  # name, size
        self._root_edges: list[
            list[tuple[int, object]]
        ] = []  # label and object, per synthetic node
        self._links: list[list[tuple[int, int]]] = []  # label and ordinal, between synthetic nodes

    @property
    def count(self) -> int:
        """How many objects the graph has."""
        return len(self._objects)

    @property
    def sites(self) -> dump.Sites | None:
        """Where objects were allocated, as far as that was asked for."""
        return None if self._sites is None else self._sites.sites

    def run(self) -> None:
        """Collects the graph."""
        for name in _GROUPS:
            self._add_synthetic(name)
        self._link(ROOT, range(1, len(_GROUPS)))
        self._leave_out_hook()
        self._add_modules()
        self._add_threads()
        self._first = len(self._synthetic)
        for edges in self._root_edges:
            for _, thing in edges:
                self._find(thing)
        self._drain()
        self._leave_out_reached_from_hook()
        self._add_unknown()
        self._add_names()
        self._number()

    def roots(self) -> v8format.Nodes:
        """The nodes of groups, threads and frames, with their edges."""
        part = v8format.Nodes()
        for ordinal, (name, size) in enumerate(self._synthetic):
            edges = [(label, to * v8format.NODE_WIDTH) for label, to in self._links[ordinal]]
            edges += [(label, self._seen[id(to)]) for label, to in self._root_edges[ordinal]]
            part.types.append(v8format.SYNTHETIC)
            part.names.append(self.strings.index(name))
            part.ids.append(ordinal + 1)
            part.sizes.append(size)
            part.edge_counts.append(len(edges))
            part.labels.extend(label for label, _ in edges)
            part.targets.extend(to for _, to in edges)
        return part

    # The roots.

    def _add_synthetic(self, name: str, size: int = 0) -> int:
        self._synthetic.append((name, size))
        self._root_edges.append([])
        self._links.append([])
        return len(self._synthetic) - 1

    def _link(self, parent: int, children: Iterable[int]) -> None:
        start = len(self._links[parent])
        numbers = self._shapes.labels.elements(start + 1 << 16)
        self._links[parent] += [(numbers[start + n], child) for n, child in enumerate(children)]

    def _add_modules(self) -> None:
        """Modules hang on their group and on the root, as the user's roots that readers seek."""
        for name, module in modules():
            if id(module) in self._seen:
                continue
            label = self._shapes.labels.make(name, v8format.PROPERTY)
            self._root_edges[MODULES].append((label, module))
            label = self._shapes.labels.make(name, v8format.SHORTCUT)
            self._root_edges[ROOT].append((label, module))
            if type(module) is types.ModuleType:
                self._shapes.namespaces.add(id(module.__dict__))

    def _add_threads(self) -> None:
        names = self._order.thread_names
        for ident, frame in self._order.frames.items():
            thread = self._add_synthetic(f"thread {names.get(ident, ident)}")
            self._link(THREADS, [thread])
            depth = 0
            top: FrameType | None = frame
            while top is not None and depth < MAX_FRAMES:
                self._link(thread, [self._add_frame(top)])
                top = top.f_back
                depth += 1

    def _add_frame(self, frame: FrameType) -> int:
        code = frame.f_code
        file = code.co_filename.rpartition("/")[2]
        name = getattr(code, "co_qualname", code.co_name)
        size = sys.getsizeof(frame) if sys.version_info < (3, 11) else 0
        node = self._add_synthetic(f"{name} ({file}:{frame.f_lineno})", size)
        self._seen[id(frame)] = node * v8format.NODE_WIDTH
        labels = self._shapes.labels
        edges = self._root_edges[node]
        edges.append((labels["f_code"], code))
        edges.append((labels["f_globals"], frame.f_globals))
        if code.co_flags & 1:  # CO_OPTIMIZED: a function's locals, not a namespace
            edges += [(labels[name], value) for name, value in frame.f_locals.items()]
        else:
            edges.append((labels["f_locals"], frame.f_locals))
        if sys.version_info < (3, 11):
            self._add_rest_of_frame(frame, edges)
        return node

    def _add_rest_of_frame(self, frame: FrameType, edges: list[tuple[int, object]]) -> None:
        """Before 3.11 a frame is an object that also shows what lies on its stack."""
        named = {id(value) for _, value in edges}
        named.update((id(frame.f_back), id(frame.f_builtins), id(frame.f_locals)))
        ref = self._shapes.labels.ref
        edges += [(ref, value) for value in gc.get_referents(frame) if id(value) not in named]

    # What is the hook's own.

    def _leave_out_hook(self) -> None:
        """Whoever refers to a module, class, function or object of the hook refers to one node."""
        own = HOOK * v8format.NODE_WIDTH
        for thing in (*own_things(), self._order.objects, self._order.frames):
            self._seen[id(thing)] = own

    def _leave_out_reached_from_hook(self) -> None:
        own = HOOK * v8format.NODE_WIDTH
        lists = (self._order.objects, self._objects, self._order.frames)
        for table in (*lists, self, self._seen):
            self._seen[id(table)] = own
        left = [t for t in self._order.own if not any(t is known for known in lists)]
        left += own_things()
        seen = self._seen
        kept = []  # addresses stay taken as long as what is there lives
        while left:
            thing = left.pop()
            for referent in gc.get_referents(thing):
                if id(referent) not in seen:
                    seen[id(referent)] = own
                    left.append(referent)
                    kept.append(referent)
        self._kept = kept

    # The walk.

    def _find(self, thing: object) -> None:
        if id(thing) not in self._seen:
            self._seen[id(thing)] = (self._first + len(self._objects)) * v8format.NODE_WIDTH
            self._objects.append(thing)

    def _drain(self) -> None:
        """Visits what was found and not yet visited, until there is no more."""
        # The inner loop of a whole heap: everything it touches is a local name.
        nodes, objects, seen, made = self.nodes, self._objects, self._seen, self._made
        add_type, add_name = nodes.types.append, nodes.names.append
        add_size, add_count = nodes.sizes.append, nodes.edge_counts.append
        add_mark, add_site = nodes.marks.append, nodes.sites.append
        site_of = None if self._sites is None else self._sites.of
        add_labels, add_targets = nodes.labels.extend, nodes.targets.extend
        index_of, width, first = seen.__getitem__, v8format.NODE_WIDTH, self._first
        nothing: Edges = ((), ())
        for thing in islice(objects, len(nodes.types), None):  # the list grows as we go
            cls = type(thing)
            shape = made.get(id(cls))
            if shape is None:
                shape = made[id(cls)] = self._shapes.make(cls)
            try:
                name = shape.name if shape.name_of is None else shape.name_of(thing)
                size = shape.size(thing)
                labels, referents = shape.edges(thing) if shape.edges is not None else nothing
            except Exception:  # an object of C code that answers no question
                name, size, labels, referents = shape.name, 0, (), ()
            add_type(shape.node_type)
            add_name(name)
            add_size(size)
            add_count(len(referents))
            add_mark(shape.mark(thing) if shape.mark is not None else 0)
            if site_of is not None:
                add_site(site_of(thing))
            if referents:
                for referent in referents:
                    if id(referent) not in seen:
                        seen[id(referent)] = (first + len(objects)) * width
                        objects.append(referent)
                add_labels(labels)
                add_targets(map(index_of, map(id, referents)))
            if not len(nodes.types) % PROGRESS_EVERY:
                self._progress("walking", len(nodes.types), len(objects))

    def _add_unknown(self) -> None:
        """What no module and no frame leads to: held by C code, or garbage not yet collected.

        Only what nothing else here holds hangs on the group, so that no path claims what is not
        known.
        """
        first_object, first_edge = len(self._objects), len(self.nodes.targets)
        for thing in self._order.objects:
            self._find(thing)
        self._drain()
        graph = _Rest(self.nodes, first_object, first_edge, self._first)
        label = self._shapes.labels.ref
        classes = [n for n, o in enumerate(self._objects[first_object:]) if type(o) is type]
        for number in graph.entries(classes):
            self._root_edges[UNKNOWN].append((label, self._objects[first_object + number]))

    def _add_names(self) -> None:
        """Strings that only attribute tables hold."""
        label = self._shapes.labels.ref
        for name in list(self._shapes.labels):
            if id(name) not in self._seen:
                self._find(name)
                self._root_edges[NAMES].append((label, name))
        self._drain()

    def _number(self) -> None:
        """Gives the objects their ids, all at once."""
        addresses = array("Q", map(id, self._objects))
        shift, place, mask = v8format.CHUNK_SHIFT, v8format.PLACE_SHIFT, v8format.PLACE_MASK
        bases = self._order.chunks.bases({address >> shift for address in addresses})
        self.nodes.ids.extend(
            [bases[address >> shift] | address >> place & mask for address in addresses]
        )


class _Rest:
    """The part of the graph that was found last: who of it nobody else of it holds.

    Nodes are numbered from 0 here; edges to nodes found before lead out of it.
    """

    def __init__(
        self, nodes: v8format.Nodes, first_object: int, first_edge: int, synthetic: int
    ) -> None:
        offset = first_object + synthetic
        counts = nodes.edge_counts[first_object:]
        targets = [to // v8format.NODE_WIDTH - offset for to in nodes.targets[first_edge:]]
        self._held_by: list[list[int]] = []
        at = 0
        for count in counts:
            self._held_by.append([to for to in targets[at : at + count] if to >= 0])
            at += count

    def entries(self, preferred: list[int]) -> list[int]:
        """The fewest nodes that lead to all: those nobody holds, then one of each ring left.

        Of a ring a `preferred` node is taken, where it has one.
        """
        held = bytearray(len(self._held_by))
        for number, targets in enumerate(self._held_by):
            for to in targets:
                if to != number:
                    held[to] = 1
        entries = [number for number, is_held in enumerate(held) if not is_held]
        reached = bytearray(len(held))
        for number in entries:
            self._reach(number, reached)
        for number in (*preferred, *range(len(reached))):
            if not reached[number]:
                entries.append(number)
                self._reach(number, reached)
        return entries

    def _reach(self, start: int, reached: bytearray) -> None:
        left = [start]
        reached[start] = 1
        while left:
            for to in self._held_by[left.pop()]:
                if not reached[to]:
                    reached[to] = 1
                    left.append(to)
