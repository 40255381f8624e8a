"""Dominators over flat arrays: which edges count, a depth-first order, and semi-NCA.

Numbers are preorder numbers: `order[k]` is the node numbered k, and a dominator's number is always
smaller than that of what it dominates.
"""

import numpy as np

from memwatch_heap._jit import kernel

_FREE = np.uint32(0xFFFFFFFF)


def reachable(first, edge_type, to, starts, weak):
    """1 for every node that is reached from the starts without weak edges."""
    nodes = first.size - 1
    flags = np.zeros(nodes, np.uint8)
    _reachable(first, edge_type, to, starts, weak, flags, np.empty(nodes, np.uint32))
    return flags


@kernel("uint32[], uint8[], uint32[], uint32[], int64, uint8[], uint32[]")
def _reachable(first, edge_type, to, starts, weak, flags, stack):
    top = 0
    for start in starts:
        if not flags[start]:
            flags[start] = 1
            stack[top] = start
            top += 1
    while top:
        top -= 1
        v = stack[top]
        for e in range(first[v], first[v + 1]):
            w = to[e]
            if flags[w] or edge_type[e] == weak:
                continue
            flags[w] = 1
            stack[top] = w
            top += 1


def essential(
    first, edge_type, edge_name, to, ident, owned, table_of, root, weak, shortcut, internal
):
    """1 for every edge that keeps its target alive in the dominators' sense.

    `table_of` gives, by string, the id of the WeakMap that a value's edge names, 0 for other
    strings; it is empty where no string is of that kind.
    """
    flags = np.zeros(edge_type.size, np.uint8)
    codes = (root, weak, shortcut, internal)
    _essential(first, edge_type, edge_name, to, ident, owned, table_of, *codes, flags)
    return flags


_ESSENTIAL = (
    "uint32[], uint8[], uint32[], uint32[], {}[], uint8[], uint64[], int64, int64, int64, int64,"
    " uint8[]"
)


@kernel(_ESSENTIAL.format("uint32"), _ESSENTIAL.format("uint64"))
def _essential(
    first, edge_type, edge_name, to, ident, owned, table_of, root, weak, shortcut, internal, flags
):
    tables = table_of.size > 0
    for v in range(first.size - 1):
        for e in range(first[v], first[v + 1]):
            kind = edge_type[e]
            w = to[e]
            if kind == weak or w == v:
                continue
            if tables and kind == internal:
                table = table_of[edge_name[e]]
                if table != 0 and table == np.uint64(ident[v]):
                    continue
            if v != root and (kind == shortcut or (owned[w] and not owned[v])):
                continue
            flags[e] = 1


def depth_first(first, to, counts, root):
    """(number of each node, order, parent by number, how many were reached).

    From the root first, then from each node that no edge keeps; those are numbered below the root.
    What is still left forms closed rings and gets the last numbers.
    """
    nodes = first.size - 1
    number = np.full(nodes, _FREE, np.uint32)
    order = np.empty(nodes, np.uint32)
    parent = np.zeros(nodes, np.uint32)
    scratch = (first[:nodes].copy(), np.empty(nodes, np.uint32), np.zeros(nodes, np.uint8))
    reached = _depth_first(first, to, counts, root, number, order, parent, *scratch)
    return number, order, parent, reached


@kernel(
    "uint32[], uint32[], uint8[], int64, uint32[], uint32[], uint32[], uint32[], uint32[], uint8[]"
    " -> int64"
)
def _depth_first(first, to, counts, root, number, order, parent, follow, stack, kept):
    nodes = number.size
    looked = False  # `kept` is not touched before it is needed
    done = np.int64(0)
    start = np.int64(root)
    scan = np.int64(0)
    while True:
        number[start] = done
        order[done] = start
        done += 1
        stack[0] = start
        top = 1
        while top:
            v = stack[top - 1]
            e = np.int64(follow[v])
            end = np.int64(first[v + 1])
            while e < end:
                if counts[e]:
                    w = to[e]
                    if number[w] == _FREE:
                        break
                e += 1
            if e == end:
                follow[v] = end
                top -= 1
                continue
            w = to[e]
            follow[v] = e + 1
            number[w] = done
            order[done] = w
            parent[done] = number[v]
            done += 1
            stack[top] = w
            top += 1
        if done == nodes:
            break
        if not looked:
            looked = True
            for e in range(counts.size):
                if counts[e]:
                    kept[to[e]] = 1
        while scan < nodes and (number[scan] != _FREE or kept[scan]):
            scan += 1
        if scan == nodes:
            break
        start = scan
    reached = done
    for v in range(nodes):
        if number[v] == _FREE:
            number[v] = done
            order[done] = v
            done += 1
    return reached


