"""Compiles every kernel into the cache: `python -m memwatch_heap.warm`.

Run it where the package is installed (an image's build): the first analysis then starts at once
instead of compiling for some seconds. It says how long that took.
"""

import sys
import time
from collections.abc import Callable

from memwatch_heap import _backend, _jit, _native

PARTS = (
    "classes", "diff", "distances", "dom", "dominators", "graph", "identification", "interfaces",
    "owners", "paths", "retainers", "shallow", "strings", "tokens", "traces",
)  # fmt: skip


def warm(tell: Callable[[str], None]) -> int:
    """Compiles or loads every kernel; returns how many there are, 0 without numba."""
    if not _backend.available:
        tell("llvmlite is not installed: the plain twins need no compiling")
        return 0
    for part in PARTS:
        started = time.process_time()
        _native.bind(_backend.kernels(part).__name__)
        tell(f"{part}: {time.process_time() - started:.2f} s")
    return sum(map(len, _jit.registry.values()))


if __name__ == "__main__":
    begun = time.process_time()
    count = warm(lambda line: print(line, file=sys.stderr))  # noqa: T201
    print(f"{count} kernels ready in {time.process_time() - begun:.1f} s of CPU")  # noqa: T201
