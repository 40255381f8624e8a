"""Records one profile from start to end: which kind is a table, the thread and the way out are not.

Whoever records owns a `Control`; at most one recording runs in a process, whoever asked for it.
"""

from __future__ import annotations

import os
import time
from _thread import allocate_lock
from select import POLLIN

from memwatch_hook import register_at_fork, wire
from memwatch_hook.originals import poll

from .allocations import Allocations
from .base import Kind
from .native import Native
from .types import Types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from .order import Order

LOOK_MILLIS = 250  # how often a running recording is looked after

KINDS: Mapping[str, type[Kind]] = {
    "types": Types,
    "allocations": Allocations,
    "native": Native,
}


class _Turn:
    """At most one recording in a process: both of tracemalloc and memray there is one."""

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._kind: Kind | None = None

    def claim(self) -> bool:
        """Whether a recording may be made now; who may, calls `release` at its end."""
        return self._lock.acquire(False)

    def remember(self, kind: Kind) -> None:
        """Notes what runs, for a forked child to put right."""
        self._kind = kind

    def release(self) -> None:
        """The recording is over."""
        self._kind = None
        if self._lock.locked():
            self._lock.release()

    def forget(self) -> None:
        """In a forked child of the app: puts it back as it was before the recording."""
        kind, self._kind = self._kind, None
        self._lock = allocate_lock()
        if kind is not None:
            kind.forget()


turn = _Turn()


class Control:
    """Ends a recording from another thread: `stop` keeps what was recorded, `abort` does not."""

    def __init__(self) -> None:
        self.aborted = False
        self.stopped = False
        self._reader, self._writer = os.pipe()
        self._closed = allocate_lock()

    def stop(self) -> None:
        """Ends it before its time."""
        self.stopped = True
        self._wake()

    def abort(self) -> None:
        """Gives it up."""
        self.aborted = True
        self._wake()

    def wait(self, seconds: float) -> None:
        """Waits so long, or until somebody ends it."""
        waiting = poll()
        waiting.register(self._reader, POLLIN)
        waiting.poll(max(0, seconds) * 1000)

    def close(self) -> None:
        """Lets its descriptors go; once."""
        if self._closed.acquire(False):
            os.close(self._reader)
            os.close(self._writer)

    def _wake(self) -> None:
        if not self._closed.locked():
            try:
                os.write(self._writer, b".")
            except OSError:
                pass


def new(order: Order) -> Kind:
    """The recording that was asked for.

    Raises:
        RequestError: there is no such kind.
    """
    kind = KINDS.get(order.kind)
    if kind is None:
        raise wire.RequestError(
            wire.UNSUPPORTED,
            f"cannot record a profile of kind '{order.kind[:50]}': "
            f"this hook records {', '.join(KINDS)}",
        )
    return kind(order)


def record(
    kind: Kind,
    control: Control,
    sink: Callable[[bytes], None],
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Records to its end, and gives the artifact to `sink`; the facts as the wire tells them.

    `progress` hears of the milliseconds that have passed, and of how many there will be.

    Raises:
        RequestError: it cannot be recorded, or was given up.
    """
    cpu = time.thread_time()
    size = 0
    try:
        kind.start()
        _wait(kind, control, progress)
        for piece in _grouped(kind.finish()):
            size += len(piece)
            sink(piece)
            if control.aborted:
                raise _given_up()
    except MemoryError:
        raise wire.RequestError(wire.FAILED, "cannot record a profile: out of memory")
    finally:
        kind.undo()
    return {
        "size_bytes": size,
        "content_type": kind.content_type,
        "extension": kind.extension,
        "pause_millis": round(kind.pause_millis, 3),
        "cpu_millis": round((time.thread_time() - cpu) * 1000, 3),
        "extra_memory_bytes": kind.extra_memory_bytes,
        "notes": kind.notes,
    }


def _wait(kind: Kind, control: Control, progress: Callable[[int, int], None]) -> None:
    """Waits for the end of the recording, however it comes."""
    began, seconds = time.monotonic(), kind.order.seconds
    while True:
        passed = time.monotonic() - began
        progress(int(passed * 1000), int(seconds * 1000))
        if control.aborted:
            raise _given_up()
        if passed >= seconds or control.stopped:
            break
        control.wait(min(LOOK_MILLIS / 1000, seconds - passed))
        why = kind.look()
        if why:
            kind.notes.append(f"ended after {time.monotonic() - began:.1f} s: {why}")
            return
    if control.stopped:
        kind.notes.append(f"stopped after {passed:.1f} s")


def _given_up() -> wire.RequestError:
    return wire.RequestError(wire.CANCELLED, "cannot finish the recording: it was given up")


def _grouped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of some size: JSON comes in crumbs."""
    group = bytearray()
    for piece in pieces:
        group += piece
        if len(group) >= wire.DATA_BYTES:
            yield bytes(group)
            group.clear()
    if group:
        yield bytes(group)


register_at_fork(turn.forget)