def predecessors(first, to, counts, number, order, reached):
    """(place of the first one, predecessors) by number, of what was reached and from there."""
    nodes = first.size - 1
    start = np.zeros(nodes + 2, np.uint32)
    _count_predecessors(first, to, counts, number, order, reached, start)
    found = np.empty(int(start[nodes + 1]), np.uint32)
    _place_predecessors(first, to, counts, number, order, reached, start, found)
    return start, found


@kernel("uint32[], uint32[], uint8[], uint32[], uint32[], int64, uint32[]")
def _count_predecessors(first, to, counts, number, order, reached, start):
    for k in range(reached):
        v = order[k]
        for e in range(first[v], first[v + 1]):
            if counts[e]:
                start[number[to[e]] + 2] += 1
    for k in range(order.size):
        start[k + 2] += start[k + 1]


@kernel("uint32[], uint32[], uint8[], uint32[], uint32[], int64, uint32[], uint32[]")
def _place_predecessors(first, to, counts, number, order, reached, start, found):
    for k in range(reached):
        v = order[k]
        for e in range(first[v], first[v + 1]):
            if counts[e]:
                w = number[to[e]]
                found[start[w + 1]] = k
                start[w + 1] += 1


def semi_nca(start, found, parent, reached):
    """The dominator's number by number (0 for the root): Georgiadis' semi-NCA.

    A node without predecessors hangs on the root. `parent` is used up.
    """
    dominator = parent.copy()
    semi, label, path = (np.empty(parent.size, np.uint32) for _ in range(3))
    _semi_nca(start, found, parent, reached, dominator, semi, label, path)
    return dominator


@kernel("uint32[], uint32[], uint32[], int64, uint32[], uint32[], uint32[], uint32[]")
def _semi_nca(start, found, parent, reached, dominator, semi, label, path):
    nodes = parent.size
    for k in range(nodes):
        semi[k] = k
        label[k] = k
    for w in range(reached - 1, 0, -1):
        best = np.uint32(w)
        if start[w] == start[w + 1]:
            best = np.uint32(0)
        for i in range(start[w], start[w + 1]):
            v = found[i]
            if v > w:
                top = 0
                u = v
                while parent[u] > w:
                    path[top] = u
                    top += 1
                    u = parent[u]
                while top:
                    top -= 1
                    x = path[top]
                    if semi[label[u]] < semi[label[x]]:
                        label[x] = label[u]
                    parent[x] = parent[u]
                    u = x
                v = semi[label[v]]
            best = min(best, v)
        semi[w] = best
    for w in range(1, reached):
        d = dominator[w]
        while d > semi[w]:
            d = dominator[d]
        dominator[w] = d


def retained(order, dominator, sizes):
    """(dominator by node, retained size by node) from dominators by number."""
    total = sizes.copy()
    by_node = np.empty(order.size, np.uint32)
    _retained(order, dominator, total, by_node)
    return by_node, total


@kernel("uint32[], uint32[], int64[], uint32[]")
def _retained(order, dominator, total, by_node):
    nodes = order.size
    for k in range(nodes - 1, 0, -1):
        v = order[k]
        d = order[dominator[k]]
        by_node[v] = d
        total[d] += total[v]
    by_node[order[0]] = order[0]


def children(dominator, root):
    """(place of the first child, children) by node; children in the order of the nodes."""
    nodes = dominator.size
    start = np.zeros(nodes + 2, np.uint32)
    found = np.empty(nodes - 1, np.uint32)
    _children(dominator, root, start, found)
    return start[: nodes + 1].copy(), found


@kernel("uint32[], int64, uint32[], uint32[]")
def _children(dominator, root, start, found):
    nodes = dominator.size
    for v in range(nodes):
        if v != root:
            start[dominator[v] + 2] += 1
    for v in range(nodes):
        start[v + 2] += start[v + 1]
    for v in range(nodes):
        if v != root:
            d = dominator[v]
            found[start[d + 1]] = v
            start[d + 1] += 1
