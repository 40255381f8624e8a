"""Where objects were allocated, as tracemalloc tells it: for the pure-Python walker's child.

The C walker reads tracemalloc's table itself (csrc/sites.h); here the interpreter is asked, object
by object, which makes tuples and takes its lock: only in a child, and only where it was wanted.
"""

from __future__ import annotations

import sys

from . import dump

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .v8format import Strings

    Stack = tuple[tuple[str, int], ...]

MAX_PATH_CHARS = 1024  # of a file's name
# In CPython 3.11: the flag of classes whose objects have a dict before them, and what is there.
_MANAGED_DICT, _BEFORE_MANAGED = 1 << 4, 32


def frames_traced() -> int:
    """How many frames of a stack tracemalloc keeps now; 0: it is off.

    The C module alone is asked: the Python one would import a dozen others into the app, and it
    need not be loaded where `-X tracemalloc` switched tracing on.
    """
    try:
        import _tracemalloc
    except ImportError:
        return 0
    return _tracemalloc.get_traceback_limit() if _tracemalloc.is_tracing() else 0


def traceback_of() -> Callable[[object], Stack | None]:
    """What tells an object's stack, the innermost frame first; None: not known."""
    import _tracemalloc

    found: Callable[[object], Stack | None] = getattr(_tracemalloc, "_get_object_traceback")  # noqa: B009 (typed otherwise)
    return found


def traceback_in_child() -> Callable[[object], Stack | None]:
    """The same, for a child of ours.

    CPython 3.11 looks for objects that have attributes at a wrong address; there its own C function
    is asked for the right one.
    """
    usual = traceback_of()
    if sys.version_info[:2] != (3, 11):
        return usual
    try:
        from ctypes import c_uint, c_void_p, py_object, pythonapi

        at_address: Any = pythonapi._PyTraceMalloc_GetTraceback
        at_address.argtypes, at_address.restype = (c_uint, c_void_p), py_object
    except (ImportError, AttributeError, OSError):
        return usual

    def found(thing: object) -> Stack | None:
        if type(thing).__flags__ & _MANAGED_DICT:
            stack: Stack | None = at_address(0, id(thing) - _BEFORE_MANAGED)
            return stack
        return usual(thing)

    return found


class Finder:
    """Numbers the stacks that objects were allocated by, as a dump wants them."""

    def __init__(self, strings: Strings) -> None:
        self.sites = dump.Sites()
        self._strings = strings
        self._traceback_of = traceback_in_child()
        self._numbers: dict[Stack, int] = {}
        self._full = False

    def of(self, thing: object) -> int:
        """The number of an object's site; 0: not known, or one too many."""
        stack = self._traceback_of(thing)
        if not stack or (len(stack) == 1 and stack[0][1] == 0):
            return 0
        known = self._numbers.get(stack)
        if known is None:
            known = 0 if self._full else self.sites.add([self._frame(*frame) for frame in stack])
            if not known:
                self._full = True
                self.sites.left_out += 1
                return 0
            self._numbers[stack] = known
        return known

    def _frame(self, file: str, line: int) -> tuple[int, int, int]:
        file, line = file[:MAX_PATH_CHARS], line & dump.MAX_LINE
        name = f"{file.rpartition('/')[2]}:{line}"
        return self._strings.index(name), self._strings.index(file), line
