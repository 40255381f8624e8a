"""Sums by class."""

import numpy as np

from memwatch_heap._jit import kernel


@kernel("int64[::1](uint32[::1], int64[::1], int64)")
def sum_by(of, sizes, count):
    """totals[c] = sum of the sizes of the nodes whose class is c."""
    totals = np.zeros(count, np.int64)
    for i in range(of.size):
        totals[of[i]] += sizes[i]
    return totals
