"""Chooses between compiled kernels and their plain twins."""

import functools
import importlib
import os
from types import ModuleType

from memwatch_heap import _jit

# For tests and for hunting a wrong figure: 1 runs the plain twins although numba is there.
PLAIN = "MEMWATCH_HEAP_PLAIN"


@functools.cache
def kernels(part: str) -> ModuleType:
    """The module of kernels named `part`: compiled where numba is installed, else plain."""
    plain = os.environ.get(PLAIN) == "1" or not _jit.available
    return importlib.import_module(f"memwatch_heap.{'_plain' if plain else '_kernels'}.{part}")
