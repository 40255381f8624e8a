"""The graph backwards."""

import numpy as np

from memwatch_heap._jit import kernel

_NO_EDGE = np.uint32(0xFFFFFFFF)


@kernel(
    "Tuple((uint32[::1], uint32[::1]))(uint32[::1], uint8[::1], uint32[::1], uint32[::1], int64)"
)
def incoming(first, edge_type, to, order, weak):
    """(place of the first one per node, edges): each node's incoming edges.

    Weak ones come last; among others they stand in the order in which `order` has their sources.
    """
    nodes = first.size - 1
    start = np.zeros(nodes + 2, np.uint32)
    for w in to:
        start[w + 2] += 1
    for v in range(nodes):
        start[v + 2] += start[v + 1]
    found = np.empty(to.size, np.uint32)
    for last in (False, True):
        for v in order:
            for e in range(first[v], first[v + 1]):
                if (edge_type[e] == weak) == last:
                    w = to[e]
                    found[start[w + 1]] = e
                    start[w + 1] += 1
    return start[: nodes + 1].copy(), found


@kernel("uint32[::1](uint32[::1], uint8[::1], uint32[::1], int32[::1], int64, int64, uint8[::1])")
def first_edges(first, edge_type, to, distance, root, weak, rank):
    """Per node the edge over which its distance was found; 2^32 - 1 for the root and the unreached.

    Of several, the type with the least rank wins, then the first edge.
    """
    nodes = first.size - 1
    found = np.full(nodes, _NO_EDGE, np.uint32)
    for v in range(nodes):
        if distance[v] < 0:
            continue
        for e in range(first[v], first[v + 1]):
            w = to[e]
            if w == root:
                continue
            users = v == root and distance[w] == 1  # one of them may hang on a weak edge
            if not users and (edge_type[e] == weak or distance[w] != distance[v] + 1):
                continue
            old = found[w]
            if old == _NO_EDGE or rank[edge_type[e]] < rank[edge_type[old]]:
                found[w] = e
    return found


@kernel("uint32[::1](int32[::1])")
def by_distance(distance):
    """All nodes, the nearest first and the unreached last."""
    nodes = distance.size
    far = 0
    base = np.int64(1 << 40)
    for d in distance:
        if 0 <= d < 100000000:
            far = max(far, d)
        elif d >= 0:
            base = min(base, np.int64(d))
    top = 0
    for d in distance:
        if d >= 100000000:
            top = max(top, d - base)
    place = np.zeros(far + top + 4, np.int64)
    keys = np.empty(nodes, np.int64)
    for v in range(nodes):
        d = np.int64(distance[v])
        keys[v] = far + top + 2 if d < 0 else d if d < 100000000 else far + 1 + d - base
        place[keys[v] + 1] += 1
    for k in range(place.size - 1):
        place[k + 1] += place[k]
    order = np.empty(nodes, np.uint32)
    for v in range(nodes):
        order[place[keys[v]]] = v
        place[keys[v]] += 1
    return order


@kernel("Tuple((uint32[::1], uint32[::1]))(uint32[::1], uint32[::1], int64)")
def buckets(order, bucket, count):
    """(place of the first one per bucket, nodes): the nodes of each bucket, as `order` has them."""
    start = np.zeros(count + 2, np.uint32)
    for v in order:
        start[bucket[v] + 2] += 1
    for b in range(count):
        start[b + 2] += start[b + 1]
    found = np.empty(order.size, np.uint32)
    for v in order:
        b = bucket[v]
        found[start[b + 1]] = v
        start[b + 1] += 1
    return start[: count + 1].copy(), found
