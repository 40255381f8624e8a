"""Dominators by the textbook: a recursive walk made a loop, and sets that shrink to a fixpoint."""

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]


def reachable(first: U32, edge_type: U8, to: U32, starts: U32, weak: int) -> U8:
    flags = np.zeros(len(first) - 1, np.uint8)
    stack = starts.tolist()
    while stack:
        v = stack.pop()
        if not flags[v]:
            flags[v] = 1
            edges = slice(int(first[v]), int(first[v + 1]))
            stack.extend(to[edges][edge_type[edges] != weak].tolist())
    return flags


def essential(
    first: U32,
    edge_type: U8,
    edge_name: U32,
    to: U32,
    ident: NDArray[Any],
    owned: U8,
    table_of: NDArray[np.uint64],
    root: int,
    weak: int,
    shortcut: int,
    internal: int,
) -> U8:
    source = np.repeat(np.arange(len(first) - 1), (first[1:] - first[:-1]).astype(np.int64))
    keeps = (edge_type != weak) & (to != source)
    outside = (edge_type == shortcut) | ((owned[to] != 0) & (owned[source] == 0))
    keeps &= (source == root) | ~outside
    if len(table_of):
        inside = np.flatnonzero(edge_type == internal)
        table = table_of[edge_name[inside]]
        keeps[inside[(table != 0) & (table == ident[source[inside]])]] = False
    flags: U8 = keeps.astype(np.uint8)
    return flags


def depth_first(first: U32, to: U32, counts: U8, root: int) -> tuple[U32, U32, U32, int]:
    nodes = len(first) - 1
    heads = first.tolist()
    number: dict[int, int] = {}
    order: list[int] = []
    parent: list[int] = []

    def walk(start: int) -> None:
        number[start] = len(order)
        order.append(start)
        parent.append(0)
        stack = [(start, heads[start])]
        while stack:
            v, e = stack.pop()
            while e < heads[v + 1] and (not counts[e] or int(to[e]) in number):
                e += 1
            if e < heads[v + 1]:
                stack.append((v, e + 1))
                w = int(to[e])
                number[w] = len(order)
                order.append(w)
                parent.append(number[v])
                stack.append((w, heads[w]))

    walk(root)
    kept = set(to[counts != 0].tolist())
    for v in range(nodes):
        if v not in number and v not in kept:
            walk(v)
    reached = len(order)
    for v in range(nodes):
        if v not in number:
            number[v] = len(order)
            order.append(v)
            parent.append(0)
    by_node = np.array([number[v] for v in range(nodes)], np.uint32)
    return by_node, np.array(order, np.uint32), np.array(parent, np.uint32), reached


def predecessors(
    first: U32, to: U32, counts: U8, number: U32, order: U32, reached: int
) -> tuple[U32, U32]:
    found: defaultdict[int, list[int]] = defaultdict(list)
    for k in range(reached):
        v = int(order[k])
        for e in range(int(first[v]), int(first[v + 1])):
            if counts[e]:
                found[int(number[to[e]])].append(k)
    lists = [found[k] for k in range(len(order))]
    start = np.zeros(len(order) + 2, np.uint32)
    start[1:-1] = np.cumsum([len(entry) for entry in lists])
    start[-1] = start[-2]
    return start, np.array([k for entry in lists for k in entry], np.uint32)


def semi_nca(start: U32, found: U32, parent: U32, reached: int) -> U32:
    """Cooper, Harvey and Kennedy: meet the dominators of all predecessors until nothing moves."""
    dominator = parent.tolist()
    before = [found[start[k] : start[k + 1]].tolist() for k in range(reached)]
    moved = True
    while moved:
        moved = False
        for k in range(1, reached):
            best = k
            for p in before[k]:
                if p != k:
                    best = p if best == k else _meet(dominator, best, p)
            best = 0 if best == k else best
            if dominator[k] != best:
                dominator[k] = best
                moved = True
    return np.array(dominator, np.uint32)


def _meet(dominator: list[int], a: int, b: int) -> int:
    """The nearest that dominates both, going by what is known so far."""
    seen = set()
    while a not in seen:
        seen.add(a)
        a = dominator[a]
    while b not in seen:
        b = dominator[b]
    return b


def retained(order: U32, dominator: U32, sizes: NDArray[np.int64]) -> tuple[U32, NDArray[np.int64]]:
    total = sizes.copy()
    by_node = np.empty(len(order), np.uint32)
    by_node[order] = order[dominator]
    for v in order[:0:-1].tolist():
        total[by_node[v]] += total[v]
    return by_node, total


def children(dominator: U32, root: int) -> tuple[U32, U32]:
    nodes = np.flatnonzero(np.arange(len(dominator)) != root)
    by_parent = nodes[np.argsort(dominator[nodes], kind="stable")]
    start = np.zeros(len(dominator) + 1, np.uint32)
    start[1:] = np.cumsum(np.bincount(dominator[nodes], minlength=len(dominator)))
    return start, by_parent.astype(np.uint32)
