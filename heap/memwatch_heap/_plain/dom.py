"""Spreading of the DOM state."""

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]


def spread(
    first: NDArray[np.uint32],
    edge_type: U8,
    to: NDArray[np.uint32],
    blocked: U8,
    node_type: U8,
    native: int,
    given: U8,
) -> U8:
    state = np.where(node_type == native, given, 0).astype(np.uint8)
    open_nodes = set(np.flatnonzero((node_type == native) & (given == 0)).tolist())
    for wanted in (1, 2):
        stack = np.flatnonzero(state == wanted).tolist()
        while stack:
            v = stack.pop()
            for e in range(int(first[v]), int(first[v + 1])):
                w = int(to[e])
                if w in open_nodes and not blocked[edge_type[e]]:
                    open_nodes.remove(w)
                    state[w] = wanted
                    stack.append(w)
    return state
