"""What each of some owners has, found at once: rows sorted by owner."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Rows = NDArray[np.intp]


class Owned:
    """Rows by owner. Takes 4 bytes per row and those of the owners."""

    def __init__(self, owner: NDArray[Any]) -> None:
        self._rows = np.argsort(owner, kind="stable").astype(np.uint32)
        self._owner = owner[self._rows]

    def by(self, owners: ArrayLike) -> Rows:
        """All rows of some owners, ascending."""
        wanted = np.unique(np.asarray(owners, self._owner.dtype))
        first = np.searchsorted(self._owner, wanted, "left")
        counts = np.searchsorted(self._owner, wanted, "right") - first
        starts = np.cumsum(counts) - counts
        places = np.repeat(first - starts, counts) + np.arange(int(counts.sum()))
        return np.sort(self._rows[places]).astype(np.intp)
