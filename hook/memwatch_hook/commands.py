"""The commands that a hook answers at once: info, stats, gc; the others are artifact kinds."""

from __future__ import annotations

import gc
import os
import sys

from . import classes, options, place, walker, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VERSION = "0.1.0"
COMMANDS = ("info", "stats", "gc", "heap", "metrics", "profile")

MAX_ARGV_CHARS = 512  # of argv in `info`: it may hold anything
MAX_TYPES = 300  # rows of `stats`: they must fit into one JSON frame
MAX_METRICS_BYTES = 40 << 10  # of one page of `metrics`, which must fit into one JSON frame
# Counting the collector's objects takes about 10 ms a million: beyond this it is done only when
# types are asked for.
MAX_CHEAP_BLOCKS = 1_000_000


def hello() -> dict[str, Any]:
    """The fields of HELLO."""
    return {
        "protocol": wire.PROTOCOL,
        "hook_version": VERSION,
        "runtime": place.RUNTIME,
        "runtime_version": "{}.{}.{}".format(*sys.version_info[:3]),
        "pid": os.getpid(),
        "start_ticks": place.start_ticks() or 0,
        "service": os.environ.get("MEMWATCH_SERVICE_NAME", ""),
        "commands": list(COMMANDS),
        "formats": list(options.FORMATS),
    }


def answer(request: wire.Request) -> dict[str, Any]:
    """The result of one of the quick commands.

    Raises:
        RequestError: the command is unknown, or an option is not what it should be.
    """
    if request.command == "info":
        return info()
    if request.command == "stats":
        return stats(_types_wanted(request.options))
    if request.command == "gc":
        return {"collected": gc.collect()}
    if request.command == "metrics":
        return metrics(request.options)
    raise wire.RequestError(
        wire.UNKNOWN_COMMAND,
        f"cannot run command '{request.command[:50]}': "
        f"this hook (version {VERSION}) knows {', '.join(COMMANDS)}",
    )


def info() -> dict[str, Any]:
    """Who this process is."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    return {
        **hello(),
        "argv": _cut(getattr(sys, "argv", []), MAX_ARGV_CHARS),
        "main": str(main)[:MAX_ARGV_CHARS] if main else "",
        "started_millis": place.start_millis(),
        "walker": walker.kind(),
        "walker_reason": walker.WHY_NOT_C,
    }


def stats(types: int) -> dict[str, Any]:
    """What the interpreter knows of its own memory; `types` is how many rows of types to list."""
    blocks = sys.getallocatedblocks()
    counted = gc.get_objects() if types or blocks < MAX_CHEAP_BLOCKS else None
    return {
        "gc": [
            {**generation, "count": count}
            for generation, count in zip(gc.get_stats(), gc.get_count())  # noqa: B905 (Python 3.9)
        ],
        "gc_objects": None if counted is None else len(counted),
        "allocated_blocks": blocks,
        "tracemalloc": _tracemalloc(),
        "types": _by_type(counted, types) if counted and types else [],
    }


def metrics(options: dict[str, Any]) -> dict[str, Any]:
    """One page of what the app has told through `memwatch_hook.metrics`."""
    offset = options.get("offset", 0)
    if type(offset) is not int or offset < 0:
        raise wire.RequestError(
            wire.BAD_REQUEST, "cannot tell metrics: 'offset' is a whole number from 0"
        )
    module = sys.modules.get("memwatch_hook.metrics")  # an app without them pays nothing
    if module is None:
        return {"dropped": 0, "families": [], "next": None}
    page: dict[str, Any] = module.store.page(offset, MAX_METRICS_BYTES)
    return page


def _types_wanted(options: dict[str, Any]) -> int:
    wanted = options.get("types", 0)
    if type(wanted) is not int or not 0 <= wanted <= MAX_TYPES:
        raise wire.RequestError(
            wire.BAD_REQUEST, f"cannot list types: 'types' is a number from 0 to {MAX_TYPES}"
        )
    return wanted


def _tracemalloc() -> dict[str, int] | None:
    # Only if the app has loaded it: importing it for an answer would be a change.
    module = sys.modules.get("tracemalloc")
    if module is None or not module.is_tracing():
        return None
    current, peak = module.get_traced_memory()
    return {"current_bytes": current, "peak_bytes": peak, "frames": module.get_traceback_limit()}


def _by_type(objects: list[object], limit: int) -> list[dict[str, Any]]:
    rows: dict[int, list[Any]] = {}
    for thing in objects:
        cls = type(thing)
        row = rows.get(id(cls))
        if row is None:
            row = rows[id(cls)] = [cls, 0, 0, classes.sizer(cls)]
        row[1] += 1
        try:
            row[2] += row[3](thing)
        except Exception:
            pass
    largest = sorted(rows.values(), key=lambda row: row[2], reverse=True)[:limit]
    return [
        {"name": classes.class_name(row[0]), "count": row[1], "size_bytes": row[2]}
        for row in largest
    ]


def _cut(words: list[str], limit: int) -> list[str]:
    """The first words, `limit` characters in all."""
    kept = []
    for word in words:
        if limit <= 0:
            break
        kept.append(str(word)[:limit])
        limit -= len(kept[-1])
    return kept
