"""Who holds what, in the dominator tree: the edge that dominates, owners, sums."""

import numpy as np

from memwatch_heap._jit import kernel

NONE = 0xFFFF_FFFF
CHAIN_STEPS = 4  # own class so many owners up: the link of a chain (node, closure, context, node)


@kernel("uint32[::1](uint32[::1], uint8[::1], uint32[::1], uint32[::1], uint8[::1])")
def dominating_edges(first, edge_type, to, idom, rank):
    """Per node the best edge from its dominator to it, NONE where no edge goes straight.

    `rank` says per edge type how well it names the way; 0 never does.
    """
    nodes = idom.size
    best = np.full(nodes, NONE, np.uint32)
    for v in range(nodes):
        for e in range(first[v], first[v + 1]):
            w = to[e]
            if idom[w] != v or w == v or rank[edge_type[e]] == 0:
                continue
            if best[w] == NONE or rank[edge_type[e]] > rank[edge_type[best[w]]]:
                best[w] = e
    return best


@kernel(
    "Tuple((uint32[::1], uint8[::1]))"
    "(uint32[::1], uint32[::1], uint8[::1], uint32[::1], uint8[::1], uint32[::1])"
)
def owners(order, idom, transparent, group, chains, label):
    """(owner, linked): the nearest solid dominator of each node, and whether it is a chain's link.

    A node in a chain (`chains` of its group: 1 own class a few owners up, 2 own class straight up
    and held by the same label) belongs to the owner of the chain's head. The root owns itself.
    """
    nodes = idom.size
    root = order[0]
    parent = np.empty(nodes, np.uint32)
    owner = np.empty(nodes, np.uint32)
    linked = np.zeros(nodes, np.uint8)
    parent[root] = root
    owner[root] = root
    for i in range(1, nodes):
        v = order[i]
        p = idom[v]
        if p != root and transparent[p]:
            p = parent[p]
        parent[v] = p
        owner[v] = p
        rule = chains[group[v]]
        if rule == 0:
            continue
        w = p
        for _ in range(CHAIN_STEPS if rule == 1 else 1):
            if group[w] == group[v] and w != root and (rule == 1 or label[w] == label[v]):
                owner[v] = owner[w]
                linked[v] = 1
                break
            w = parent[w]
    return owner, linked


@kernel("float64[::1](uint32[::1], uint32[::1], float64[::1], uint8[::1])")
def sums(order, idom, weight, stop):
    """Per node the weight of all that it dominates; what is marked `stop` passes nothing on."""
    total = weight.copy()
    for i in range(order.size - 1, 0, -1):
        v = order[i]
        if not stop[v]:
            total[idom[v]] += total[v]
    return total
