"""Figures by class."""

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
I64 = NDArray[np.int64]


def sum_by(of: U32, sizes: I64, count: int) -> tuple[I64, I64]:
    counts = np.bincount(of[sizes != 0], minlength=count).astype(np.int64)
    totals = np.zeros(count, np.int64)
    np.add.at(totals, of, sizes)
    return counts, totals


def least_by(of: U32, sizes: I64, distance: NDArray[np.int32], count: int) -> NDArray[np.int32]:
    least = np.full(count, 0x7FFFFFFF, np.int32)
    np.minimum.at(least, of[sizes != 0], distance[sizes != 0])
    return least


def retained_by(
    of: U32, sizes: I64, retained: I64, start: U32, children: U32, root: int, count: int
) -> I64:
    totals = np.zeros(count, np.int64)
    stack: list[tuple[int, frozenset[int]]] = [(root, frozenset())]
    while stack:
        v, covered = stack.pop()
        c = int(of[v])
        if sizes[v] and c not in covered:
            totals[c] += retained[v]
            covered |= {c}
        stack.extend((w, covered) for w in children[start[v] : start[v + 1]].tolist())
    return totals


def array_bytes(
    first: U32,
    edge_type: U8,
    edge_name: U32,
    to: U32,
    arrays: U32,
    internal: int,
    elements: int,
    sizes: I64,
) -> int:
    retainers = np.bincount(to, minlength=len(first) - 1)
    total = 0
    for v in arrays.tolist():
        total += int(sizes[v])
        for e in range(int(first[v]), int(first[v + 1])):
            if edge_type[e] == internal and edge_name[e] == elements:
                total += int(sizes[to[e]]) if retainers[to[e]] == 1 else 0
                break
    return total


def group_rows(a: U32, b: U32, c: U32, d: U32) -> tuple[U32, U32]:
    groups: dict[tuple[int, ...], int] = {}
    sample: list[int] = []
    group: list[int] = []
    for i, row in enumerate(zip(a.tolist(), b.tolist(), c.tolist(), d.tolist(), strict=True)):
        if groups.setdefault(row, len(sample)) == len(sample):
            sample.append(i)
        group.append(groups[row])
    return np.array(group, np.uint32), np.array(sample, np.uint32)
