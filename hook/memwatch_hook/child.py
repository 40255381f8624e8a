"""The forked child that walks the heap: sheds what it inherited, and sends what it finds.

It owns nothing of the app: no descriptor but its two, no signal handler, no exit handler, no way
back.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import gc
import json
import os
import sys
import time

from . import walker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import NoReturn

    from .outlet import File, Frames

NICE = 10  # it takes seconds
# How it ends is said on the status pipe. The exit status is 0 unless not even that was to be had: a
# process manager that waits for any child logs other ones, and gunicorn's takes 3 and 4 as "give
# up".
DONE, BROKEN = 0, 70


def run(
    order: walker.Order,
    outlet: Callable[[], File | Frames],
    kept: set[int],
    status: int,
    deadline_seconds: int,
) -> NoReturn:
    """Everything the child does, and its end. Never returns, never raises.

    `outlet` makes what takes the snapshot; `kept` are the descriptors it needs.
    """
    code = BROKEN
    try:
        _shed({*kept, status}, deadline_seconds)
        _report(status, _life(order, outlet))
        code = DONE
    except BaseException:  # whatever it is, it must not reach the app's code
        pass
    finally:
        os._exit(code)


def _life(order: walker.Order, outlet: Callable[[], File | Frames]) -> dict[str, object]:
    """Walks and writes; what came of it."""
    try:
        out = outlet()
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            order.own += [frame, *frame.f_locals.values()]
            frame = frame.f_back
        facts = walker.write_heap(order, out.data, out.progress)
        out.finish()
    except MemoryError:
        return {"failure": "out of memory"}
    except Exception as cause:
        return {"failure": f"{type(cause).__name__}: {cause}"[:300]}
    return {**_cost(), **facts, "size_bytes": out.size, "chunks": order.chunks.known()}


def _shed(keep: set[int], deadline_seconds: int) -> None:
    """Lets go of what the child inherited."""
    gc.disable()
    _signal.set_wakeup_fd(-1)
    for number in _signal.valid_signals():
        if callable(_signal.getsignal(number)):
            _signal.signal(number, _signal.SIG_DFL)
    _signal.signal(_signal.SIGALRM, _signal.SIG_DFL)
    _signal.signal(_signal.SIGPIPE, _signal.SIG_IGN)
    _signal.alarm(deadline_seconds)
    _close_descriptors(keep)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    try:
        with open("/proc/self/oom_score_adj", "w") as score:
            score.write("1000")
        os.nice(NICE)
    except OSError:
        pass


def _close_descriptors(keep: set[int]) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        if standard not in keep:
            os.dup2(nowhere, standard)
    # Listing what is open beats closing a million numbers where the limit is high.
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        if descriptor > 2 and descriptor not in keep:
            try:
                os.close(descriptor)
            except OSError:
                pass


def _cost() -> dict[str, object]:
    extra = None
    try:
        with open("/proc/self/smaps_rollup") as lines:
            for line in lines:
                if line.startswith("Private_Dirty:"):
                    extra = int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return {"cpu_millis": time.process_time() * 1000, "extra_memory_bytes": extra}


def _report(status: int, facts: dict[str, object]) -> None:
    os.write(status, json.dumps(facts).encode() + b"\n")
