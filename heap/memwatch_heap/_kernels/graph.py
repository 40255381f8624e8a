"""Checks over a graph's columns."""

import numpy as np

from memwatch_heap._jit import kernel


@kernel("uint8[], uint32[], uint8[] -> int64")
def greatest_name(edge_type, edge_name, indexed):
    """The greatest string index that an edge names; -1 where none does."""
    greatest = np.int64(-1)
    for e in range(edge_type.size):
        if not indexed[edge_type[e]]:
            greatest = max(greatest, np.int64(edge_name[e]))
    return greatest


def repeated_id(ident, top):
    """The first node whose id an earlier node has too; -1 where all differ. No id is above top."""
    return _repeated_id(ident, np.zeros(top // 64 + 1, np.uint64))


@kernel("uint32[], uint64[] -> int64", "uint64[], uint64[] -> int64")
def _repeated_id(ident, seen):
    for i in range(ident.size):
        word = np.uint64(ident[i]) // np.uint64(64)
        bit = np.uint64(1) << (np.uint64(ident[i]) % np.uint64(64))
        if seen[word] & bit:
            return i
        seen[word] |= bit
    return -1
