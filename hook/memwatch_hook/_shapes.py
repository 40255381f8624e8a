"""What the objects of each class refer to, under which names: what the pure-Python walk goes by.

`edges(thing)` gives labels and referents, equally many and in the same order. It gives only what
the object really holds (never a temporary made by asking) and runs no code of the app: C
descriptors only.
"""

from __future__ import annotations

import gc
import sys
import types
from _collections import deque  # type: ignore[import-not-found]
from itertools import repeat

from . import v8format
from ._labels import Labels
from ._marks import MARKS
from .classes import HAVE_GC, HEAP_TYPE, class_name, sizer, type_dict, type_flags, type_mro

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    Edges = tuple[Iterable[int], Sequence[object]]
    Getter = Callable[[Any], Any]

_get_referents = gc.get_referents
_GETSET = types.GetSetDescriptorType
_MEMBER = types.MemberDescriptorType
_NAMESPACE = (_GETSET, _MEMBER)
# What shows a frame whose locals have names, by class.
_FRAME_OF: dict[int, Getter] = {id(types.FrameType): lambda frame: frame}
if sys.version_info >= (3, 11):  # before, the frame is an object of its own
    _FRAME_OF[id(types.GeneratorType)] = types.GeneratorType.__dict__["gi_frame"].__get__
    _FRAME_OF[id(types.CoroutineType)] = types.CoroutineType.__dict__["cr_frame"].__get__
    _FRAME_OF[id(types.AsyncGeneratorType)] = types.AsyncGeneratorType.__dict__["ag_frame"].__get__
_NODE_TYPES = {
    id(str): v8format.STRING,
    id(int): v8format.NUMBER,
    id(float): v8format.NUMBER,
    id(complex): v8format.NUMBER,
    id(bool): v8format.NUMBER,
    id(types.CodeType): v8format.CODE,
    id(types.FunctionType): v8format.CLOSURE,
}
# Exact types whose objects hold nothing: half of a heap.
_ATOMS = frozenset(
    map(id, (str, bytes, bytearray, int, float, complex, bool, type(None), type(...)))
)
_FUNCTION_PARTS = ["__code__", "__defaults__", "__kwdefaults__", "__name__", "__qualname__"]
if sys.version_info >= (3, 14):  # members before it, or not there
    _FUNCTION_PARTS += ["__doc__", "__module__", "__annotate__"]
# Getters that answer with what is held, of classes that have no member descriptor for it.
_GETTERS = {
    id(types.FunctionType): tuple(_FUNCTION_PARTS),
    id(types.CellType): ("cell_contents",),
}
# What a code object holds: it is not the collector's, so nothing else tells. From 3.11 on only what
# it keeps as such: asking for the rest makes copies, which stay.
_CODE_PARTS = ["co_consts", "co_names", "co_filename", "co_name", "co_linetable"]
if sys.version_info >= (3, 11):
    _CODE_PARTS += ["co_qualname", "co_exceptiontable"]
else:
    _CODE_PARTS += ["co_varnames", "co_freevars", "co_cellvars", "co_code", "co_lnotab"]
# References to a dict that was made by asking: its object's, ours, and the one of counting them.
_FRESH_REFERENCES = 3
_TYPE_PARTS = ("__mro__", "__bases__", "__base__")
_SEQUENCES = (list, tuple, deque, set, frozenset)


class Shape:
    """What the walk knows of a class.

    `name` is a string's number, `name_of` gives it where each object has its own; `edges` is None
    where the objects hold nothing, `mark` where they are no plain values.
    """

    __slots__ = ("edges", "mark", "name", "name_of", "node_type", "size")

    def __init__(
        self,
        node_type: int,
        name: int,
        name_of: Callable[[Any], int] | None,
        size: Getter,
        edges: Callable[[Any], Edges] | None,
        mark: Callable[[Any], int] | None,
    ) -> None:
        self.node_type = node_type
        self.name = name
        self.name_of = name_of
        self.size = size
        self.edges = edges
        self.mark = mark


