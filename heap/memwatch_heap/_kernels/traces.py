"""The tree of allocation traces: nested arrays, made flat."""

import numpy as np

from memwatch_heap._jit import kernel


def parse_tree(text, fields, values, parent, stack):
    """Fills values[row] and parent[row]; returns the number of rows, -1 where it is no tree.

    A row has `fields` numbers and then the array of its children. A root is its own parent.
    """
    return _parse_tree(text, fields, values.reshape(-1), parent, stack)


@kernel("uint8[], int64, uint64[], uint32[], uint32[] -> int64")
def _parse_tree(text, fields, values, parent, stack):
    row = np.int64(-1)
    depth = 0
    field = 0
    i = 0
    while i < text.size:
        byte = text[i]
        if 48 <= byte <= 57:
            value = np.uint64(0)
            while i < text.size and 48 <= text[i] <= 57:
                value = value * np.uint64(10) + np.uint64(text[i] - 48)
                i += 1
            if depth == 0 or field >= fields or (field == 0 and row + 1 >= parent.size):
                return -1
            if field == 0:
                row += 1
                parent[row] = stack[depth - 1] if depth > 1 else row
            values[row * fields + field] = value
            field += 1
            continue
        if byte == 91:
            if depth >= stack.size or (depth > 0 and field != fields):
                return -1
            if depth:
                stack[depth] = row
            depth += 1
            field = 0
        elif byte == 93:
            if depth == 0 or field != 0:
                return -1
            depth -= 1
            field = 0
        elif byte != 44 and byte != 32 and byte != 10 and byte != 13 and byte != 9:
            return -1
        i += 1
    return row + 1 if depth == 0 else -1
