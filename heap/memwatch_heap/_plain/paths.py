"""The slow, plain twin of `_kernels/paths.py`."""

from collections import deque

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]


def spread(
    first: U32,
    edge_type: U8,
    edge_name: U32,
    to: U32,
    sources: U32,
    passes: U8,
    seen: U8,
    by: U32,
    enter: U8,
    never: U32,
) -> int:
    """Spreads from the sources over edges of types that pass, into nodes that may be entered."""
    barred = set(never.tolist())
    queue = deque(dict.fromkeys(node for node in sources.tolist() if not seen[node]))
    seen[list(queue)] = 1
    reached = 0
    while queue:
        node = queue.popleft()
        reached += 1
        for edge in range(int(first[node]), int(first[node + 1])):
            kind, target = passes[edge_type[edge]], int(to[edge])
            if kind == 0 or seen[target] or not enter[target]:
                continue
            if kind > 1 and int(edge_name[edge]) in barred:
                continue
            seen[target] = 1
            by[target] = edge
            queue.append(target)
    return reached
