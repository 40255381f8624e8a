"""The only door to numba: a typed wrapper that compiles a kernel at its first call.

numba has no types that mypy could check, and importing it takes most of a second. So kernels are
wrapped here: declared with explicit signatures, compiled (or loaded from the cache on disk) when
first called, and listed for `python -m memwatch_heap.warm`.
"""

import importlib.util
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

# One cache for every machine of the same architecture: numba keys its cache by CPU model, and an
# image is built on another machine than it runs on. The kernels wait for memory, not for AVX.
os.environ.setdefault("NUMBA_CPU_NAME", "generic")

available = importlib.util.find_spec("numba") is not None
registry: "list[Kernel]" = []


class Kernel:
    """A function over flat arrays, compiled for its signatures when first called."""

    def __init__(self, function: Callable[..., Any], signatures: list[str]) -> None:
        self.function = function
        self.signatures = signatures
        self._compiled: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        """Runs the compiled function; the first call of a process loads or compiles it."""
        compiled = self._compiled
        if compiled is None:
            compiled = self.compile()
        return compiled(*arguments)

    def compile(self) -> Callable[..., Any]:
        """Loads the machine code from the cache, or makes it, and caches it where it can."""
        import numba  # costs 0.7 s: only who computes pays

        _find_cache(numba.core.config)
        try:
            jitted = numba.njit(self.signatures, cache=True, nogil=True)(self.function)
        except (OSError, RuntimeError) as problem:
            if isinstance(problem, RuntimeError) and "cannot cache" not in str(problem):
                raise
            jitted = numba.njit(self.signatures, nogil=True)(self.function)
        self._compiled = jitted
        return jitted


def kernel(*signatures: str) -> Callable[[Callable[..., Any]], Kernel]:
    """Declares a kernel with the exact argument types that it is compiled for."""

    def wrap(function: Callable[..., Any]) -> Kernel:
        wrapped = Kernel(function, list(signatures))
        registry.append(wrapped)
        return wrapped

    return wrap


def _find_cache(config: Any) -> None:
    """Tells numba where compiled kernels are, where its own choice would fail.

    That is: beside the source, although that is read-only, if they were compiled there at install;
    else in a folder of our own, if neither the source's nor the user's can be written.
    """
    if config.CACHE_DIR or config.CACHE_LOCATOR_CLASSES:
        return
    beside = Path(__file__).parent / "_kernels" / "__pycache__"
    if _writable(beside):
        return
    if any(beside.glob("*.nbi")):
        config.CACHE_LOCATOR_CLASSES = "memwatch_heap._shipped.ShippedLocator"
    elif not _writable(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")):
        folder = Path(tempfile.gettempdir()) / f"memwatch-numba-{os.getuid()}"
        config.CACHE_DIR = _private_folder(folder)


def _private_folder(folder: Path) -> str:
    """The folder if it is ours alone, else a fresh one: the cache holds code that we will run."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
        return str(folder)
    return tempfile.mkdtemp(prefix="memwatch-")


def _writable(folder: Path) -> bool:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return os.access(folder, os.W_OK)
