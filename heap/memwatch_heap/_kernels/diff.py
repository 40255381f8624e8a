"""Matching of two sorted lists of ids."""

import numpy as np

from memwatch_heap._jit import kernel


def unmatched(old, old_class, new, new_class):
    """(gone, fresh): 1 for what has no partner of the same id and class; ids ascend."""
    gone = np.ones(old.size, np.uint8)
    fresh = np.ones(new.size, np.uint8)
    _unmatched(old, old_class, new, new_class, gone, fresh)
    return gone, fresh


@kernel("uint64[], uint32[], uint64[], uint32[], uint8[], uint8[]")
def _unmatched(old, old_class, new, new_class, gone, fresh):
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


def count_flagged(of, sizes, flags, count):
    """(nodes, bytes) of each class, of flagged nodes."""
    counts = np.zeros(count, np.int64)
    totals = np.zeros(count, np.int64)
    _count_flagged(of, sizes, flags, counts, totals)
    return counts, totals


@kernel("uint32[], int64[], uint8[], int64[], int64[]")
def _count_flagged(of, sizes, flags, counts, totals):
    for i in range(of.size):
        if flags[i]:
            counts[of[i]] += 1
            totals[of[i]] += sizes[i]
