"""Who holds what, in the dominator tree: the edge that dominates, owners, sums."""

import numpy as np

from memwatch_heap._jit import kernel

NONE = 0xFFFF_FFFF
CHAIN_STEPS = 4  # own class so many owners up: the link of a chain (node, closure, context, node)


def dominating_edges(first, edge_type, to, idom, rank):
    """Per node the best edge from its dominator to it, NONE where no edge goes straight.

    `rank` says per edge type how well it names the way; 0 never does.
    """
    best = np.full(idom.size, NONE, np.uint32)
    _dominating_edges(first, edge_type, to, idom, rank, best)
    return best


@kernel("uint32[], uint8[], uint32[], uint32[], uint8[], uint32[]")
def _dominating_edges(first, edge_type, to, idom, rank, best):
    nodes = idom.size
    for v in range(nodes):
        for e in range(first[v], first[v + 1]):
            w = to[e]
            if idom[w] != v or w == v or rank[edge_type[e]] == 0:
                continue
            if best[w] == NONE or rank[edge_type[e]] > rank[edge_type[best[w]]]:
                best[w] = e


def owners(order, idom, transparent, group, chains, label):
    """(owner, linked): the nearest solid dominator of each node, and whether it is a chain's link.

    A node in a chain (`chains` of its group: 1 own class a few owners up, 2 own class straight up
    and held by the same label) belongs to the owner of the chain's head. The root owns itself.
    """
    parent, owner = np.empty(idom.size, np.uint32), np.empty(idom.size, np.uint32)
    linked = np.zeros(idom.size, np.uint8)
    _owners(order, idom, transparent, group, chains, label, parent, owner, linked)
    return owner, linked


@kernel("uint32[], uint32[], uint8[], uint32[], uint8[], uint32[], uint32[], uint32[], uint8[]")
def _owners(order, idom, transparent, group, chains, label, parent, owner, linked):
    nodes = idom.size
    root = order[0]
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


def sums(order, idom, weight, stop):
    """Per node the weight of all that it dominates; what is marked `stop` passes nothing on."""
    total = weight.copy()
    _sums(order, idom, stop, total)
    return total


@kernel("uint32[], uint32[], uint8[], float64[]")
def _sums(order, idom, stop, total):
    for i in range(order.size - 1, 0, -1):
        v = order[i]
        if not stop[v]:
            total[idom[v]] += total[v]
