"""Figures by class."""

import numpy as np

from memwatch_heap._jit import kernel

_EMPTY = np.uint32(0xFFFFFFFF)


def sum_by(of, sizes, count):
    """(nodes, bytes) of each class, of nodes whose size is not 0."""
    counts = np.zeros(count, np.int64)
    totals = np.zeros(count, np.int64)
    _sum_by(of, sizes, counts, totals)
    return counts, totals


@kernel("uint32[], int64[], int64[], int64[]")
def _sum_by(of, sizes, counts, totals):
    for v in range(of.size):
        if sizes[v]:
            counts[of[v]] += 1
            totals[of[v]] += sizes[v]


def least_by(of, sizes, distance, count):
    """The least distance of each class, of nodes whose size is not 0."""
    least = np.full(count, 0x7FFFFFFF, np.int32)
    _least_by(of, sizes, distance, least)
    return least


@kernel("uint32[], int64[], int32[], int32[]")
def _least_by(of, sizes, distance, least):
    for v in range(of.size):
        if sizes[v]:
            least[of[v]] = min(least[of[v]], distance[v])


def retained_by(of, sizes, retained, start, children, root, count):
    """Bytes kept alive by each class: of its nodes that no other node of it dominates.

    Nodes of size 0 neither count nor cover others.
    """
    totals = np.zeros(count, np.int64)
    covered = np.zeros(count, np.uint8)
    stack = np.empty(of.size, np.uint32)
    follow = np.empty(of.size, np.uint32)
    covers = np.zeros(of.size, np.uint8)
    scratch = (covered, stack, follow, covers)
    _retained_by(of, sizes, retained, start, children, root, totals, *scratch)
    return totals


@kernel(
    "uint32[], int64[], int64[], uint32[], uint32[], int64, int64[], uint8[], uint32[], uint32[],"
    " uint8[]"
)
def _retained_by(
    of, sizes, retained, start, children, root, totals, covered, stack, follow, covers
):
    stack[0] = root
    top = 1
    fresh = True
    while top:
        v = stack[top - 1]
        c = of[v]
        if fresh:
            follow[v] = start[v]
            if sizes[v] and not covered[c]:
                totals[c] += retained[v]
                covered[c] = 1
                covers[v] = 1
        if follow[v] < start[v + 1]:
            stack[top] = children[follow[v]]
            follow[v] += 1
            top += 1
            fresh = True
            continue
        if covers[v]:
            covered[c] = 0
        top -= 1
        fresh = False


def array_bytes(first, edge_type, edge_name, to, arrays, internal, elements, sizes):
    """Bytes of the arrays, and of the first `elements` of each that has no other retainer."""
    retainers = np.zeros(first.size - 1, np.uint8)
    return _array_bytes(
        first, edge_type, edge_name, to, arrays, internal, elements, sizes, retainers
    )


@kernel("uint32[], uint8[], uint32[], uint32[], uint32[], int64, int64, int64[], uint8[] -> int64")
def _array_bytes(first, edge_type, edge_name, to, arrays, internal, elements, sizes, retainers):
    for w in to:
        if retainers[w] < 2:
            retainers[w] += 1
    total = np.int64(0)
    for v in arrays:
        total += sizes[v]
        for e in range(first[v], first[v + 1]):
            if edge_type[e] == internal and edge_name[e] == elements:
                if retainers[to[e]] == 1:
                    total += sizes[to[e]]
                break
    return total


def group_rows(a, b, c, d):
    """(group of each row, first row of each group): rows of four equal numbers are one group."""
    room = 16
    while room < 2 * a.size:
        room *= 2
    table = np.full(room, _EMPTY, np.uint32)
    group = np.empty(a.size, np.uint32)
    sample = np.empty(a.size, np.uint32)
    groups = _group_rows(a, b, c, d, table, group, sample)
    return group, sample[:groups].copy()


@kernel("uint32[], uint32[], uint32[], uint32[], uint32[], uint32[], uint32[] -> int64")
def _group_rows(a, b, c, d, table, group, sample):
    room = table.size
    groups = 0
    for i in range(a.size):
        mixed = np.uint64(a[i]) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(b[i])
        mixed = mixed * np.uint64(0x9E3779B97F4A7C15) + np.uint64(c[i])
        mixed = mixed * np.uint64(0x9E3779B97F4A7C15) + np.uint64(d[i])
        mixed = mixed * np.uint64(0x9E3779B97F4A7C15)
        slot = np.int64((mixed >> np.uint64(20)) & np.uint64(room - 1))
        while True:
            found = table[slot]
            if found == _EMPTY:
                table[slot] = groups
                sample[groups] = i
                found = np.uint32(groups)
                groups += 1
                break
            s = sample[found]
            if a[s] == a[i] and b[s] == b[i] and c[s] == c[i] and d[s] == d[i]:
                break
            slot = (slot + 1) & (room - 1)
        group[i] = found
    return groups
