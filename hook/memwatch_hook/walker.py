"""Which walker turns this process's heap into a snapshot, and what any of them is given."""

from __future__ import annotations

import sys

from . import _walker_py, v8format

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


class Order:
    """What a walk works on; collected in the app just before the fork.

    `objects`: what the collector tracks. `frames`: the top frame of each thread by its ident,
    without the hook's own;
    `thread_names` what the app calls them. `chunks`: the process's numbering of addresses. `own`:
    objects of the hook that the snapshot leaves out.
    """

    def __init__(
        self,
        objects: list[object],
        frames: dict[int, FrameType],
        thread_names: dict[int, str],
        chunks: v8format.ChunkNumbers,
        own: list[object],
    ) -> None:
        self.objects = objects
        self.frames = frames
        self.thread_names = thread_names
        self.chunks = chunks
        self.own = own


def write_heap(
    order: Order, sink: Callable[[bytes], None], progress: Callable[[str, int, int], None]
) -> int:
    """Writes the heap as a `.heapsnapshot` to `sink`; returns how many objects are in it."""
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
