"""Names and sizes of the app's objects, learned without running one line of the app's code.

A class may define `__hash__`, `__class__`, `__sizeof__` or a metaclass that answers anything: so
types are keyed by `id`, attributes of types are read with `type`'s own descriptors, and only sizes
that C code computes are asked for.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

MAX_NAME_CHARS = 200  # a class's name in a snapshot

GC_HEAD_BYTES = 16
HAVE_GC = 1 << 14
HEAP_TYPE = 1 << 9

_dict_of = type.__dict__["__dict__"].__get__
_mro_of = type.__dict__["__mro__"].__get__
type_flags = type.__dict__["__flags__"].__get__
_module_of = type.__dict__["__module__"].__get__
_qualname_of = type.__dict__["__qualname__"].__get__
_METHOD_DESCRIPTOR = type(str.__sizeof__)


def class_name(cls: type) -> str:
    """`module.Class`, or just the name for builtins; never fails."""
    try:
        module, name = _module_of(cls), _qualname_of(cls)
    except Exception:
        return "?"
    if type(name) is not str:
        return "?"
    if type(module) is str and module != "builtins":
        name = f"{module}.{name}"
    return name[:MAX_NAME_CHARS]


def type_dict(cls: type) -> Mapping[str, Any]:
    """The attributes of a class itself; empty where the class was never made ready."""
    return _dict_of(cls) or {}


def type_mro(cls: type) -> tuple[type, ...]:
    """The bases of a class in order, itself first."""
    return _mro_of(cls) or (cls, object)


def sizer(cls: type) -> Callable[[Any], int]:
    """What measures instances of a class: `sys.getsizeof` unless that runs code of the app."""
    for base in type_mro(cls):
        found = type_dict(base).get("__sizeof__")
        if found is not None:
            return sys.getsizeof if type(found) is _METHOD_DESCRIPTOR else _plain_size
    return _plain_size


def _plain_size(thing: object) -> int:
    return object.__sizeof__(thing) + (GC_HEAD_BYTES if type_flags(type(thing)) & HAVE_GC else 0)
