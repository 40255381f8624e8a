"""Which walker turns this process's heap into a snapshot, and what any of them is given."""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module

from . import _marks, cgroup, layouts, own, v8format
from ._sites import traceback_of
from .options import DUMP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

    from .options import HeapOptions


ORDER = 2  # of what the C walker is given: it may have been found in another folder


class Order:
    """What a walk works on; collected in the app just before the fork.

    `objects`: what the collector tracks. `frames`: the top frame of each thread by its ident,
    without the hook's own;
    `thread_names` what the app calls them. `chunks`: the process's numbering of addresses. `own`:
    objects of the hook that the snapshot leaves out. `options`: what was asked for. `sites`:
    say where objects were allocated.
    """

    def __init__(
        self,
        objects: list[object],
        frames: dict[int, FrameType],
        thread_names: dict[int, str],
        chunks: v8format.ChunkNumbers,
        own: list[object],
        options: HeapOptions,
        sites: bool = False,
    ) -> None:
        self.options = options
        self.sites = sites
        self.objects = objects
        self.frames = frames
        self.thread_names = thread_names
        self.chunks = chunks
        self.own = own


def write_heap(
    order: Order, sink: Callable[[bytes], None], progress: Callable[[str, int, int], None]
) -> dict[str, int]:
    """Writes the heap in the order's format to `sink`; how many `objects` of what `heap_bytes`."""
    from . import _walker_py  # loaded below, where it is the one

    return _walker_py.write_heap(order, sink, progress)


def thread_names() -> dict[int, str]:
    """Names of threads by ident, as far as the app has loaded `threading`."""
    module = sys.modules.get("threading")
    active = getattr(module, "_active", None)
    if type(active) is not dict:
        return {}
    found = {}
    for ident, thread in list(active.items()):
        name = getattr(thread, "__dict__", {}).get("_name")
        if type(ident) is int and type(name) is str:
            found[ident] = f"{ident} {name[:64]}"
    return found


def kind() -> str:
    """Which walker this process uses: `c` or `python`, whose child copies the heap."""
    return "python" if IN_C is None else "c"


class Target:
    """What a walk by the C walker writes to: two descriptors, and how large a dump may grow.

    `limit` 0: a `.heapsnapshot` onto a connection. `may_shield`: large payloads may be left out of
    the clone. `max_extra`: bytes that the walk, and what the app writes meanwhile, may take.
    """

    def __init__(
        self, output: int, status: int, limit: int, may_shield: bool, max_extra: int
    ) -> None:
        self.may_shield = may_shield
        self.max_extra = max_extra
        self.output = output
        self.status = status
        self.limit = limit


def clone(
    frames: dict[int, FrameType],
    chunks: v8format.ChunkNumbers,
    target: Target,
    options: HeapOptions,
    deadline_seconds: int,
) -> tuple[int, float, float, int]:
    """Clones the process with the C walker.

    The child's pid, to be waited for with __WALL, the clone's milliseconds, those of them on a
    processor, and how many bytes of large payloads were left out of it. `frames` as in `Order`.

    Raises:
        OSError: the process may not be cloned.
    """
    assert IN_C is not None
    order = _c_order(frames, chunks, target, options, deadline_seconds)
    try:
        cloned: tuple[int, float, float, int] = IN_C.walk(*order)
    finally:
        _let_go(order)
    return cloned


def walk_here(
    frames: dict[int, FrameType],
    chunks: v8format.ChunkNumbers,
    target: Target,
    options: HeapOptions,
    limit_millis: float,
) -> tuple[dict[str, Any], float]:
    """Walks in the app itself, which waits: what a child would have said, and the milliseconds.

    Raises:
        RuntimeError: the walk gave up, by the limit or for another reason.
    """
    assert IN_C is not None
    order = _c_order(frames, chunks, target, options, 0)
    try:
        objects, size, heap, numbered, millis = IN_C.walk_here(limit_millis, *order)
    finally:
        _let_go(order)
    facts = {"objects": objects, "size_bytes": size, "heap_bytes": heap, "chunks": numbered}
    return facts, millis


def _c_order(
    frames: dict[int, FrameType],
    chunks: v8format.ChunkNumbers,
    target: Target,
    options: HeapOptions,
    deadline_seconds: int,
) -> tuple[Any, ...]:
    """The arguments of the C walker, as parse_order in csrc/module.c reads them."""
    names = thread_names()
    threads = [(f"thread {names.get(ident, ident)}", frame) for ident, frame in frames.items()]
    ours, maybe_own, known = own.own_things(), [], chunks.known()
    # From our caller on: our own frame is gone when the walk begins, and would hold itself.
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        maybe_own += [frame, *frame.f_locals.values()]
        frame = frame.f_back
    lists = (own.modules(), threads, ours, maybe_own, known)
    memory = cgroup.Memory()
    levels = [(one.usage, one.stat, one.reclaimable, one.limit) for one in memory.levels]
    ours += [frames, names, *lists, memory, levels, options, target]
    # `__sizeof__` makes ints, and their memory must not come from malloc: see csrc/child.h.
    may_call_sizeof = not os.environ.get("PYTHONMALLOC", "").startswith("malloc")
    is_dump = options.format == DUMP
    return (
        (
            target.output,
            target.status,
            is_dump,
            options.strings,
            target.limit,
            target.may_shield,
        ),
        lists,
        v8format.header(),
        json.dumps({**own.dump_head(), "walker": "c"}, separators=(",", ":")),
        _marks.SALT,
        may_call_sizeof,
        (memory.keep, levels, deadline_seconds, target.max_extra),
    )


def _let_go(order: tuple[Any, ...]) -> None:
    """Empties the lists, which hold themselves: the collector might find them only much later."""
    for one in order[1]:
        one.clear()


def use_sites() -> bool:
    """Lets the next clone say where objects were allocated; whether it can.

    It can where the C walker finds in tracemalloc's table what tracemalloc says of a new object.
    """
    use = getattr(IN_C, "use_sites", None)  # not in one of an older build
    probe = _SitesProbe()
    stack = traceback_of()(probe)
    return bool(use is not None and stack and use(probe, *stack[0]))


class _SitesProbe:
    """An object of which tracemalloc must tell where it was made; without a dict, as on 3.11."""

    __slots__ = ("probe",)


class _Probe:
    """An object that the C walker must be able to read before it is trusted."""

    def __init__(self) -> None:
        self.probe = None


def _probe_frame(probe: None) -> FrameType:
    return sys._getframe()


def _load_c() -> tuple[Any | None, str]:
    """The C walker, if there is one for just this interpreter, else why the twin does it.

    `MEMWATCH_WALKER=py` in the environment asks for the twin.
    """
    if os.environ.get("MEMWATCH_WALKER") == "py":
        return None, "MEMWATCH_WALKER asks for it"
    free_threaded = "t" in getattr(sys, "abiflags", "")
    try:
        module = import_module("memwatch_hook._walker")
    except ImportError:
        why = layouts.refusal(sys.hexversion, sys.hexversion, free_threaded)
        return None, why or "the C walker was not built for this interpreter"
    if getattr(module, "ORDER", None) != ORDER:
        return None, "the C walker is of another version of the hook"
    why = layouts.refusal(module.BUILT_FOR, sys.hexversion, free_threaded)
    if why is not None:
        return None, why
    if not module.check(_Probe(), _probe_frame(None)):
        return None, "the C walker does not find its way in this interpreter"
    return module, ""


IN_C, WHY_NOT_C = _load_c()
if IN_C is None:  # now, on the app's main thread; otherwise it would only take memory
    import_module("memwatch_hook._walker_py")
