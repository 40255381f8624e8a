"""Spreading of the DOM state."""

import numpy as np

from memwatch_heap._jit import kernel


def spread(first, edge_type, to, blocked, node_type, native, given):
    """The state of each native node: its own, else attached, else detached, through natives only.

    `blocked` says per edge type whether states do not pass. Returns 0, 1 or 2 (3 as given).
    """
    nodes = node_type.size
    state = np.zeros(nodes, np.uint8)
    seen = np.zeros(nodes, np.uint8)
    stack = np.empty(nodes, np.uint32)
    _spread(first, edge_type, to, blocked, node_type, native, given, state, seen, stack)
    return state


@kernel("uint32[], uint8[], uint32[], uint8[], uint8[], int64, uint8[], uint8[], uint8[], uint32[]")
def _spread(first, edge_type, to, blocked, node_type, native, given, state, seen, stack):
    nodes = node_type.size
    for v in range(nodes):
        if given[v]:
            seen[v] = 1
            if node_type[v] == native:
                state[v] = given[v]
    for wanted in (1, 2):
        top = 0
        for v in range(nodes):
            if state[v] == wanted:
                stack[top] = v
                top += 1
        while top:
            top -= 1
            v = stack[top]
            for e in range(first[v], first[v + 1]):
                w = to[e]
                if seen[w] or blocked[edge_type[e]]:
                    continue
                seen[w] = 1
                if node_type[w] == native:
                    state[w] = wanted
                    stack[top] = w
                    top += 1
