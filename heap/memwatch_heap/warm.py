"""Compiles every kernel into numba's cache: `python -m memwatch_heap.warm`.

Run it where the package is installed (an image's build): the first analysis then starts at once
instead of compiling for some 20 seconds of CPU. It says where the cache is and how long it took.
"""

import sys
import time
from collections.abc import Callable

from memwatch_heap import _jit
from memwatch_heap._backend import kernels

_PARTS = (
    "classes", "diff", "distances", "dom", "dominators", "graph", "interfaces", "retainers",
    "shallow", "strings", "tokens", "traces",
)  # fmt: skip


def warm(tell: Callable[[str], None]) -> int:
    """Compiles or loads every kernel; returns how many there are, 0 without numba."""
    if not _jit.available:
        tell("numba is not installed: the plain twins need no compiling")
        return 0
    for part in _PARTS:
        started = time.process_time()
        kernels(part)
        for kernel in _jit.registry:
            if kernel.function.__module__.endswith(f".{part}"):
                kernel.compile()
        tell(f"{part}: {time.process_time() - started:.1f} s")
    return len(_jit.registry)


if __name__ == "__main__":
    begun = time.process_time()
    count = warm(lambda line: print(line, file=sys.stderr))  # noqa: T201
    print(f"{count} kernels ready in {time.process_time() - begun:.1f} s of CPU")  # noqa: T201
