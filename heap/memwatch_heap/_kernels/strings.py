"""Searches in a table of strings."""

import numpy as np

from memwatch_heap._jit import helper, kernel


@helper
def _opening(data, start):
    """The place behind the opening quote of the string whose separator stands at start."""
    while data[start] != 34:
        start += 1
    return start + 1


_FIND = "uint8[], {}[], uint8[], int64[], int64[]"


@kernel(_FIND.format("uint32"), _FIND.format("uint64"))
def find_strings(data, closing, needles, ends, found):
    """found[k] = first string equal to needles[ends[k - 1]:ends[k]], else left alone."""
    shortest, longest, low = np.int64(1 << 62), np.int64(0), np.int64(0)
    for k in range(ends.size):
        length = ends[k] - (ends[k - 1] if k else 0)
        shortest, longest = min(shortest, length), max(longest, length)
    for i in range(closing.size):
        end = np.int64(closing[i])
        if end - low < shortest:
            low = end + 1
            continue
        start = _opening(data, low)
        low = end + 1
        length = end - start
        if length < shortest or length > longest:
            continue
        for k in range(ends.size):
            first = ends[k - 1] if k else 0
            if found[k] >= 0 or ends[k] - first != length:
                continue
            same = True
            for j in range(length):
                if data[start + j] != needles[first + j]:
                    same = False
                    break
            if same:
                found[k] = i


_FLAG = "uint8[], {}[], int64, uint8[]"


@kernel(_FLAG.format("uint32"), _FLAG.format("uint64"))
def strings_starting(data, closing, first, flags):
    """flags[i] = 1 where string i starts with the byte `first`."""
    low = np.int64(0)
    for i in range(closing.size):
        start = _opening(data, low)
        low = np.int64(closing[i]) + 1
        if data[start] == first:
            flags[i] = 1


_PAIRS = "uint8[], {}[], uint8[], uint32[] -> int64"


@kernel(_PAIRS.format("uint32"), _PAIRS.format("uint64"))
def strings_with_id_after(data, closing, text, found):
    """Indexes of strings that end in `text`, digits and `)`; returns how many."""
    count = np.int64(0)
    low = np.int64(0)
    for i in range(closing.size):
        end = np.int64(closing[i]) - 1
        start = low
        low = end + 2
        if end - start < text.size or data[end] != 41:
            continue
        end -= 1
        digits = 0
        while end > start and 48 <= data[end] <= 57:
            end -= 1
            digits += 1
        if digits == 0 or end - start < text.size:
            continue
        same = True
        for j in range(text.size):
            if data[end - j] != text[text.size - 1 - j]:
                same = False
                break
        if same:
            if count < found.size:
                found[count] = i
            count += 1
    return count
