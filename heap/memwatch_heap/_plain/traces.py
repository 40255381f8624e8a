"""The tree of allocation traces: nested arrays, made flat."""

import re

import numpy as np
from numpy.typing import NDArray

_TOKEN = re.compile(rb"[0-9]+|[][]|[, \t\r\n]+|.", re.DOTALL)


def parse_tree(
    text: NDArray[np.uint8],
    fields: int,
    values: NDArray[np.uint64],
    parent: NDArray[np.uint32],
    stack: NDArray[np.uint32],
) -> int:
    open_rows: list[int] = []
    row, field = -1, 0
    for token in _TOKEN.findall(text.tobytes()):
        if token.isdigit():
            if not open_rows or field >= fields or (field == 0 and row + 1 >= len(parent)):
                return -1
            if field == 0:
                row += 1
                parent[row] = row if len(open_rows) == 1 else open_rows[-1]
            values[row, field] = int(token) % (1 << 64)
            field += 1
        elif token == b"[":
            if len(open_rows) >= len(stack) or (open_rows and field != fields):
                return -1
            open_rows.append(row)
            field = 0
        elif token == b"]":
            if not open_rows or field:
                return -1
            open_rows.pop()
        elif token.strip(b", \t\r\n"):
            return -1
    return -1 if open_rows else row + 1
