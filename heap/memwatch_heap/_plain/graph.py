"""Checks over a graph's columns."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def greatest_name(
    edge_type: NDArray[np.uint8], edge_name: NDArray[np.uint32], indexed: NDArray[np.uint8]
) -> int:
    names = edge_name[indexed[edge_type] == 0]
    return int(names.max()) if len(names) else -1


def repeated_id(ident: NDArray[Any], top: int) -> int:
    seen: set[int] = set()
    for place, value in enumerate(ident.tolist()):
        if value in seen:
            return place
        seen.add(value)
    return -1
