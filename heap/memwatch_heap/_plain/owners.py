"""The slow, plain twin of `_kernels/owners.py`: the same answers, written as definitions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from memwatch_heap._kernels.owners import CHAIN_STEPS, NONE

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]


def dominating_edges(first: U32, edge_type: U8, to: U32, idom: U32, rank: U8) -> U32:
    """Per node the best edge from its dominator to it, NONE where no edge goes straight."""
    best = np.full(len(idom), NONE, np.uint32)
    for node in range(len(idom)):
        parent = int(idom[node])
        edges = [
            edge
            for edge in range(int(first[parent]), int(first[parent + 1]))
            if to[edge] == node and parent != node and rank[edge_type[edge]]
        ]
        if edges:
            best[node] = max(edges, key=lambda edge: (rank[edge_type[edge]], -edge))
    return best


def owners(
    order: U32, idom: U32, transparent: U8, group: U32, chains: U8, label: U32
) -> tuple[U32, U8]:
    """(owner, linked): the nearest solid dominator of each node, and whether it is a link."""
    root = int(order[0])
    owner = np.full(len(idom), root, np.uint32)
    linked = np.zeros(len(idom), np.uint8)

    def solid(node: int) -> int:
        parent = int(idom[node])
        while parent != root and transparent[parent]:
            parent = int(idom[parent])
        return parent

    for node in map(int, order[1:]):
        above = owner[node] = solid(node)
        rule = chains[group[node]]
        for _ in range({0: 0, 1: CHAIN_STEPS, 2: 1}[int(rule)]):
            if above == root:
                break
            alike = group[above] == group[node]
            if alike and (rule == 1 or label[above] == label[node]):
                owner[node], linked[node] = owner[above], 1
                break
            above = solid(above)
    return owner, linked


def sums(order: U32, idom: U32, weight: NDArray[Any], stop: U8) -> NDArray[np.float64]:
    """Per node the weight of all that it dominates; what is marked `stop` passes nothing on."""
    total = weight.astype(np.float64)
    for node in map(int, order[:0:-1]):
        if not stop[node]:
            total[idom[node]] += total[node]
    return total
