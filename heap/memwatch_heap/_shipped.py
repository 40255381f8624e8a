"""Finds compiled kernels beside their source where nobody may write: in an image."""

from typing import Any

from numba.core.caching import InTreeCacheLocator


class ShippedLocator(InTreeCacheLocator):
    """numba's own place for caches, without the question whether it can be written."""

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> "ShippedLocator":
        """A locator for a function's file."""
        return cls(py_func, py_file)
