"""Chooses between compiled kernels and their plain twins."""

import functools
import importlib
import importlib.util
import os
from types import ModuleType

# For tests and for hunting a wrong figure: 1 runs the plain twins although numba is there.
PLAIN = "MEMWATCH_HEAP_PLAIN"


# What loads machine code; numba comes with it, but is wanted only where it must be made.
available = importlib.util.find_spec("llvmlite") is not None


@functools.cache
def kernels(part: str) -> ModuleType:
    """The module of kernels named `part`: machine code where llvmlite is installed, else plain."""
    plain = os.environ.get(PLAIN) == "1" or not available
    return importlib.import_module(f"memwatch_heap.{'_plain' if plain else '_kernels'}.{part}")
