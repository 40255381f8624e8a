"""Labels of edges: under which name or number an object is held by another."""

from __future__ import annotations

from . import v8format

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_KEY_CHARS = 64  # a dict key that is shown by name
MAX_KEYS = 200_000  # names of keys in one snapshot: where there are more, they are data


class Labels(dict):  # type: ignore[type-arg]
    """Labels by name: a property where the name is a short identifier, else `[key]`: may be data.

    As a dict it holds the names shown so far, and so the strings themselves: attribute names are
    objects of the heap, too.
    """

    def __init__(self, strings: v8format.Strings) -> None:
        super().__init__()
        self._strings = strings
        self.hidden = self.make("[key]", v8format.PROPERTY)
        self.key = self.make("key", v8format.INTERNAL)
        self.ref = self.make("ref", v8format.INTERNAL)
        self.cls = self.make("__class__", v8format.INTERNAL)
        self.namespace = self.make("__dict__", v8format.INTERNAL)

    def make(self, name: str, kind: int) -> int:
        """The label of an edge with a name."""
        return self._strings.index(name) << v8format.LABEL_SHIFT | kind

    def elements(self, count: int) -> range:
        """The labels 0, 1, … of a sequence."""
        step = 1 << v8format.LABEL_SHIFT
        return range(v8format.ELEMENT, v8format.ELEMENT + count * step, step)

    def of_keys(self, keys: Iterable[object]) -> list[int]:
        """The labels of a dict's keys; nothing but plain strings is hashed."""
        if set(map(type, keys)) <= {str}:
            return list(map(self.__getitem__, keys))
        return [self[key] if type(key) is str else self.hidden for key in keys]

    def __missing__(self, key: str) -> int:
        if len(key) > MAX_KEY_CHARS or not key.isidentifier() or len(self) >= MAX_KEYS:
            return self.hidden
        label = self[key] = self.make(key, v8format.PROPERTY)
        return label
