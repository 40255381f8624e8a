"""Matching of two lists of ids."""

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
I64 = NDArray[np.int64]


def unmatched(
    old: NDArray[np.uint64], old_class: U32, new: NDArray[np.uint64], new_class: U32
) -> tuple[U8, U8]:
    before = list(zip(old.tolist(), old_class.tolist(), strict=True))
    after = list(zip(new.tolist(), new_class.tolist(), strict=True))
    both = set(before) & set(after)
    gone = np.array([one not in both for one in before], np.uint8)
    fresh = np.array([one not in both for one in after], np.uint8)
    return gone, fresh


def count_flagged(of: U32, sizes: I64, flags: U8, count: int) -> tuple[I64, I64]:
    totals = np.zeros(count, np.int64)
    np.add.at(totals, of[flags != 0], sizes[flags != 0])
    return np.bincount(of[flags != 0], minlength=count).astype(np.int64), totals
