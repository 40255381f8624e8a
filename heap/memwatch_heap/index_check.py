"""Whether the parts of an index file fit together: what can be told without reading its arrays.

An index of a large heap must open in milliseconds, so no array is looked through. What is wrong
inside one is met by the query that comes across it (`told_as_damage`), or by `verify`.
"""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from memwatch_heap.errors import IndexFileError

_NODES = [
    "node_type",
    "node_name",
    "node_id",
    "sizes",
    "retained",
    "distance",
    "dominator",
    "class_of",
    "path_edge",
    "by_id",
]
_NODES_AND_END = ("first_edge", "in_start", "child_start")
_EDGES = ("edge_type", "edge_name", "edge_to")
_PLACES = ("place_node", "place_script", "place_line", "place_column")
_SOME = ("in_edge", "child", "class_start", "class_node", "by_retained", "by_shallow")
_TEXT = ("text", "closing")
_PACKED = ("classes", "scopes", "duplicates")
_LISTS = ("node_types", "edge_types", "class_names", "class_keys")

# What a query meets where a number leads nowhere or packed rows are none.
_DAMAGE = (
    IndexError,
    ValueError,
    TypeError,
    OverflowError,
    KeyError,
    AttributeError,
    RecursionError,
)

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")


class _HasFile(Protocol):
    file: str


_Self = TypeVar("_Self", bound=_HasFile)


def check(path: str, arrays: Mapping[str, NDArray[Any]], meta: Any) -> None:
    """Refuses arrays that are missing, of other numbers, or of lengths that contradict.

    Raises:
        IndexFileError: they do.
    """
    names = (*_NODES, *_NODES_AND_END, *_EDGES, *_PLACES, *_SOME, *_TEXT, *_PACKED)
    for name in names:
        if name not in arrays or arrays[name].dtype.kind not in "iu":
            raise IndexFileError(path, f"it has no array of whole numbers '{name}'")
    for name in ("text", *_PACKED):
        if arrays[name].dtype != np.uint8:
            raise IndexFileError(path, f"its '{name}' is not of bytes")
    if not isinstance(meta, dict) or not all(isinstance(meta.get(key), list) for key in _LISTS):
        raise IndexFileError(path, f"its head lacks one of {', '.join(_LISTS)}")
    nodes, edges = len(arrays["node_id"]), len(arrays["edge_to"])
    wanted = dict.fromkeys(_NODES, nodes) | dict.fromkeys(_NODES_AND_END, nodes + 1)
    wanted |= dict.fromkeys(_EDGES, edges) | dict.fromkeys(_PLACES, len(arrays["place_node"]))
    wanted["class_start"] = len(meta["class_names"]) + 1
    for name, count in wanted.items():
        if len(arrays[name]) != count:
            raise IndexFileError(path, f"'{name}' has {len(arrays[name])} entries, not {count}")
    root = meta.get("root")
    if not isinstance(root, int) or not 0 <= root < nodes:
        raise IndexFileError(path, f"its root {root!r:.40} is no node")


def told_as_damage(
    query: Callable[Concatenate[_Self, _Arguments], _Answer],
) -> Callable[Concatenate[_Self, _Arguments], _Answer]:
    """Has a query tell a number that leads nowhere as what it is: a damaged file."""

    @wraps(query)
    def told(self: _Self, /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Answer:
        try:
            return query(self, *args, **kwargs)
        except _DAMAGE as problem:
            raise IndexFileError(self.file, f"it contradicts itself ({problem})") from problem

    return told
