"""Turns a heap dump into a `.heapsnapshot`: `python -m memwatch_hook.convert < dump > snapshot`.

An agent runs it as a process of its own, because a dump comes out of a stranger's process: whatever
is wrong with one costs this process, which has little memory, little priority and a deadline. The
last line on standard error says what was converted, as JSON, or why it was not; then the exit
status is 1. Arguments: `--python` (the slow twin instead of the C converter), `--seconds N`.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
import time

from . import dump, v8format

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

ORDER = 2  # of what a converter is given: the C one may be of an older build
SECONDS = 600  # a gigabyte of dump, which is 60 million objects, takes a tenth of it in C
MEMORY_BYTES = (
    512 << 20
)  # of address space, most of it the interpreter's; tables take at most 70 MB
NICE = 10
MAX_JSON_BYTES = 64 << 10  # of the first block, and of the last
MAX_COUNT = (1 << 32) - 1  # of nodes, edges and strings alike: DevTools counts them in 32 bits

_FRONT = len(dump.MAGIC) + 1
_BACK = 4 + len(dump.END_MAGIC)
_BLOCK = 5


class ConvertError(ValueError):
    """A dump that is damaged, or is no dump; `cause` says in what."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause

    def __str__(self) -> str:
        return f"cannot convert the heap dump: {self.cause}"


class Plan:
    """What the two ends of a dump tell: where its streams are, and how much is in them."""

    def __init__(
        self, start: int, end: int, head: dict[str, Any], counts: dict[str, int], has_sites: bool
    ) -> None:
        self.has_sites = has_sites
        self.start = start
        self.end = end
        self.head = head
        self.nodes = counts["nodes"]
        self.edges = counts["edges"]
        self.strings = counts["strings"]
        self.objects = counts["objects"]
        self.self_size = counts["self_size_bytes"]
        self.allocations = counts["allocations"] if has_sites else 0

    @property
    def numbers(self) -> tuple[int, int, int, int, int, bool]:
        """What a converter is told of a dump."""
        return self.start, self.end, self.nodes, self.edges, self.strings, self.has_sites


def convert(file: int, out: int, python: bool = False) -> dict[str, Any]:
    """Converts the dump in one descriptor into another; what was in it.

    Raises:
        ConvertError: it is damaged.
        OSError: `out` takes no more, or `file` cannot be read.
        MemoryError: its tables do not fit.
    """
    plan = read_plan(file)
    run, kind = _converter(python)
    try:
        objects, self_size, written, allocations = run(
            file, out, *plan.numbers, v8format.header_with_traces()
        )
    except ConvertError:
        raise
    except ValueError as problem:
        raise ConvertError(str(problem)) from None
    for what, told, found in (
        ("objects", plan.objects, objects),
        ("bytes in objects", plan.self_size, self_size),
        ("objects with an allocation site", plan.allocations, allocations),
    ):
        if told != found:
            raise ConvertError(f"it has {found} {what}, its end tells of {told}")
    return {
        "converter": kind,
        "head": {name: str(value)[:64] for name, value in list(plan.head.items())[:16]},
        "nodes": plan.nodes,
        "edges": plan.edges,
        "objects": objects,
        "self_size_bytes": self_size,
        "allocations": allocations,
        "dump_bytes": os.fstat(file).st_size,
        "size_bytes": written,
    }


def read_plan(file: int) -> Plan:
    """The first and the last block of a dump.

    Raises:
        ConvertError: these are not those of a dump, or of a version that nobody here knows.
    """
    facts = os.fstat(file)
    if not stat.S_ISREG(facts.st_mode):
        raise ConvertError("it is no file")
    front = os.pread(file, _FRONT, 0)
    if front[:-1] != dump.MAGIC:
        raise ConvertError("it does not begin like one")
    if front[-1] not in (dump.VERSION, dump.SITES_VERSION):
        known = f"{dump.VERSION} and {dump.SITES_VERSION}"
        raise ConvertError(f"its version is {front[-1]}, known are {known}")
    back = os.pread(file, _BACK, max(facts.st_size - _BACK, 0))
    length = int.from_bytes(back[:4], "little")
    end = facts.st_size - _BACK - length - _BLOCK
    if back[4:] != dump.END_MAGIC or end < _FRONT:
        raise ConvertError("it does not end like one: it was cut short")
    head, start = _json(file, _FRONT, dump.HEAD)
    counts, behind = _json(file, end, dump.END)
    if behind != facts.st_size - _BACK or start > end:
        raise ConvertError("its last block is not where its end says")
    has_sites = front[-1] == dump.SITES_VERSION
    return Plan(start, end, head, _counts(counts, has_sites), has_sites)


def _json(file: int, at: int, kind: int) -> tuple[dict[str, Any], int]:
    """A block of JSON, and where it ends."""
    block = os.pread(file, _BLOCK, at)
    length = int.from_bytes(block[1:], "little")
    if len(block) < _BLOCK or block[0] != kind or length > MAX_JSON_BYTES:
        raise ConvertError(f"it has no block {chr(kind)} of up to {MAX_JSON_BYTES} bytes at {at}")
    try:
        found = json.loads(os.pread(file, length, at + _BLOCK))
    except (ValueError, RecursionError):
        raise ConvertError(f"its block {chr(kind)} is no JSON") from None
    if type(found) is not dict:
        raise ConvertError(f"its block {chr(kind)} is no JSON object")
    return found, at + _BLOCK + length


def _counts(found: dict[str, Any], has_sites: bool) -> dict[str, int]:
    names = ["nodes", "edges", "strings", "objects", *(["allocations"] if has_sites else [])]
    for name, limit in {**dict.fromkeys(names, MAX_COUNT), "self_size_bytes": 1 << 60}.items():
        count = found.get(name)
        if type(count) is not int or not 0 <= count <= limit:
            raise ConvertError(f"its end has no count of '{name}' from 0 to {limit}")
    if not found["nodes"] or not found["strings"]:
        raise ConvertError("it has no root")
    return found


def _converter(python: bool) -> tuple[Callable[..., tuple[int, int, int, int]], str]:
    if not python:
        try:
            from . import _convert  # type: ignore[attr-defined]
        except ImportError:
            pass
        else:
            if getattr(_convert, "ORDER", 1) == ORDER:
                return _convert.convert, "c"
    from . import _convert_py

    return _convert_py.convert, "python"


def _bound(seconds: int) -> None:
    """Takes from this process what a damaged dump could make it waste."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, OSError, ValueError):
        pass
    signal.alarm(seconds)
    os.nice(NICE)


def _peak_bytes() -> int:
    try:
        with open("/proc/self/status", "rb") as status:
            for line in status:
                if line.startswith(b"VmHWM:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return 0


def main(arguments: list[str]) -> int:
    """Converts standard input to standard output; the exit status."""
    seconds = (
        int(arguments[arguments.index("--seconds") + 1]) if "--seconds" in arguments else SECONDS
    )
    _bound(seconds)
    try:
        facts = convert(0, 1, "--python" in arguments)
        cost = {"cpu_millis": time.process_time() * 1000, "peak_bytes": _peak_bytes()}
        last_words = json.dumps({**facts, **cost})
        status = 0
    except ConvertError as problem:
        last_words, status = str(problem), 1
    except MemoryError:
        last_words, status = "cannot convert the heap dump: its tables do not fit into memory", 1
    except OSError as problem:
        last_words, status = f"cannot convert the heap dump: {problem.strerror}", 1
    os.write(2, last_words.encode("utf-8", "replace") + b"\n")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
