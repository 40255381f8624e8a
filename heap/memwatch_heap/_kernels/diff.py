"""Matching of two sorted lists of ids."""

import numpy as np

from memwatch_heap._jit import kernel


@kernel("Tuple((uint8[::1], uint8[::1]))(uint64[::1], uint32[::1], uint64[::1], uint32[::1])")
def unmatched(old, old_class, new, new_class):
    """(gone, fresh): 1 for what has no partner of the same id and class; ids ascend."""
    gone = np.ones(old.size, np.uint8)
    fresh = np.ones(new.size, np.uint8)
    i = j = 0
    while i < old.size and j < new.size:
        if old[i] < new[j]:
            i += 1
        elif old[i] > new[j]:
            j += 1
        else:
            if old_class[i] == new_class[j]:
                gone[i] = 0
                fresh[j] = 0
            i += 1
            j += 1
    return gone, fresh


@kernel("Tuple((int64[::1], int64[::1]))(uint32[::1], int64[::1], uint8[::1], int64)")
def count_flagged(of, sizes, flags, count):
    """(nodes, bytes) of each class, of flagged nodes."""
    counts = np.zeros(count, np.int64)
    totals = np.zeros(count, np.int64)
    for i in range(of.size):
        if flags[i]:
            counts[of[i]] += 1
            totals[of[i]] += sizes[i]
    return counts, totals