class Shapes:
    """Makes the shapes of classes as the walk meets them."""

    def __init__(self, strings: v8format.Strings, shown_chars: int) -> None:
        """`shown_chars`: of each str value; 0 shows none."""
        self._strings = strings
        self._shown_chars = shown_chars
        self.labels = Labels(strings)
        # Dicts whose keys are attribute names, which the whole process shares: not held one by one.
        self.namespaces: set[int] = set()
        self._cells: dict[
            int, tuple[str, ...]
        ] = {}  # closures by address: the names of their cells

    def make(self, cls: type) -> Shape:
        """The shape of a class."""
        return Shape(
            _NODE_TYPES.get(id(cls), v8format.OBJECT),
            self._strings.index(class_name(cls)),
            self._name_of(cls),
            sizer(cls),
            self._edges_of(cls),
            MARKS.get(id(cls)),
        )

    def _name_of(self, cls: type) -> Callable[[Any], int] | None:
        if cls is types.FunctionType:
            return self._function_name
        if cls is str and self._shown_chars:
            return self._value
        return self._code_name if cls is types.CodeType else None

    def _function_name(self, function: types.FunctionType) -> int:
        module, name = function.__module__, function.__qualname__
        return self._strings.index(f"{module}.{name}" if type(module) is str else name)

    def _value(self, text: str) -> int:
        return self._strings.index(text[: self._shown_chars])

    def _code_name(self, code: types.CodeType) -> int:
        name = getattr(code, "co_qualname", code.co_name)
        return self._strings.index(f"{name} ({code.co_filename}:{code.co_firstlineno})")

    def _edges_of(self, cls: type) -> Callable[[Any], Edges] | None:
        if id(cls) in _ATOMS:
            return None
        direct = {
            id(dict): self._dict,
            id(list): self._list,
            id(tuple): self._tuple,
            id(set): self._set,
            id(frozenset): self._set,
            id(types.CodeType): self._code,
        }.get(id(cls))
        if direct is not None:
            return direct  # type: ignore[return-value]
        bases = type_mro(cls)
        if any(base is type for base in bases):
            return self._type
        if not type_flags(cls) & HAVE_GC:
            return self._untracked(cls)
        general = self._general(cls)
        if cls is types.FunctionType:
            return self._function(general)
        namespace_of = _namespace_getter(cls)
        if namespace_of is not None and _is_plain(bases):
            return self._instance(cls, namespace_of, general)
        return general

    def _list(self, thing: list[object]) -> Edges:
        return self.labels.elements(len(thing)), thing

    def _tuple(self, thing: tuple[object, ...]) -> Edges:
        names = self._cells.pop(id(thing), None) if self._cells else None
        if names is not None and len(names) == len(thing):
            return [self.labels[name] for name in names], thing
        return self.labels.elements(len(thing)), thing

    def _set(self, thing: set[object]) -> Edges:
        return self.labels.elements(len(thing)), list(thing)

    def _dict(self, thing: dict[object, object]) -> Edges:
        labels = self.labels.of_keys(thing)
        referents = list(thing.values())
        if id(thing) in self.namespaces:
            self.namespaces.discard(id(thing))
            if self.labels.hidden not in labels:
                return labels, referents
        labels.extend(repeat(self.labels.key, len(referents)))
        referents.extend(thing)
        return labels, referents

    def _code(self, thing: types.CodeType) -> Edges:
        parts = ((self.labels[name], lambda code, n=name: getattr(code, n)) for name in _CODE_PARTS)
        return _held(thing, parts)

    def _type(self, thing: type) -> Edges:
        # `__dict__` of a type is a proxy made on the spot; what is behind it is the type's own.
        behind = _get_referents(type_dict(thing))
        namespace = behind[0] if behind else None
        self.namespaces.add(id(namespace))
        known = {id(namespace): self.labels.namespace, id(type(thing)): self.labels.cls}
        parts = [type.__dict__[name].__get__(thing) for name in _TYPE_PARTS]
        for name, part in zip(_TYPE_PARTS, parts):
            known.setdefault(id(part), self.labels[name])
        referents = _get_referents(thing)
        if not type_flags(thing) & HEAP_TYPE:  # static types are not the collector's
            referents = [part for part in (namespace, *parts) if part is not None]
        return self._labelled(referents, known)

    def _function(self, general: Callable[[Any], Edges]) -> Callable[[Any], Edges]:
        def edges(thing: types.FunctionType) -> Edges:
            if thing.__closure__:
                self._cells[id(thing.__closure__)] = thing.__code__.co_freevars
            return general(thing)

        return edges

    def _instance(
        self, cls: type, namespace_of: Getter, general: Callable[[Any], Edges]
    ) -> Callable[[Any], Edges]:
        """Objects of a plain class: a dict, or values in the object, where asking makes a dict."""
        labels = self.labels
        own_dict = [labels.namespace, labels.cls]

        def edges(thing: object) -> Edges:
            referents = _get_referents(thing)
            namespace = namespace_of(thing)
            if len(referents) == 2 and referents[0] is namespace and referents[1] is cls:
                self.namespaces.add(id(namespace))
                return own_dict, referents
            if len(referents) != len(namespace) + 1 or referents[-1] is not cls:
                return general(thing)
            named = labels.of_keys(namespace)
            values = list(namespace.values())
            if (
                sys.getrefcount(namespace) > _FRESH_REFERENCES
            ):  # 3.13: there was one beside the values
                self.namespaces.add(id(namespace))
                named.append(labels.namespace)
                values.append(namespace)
            named.append(labels.cls)
            values.append(cls)
            return named, values

        return edges

    def _untracked(self, cls: type) -> Callable[[Any], Edges] | None:
        parts = [(self.labels[name], get) for name, get in _members(cls)]
        heap_type = bool(type_flags(cls) & HEAP_TYPE)
        if not parts and not heap_type:
            return None

        def edges(thing: object) -> Edges:
            labels, referents = _held(thing, parts)
            if heap_type:
                return [*labels, self.labels.cls], [*referents, cls]
            return labels, referents

        return edges

    def _general(self, cls: type) -> Callable[[Any], Edges]:
        """Any collected object: what its `tp_traverse` visits, named where a name can be found."""
        named = [(self.labels[name], get) for name, get in _members(cls)]
        namespace_of = _namespace_getter(cls)
        frame_of = _FRAME_OF.get(id(cls))
        bases = type_mro(cls)
        sequence = next((base for base in _SEQUENCES if any(b is base for b in bases)), None)
        mapping = any(base is dict for base in bases)

        def edges(thing: object) -> Edges:
            referents = _get_referents(thing)
            known = {id(cls): self.labels.cls}
            if sequence is not None:
                items = list(sequence.__iter__(thing))  # type: ignore[arg-type]
                known.update(zip(map(id, items), self.labels.elements(len(items))))
            if mapping:
                self._add_items(thing, referents, known)  # type: ignore[arg-type]
            if namespace_of is not None:
                self._add_namespace(_asked(namespace_of, thing), referents, known)
            if frame_of is not None:
                self._add_locals(_asked(frame_of, thing), known)
            for label, get in named:
                # An address of a temporary is that of no referent: they are all alive.
                known.setdefault(id(_asked(get, thing)), label)
            return self._labelled(referents, known)

        return edges

    def _add_items(
        self, thing: dict[object, object], referents: list[object], known: dict[int, int]
    ) -> None:
        keys = list(dict.keys(thing))
        labels = self.labels.of_keys(keys)
        known.update(zip(map(id, dict.values(thing)), labels))
        # The collector is shown a dict's keys only where they are not all strings.
        visited = set(map(id, referents))
        for key in keys:
            known.setdefault(id(key), self.labels.key)
            if id(key) not in visited:
                referents.append(key)

    def _add_namespace(
        self, namespace: dict[str, object] | None, referents: list[object], known: dict[int, int]
    ) -> None:
        if type(namespace) is not dict:
            return
        if any(referent is namespace for referent in referents):
            self.namespaces.add(id(namespace))
            known[id(namespace)] = self.labels.namespace
        else:
            known.update(zip(map(id, namespace.values()), self.labels.of_keys(namespace)))

    def _add_locals(self, frame: types.FrameType | None, known: dict[int, int]) -> None:
        if (
            frame is not None and frame.f_code.co_flags & 1
        ):  # CO_OPTIMIZED: locals are not a namespace
            for name, value in frame.f_locals.items():
                known.setdefault(id(value), self.labels[name])

    def _labelled(self, referents: list[object], known: dict[int, int]) -> Edges:
        ref = self.labels.ref
        return [known.get(id(referent), ref) for referent in referents], referents


