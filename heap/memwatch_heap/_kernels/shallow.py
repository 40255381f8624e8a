"""Whose memory an engine's private array really is."""

import numpy as np

from memwatch_heap._jit import kernel

_NOBODY = np.uint32(0xFFFFFFFF)
_SEVERAL = np.uint32(0xFFFFFFFE)


def give_to_owners(first, edge_type, to, private, aloof, weak, sizes):
    """Adds the size of each private node to its only owner's and makes it 0.

    The owner is the one node that is not private from which it is reached over edges that are not
    weak and through private nodes only. Owners that are `aloof` get nothing.
    """
    nodes = first.size - 1
    scratch = (np.empty(nodes, np.uint32), np.empty(2 * nodes, np.uint32))
    _give_to_owners(first, edge_type, to, private, aloof, weak, sizes, *scratch)


@kernel("uint32[], uint8[], uint32[], uint8[], uint8[], int64, int64[], uint32[], uint32[]")
def _give_to_owners(first, edge_type, to, private, aloof, weak, sizes, owner, stack):
    nodes = first.size - 1
    for v in range(nodes):
        owner[v] = _NOBODY if private[v] else v
    for start in range(nodes):
        if private[start]:
            continue
        stack[0] = start
        top = 1
        while top:
            top -= 1
            v = stack[top]
            mine = owner[v]
            for e in range(first[v], first[v + 1]):
                w = to[e]
                theirs = owner[w]
                if theirs == w or theirs == mine or theirs == _SEVERAL or edge_type[e] == weak:
                    continue
                owner[w] = mine if theirs == _NOBODY else _SEVERAL
                stack[top] = w
                top += 1
    for v in range(nodes):
        mine = owner[v]
        if mine != _NOBODY and mine != _SEVERAL and mine != v and not aloof[mine]:
            sizes[mine] += sizes[v]
            sizes[v] = 0
