"""Checks over a graph's columns."""

import numpy as np

from memwatch_heap._jit import kernel


@kernel("int64(uint8[::1], uint32[::1], uint8[::1])")
def greatest_name(edge_type, edge_name, indexed):
    """The greatest string index that an edge names; -1 where none does."""
    greatest = np.int64(-1)
    for e in range(edge_type.size):
        if not indexed[edge_type[e]]:
            greatest = max(greatest, np.int64(edge_name[e]))
    return greatest


@kernel("int64(uint32[::1])", "int64(uint64[::1])")
def repeated_id(ident):
    """The first node whose id an earlier node has too; -1 where all differ."""
    top = np.uint64(0)
    for i in range(ident.size):
        top = max(top, np.uint64(ident[i]))
    if top // np.uint64(64) < np.uint64(64 + 2 * ident.size):
        seen = np.zeros(np.int64(top // np.uint64(64)) + 1, np.uint64)
        for i in range(ident.size):
            word = np.uint64(ident[i]) // np.uint64(64)
            bit = np.uint64(1) << (np.uint64(ident[i]) % np.uint64(64))
            if seen[word] & bit:
                return i
            seen[word] |= bit
        return -1
    order = np.argsort(ident, kind="mergesort")
    first = np.int64(-1)
    for k in range(1, order.size):
        if ident[order[k]] == ident[order[k - 1]] and (first < 0 or order[k] < first):
            first = order[k]
    return first