def _is_plain(bases: Sequence[type]) -> bool:
    """Whether a class is made of Python classes only, without slots."""
    return (
        bases[0] is not object
        and all(type_flags(base) & HEAP_TYPE for base in bases[:-1])
        and not _members(bases[0])
    )


def _members(cls: type) -> list[tuple[str, Getter]]:
    """Slots of Python classes and members of C structures, by name."""
    found = []
    for base in type_mro(cls):
        getters = _GETTERS.get(id(base), ())
        for name, value in type_dict(base).items():
            if (type(value) is _MEMBER and name != "__dict__") or name in getters:
                found.append((name, value.__get__))
    return found


def _namespace_getter(cls: type) -> Getter | None:
    """What gets the `__dict__` of a class's objects; None: they have none, or the app makes it."""
    for base in type_mro(cls):
        found = type_dict(base).get("__dict__")
        if found is not None:
            return found.__get__ if type(found) in _NAMESPACE else None
    return None


def _asked(get: Getter, thing: object) -> Any:
    try:
        return get(thing)
    except Exception:  # an empty slot or cell
        return None


def _held(thing: object, parts: Iterable[tuple[int, Getter]]) -> Edges:
    """The parts of an object that is not the collector's: asked twice, it gives the same thing."""
    labels, referents = [], []
    for label, get in parts:
        value = _asked(get, thing)
        if value is not None and _asked(get, thing) is value:
            labels.append(label)
            referents.append(value)
    return labels, referents
