"""The graph backwards."""

import numpy as np

from memwatch_heap._jit import kernel

_NO_EDGE = np.uint32(0xFFFFFFFF)


def incoming(first, edge_type, to, order, weak):
    """(place of the first one per node, edges): each node's incoming edges.

    Weak ones come last; among others they stand in the order in which `order` has their sources.
    """
    nodes = first.size - 1
    start = np.zeros(nodes + 2, np.uint32)
    found = np.empty(to.size, np.uint32)
    _incoming(first, edge_type, to, order, weak, start, found)
    return start[: nodes + 1].copy(), found


@kernel("uint32[], uint8[], uint32[], uint32[], int64, uint32[], uint32[]")
def _incoming(first, edge_type, to, order, weak, start, found):
    nodes = first.size - 1
    for w in to:
        start[w + 2] += 1
    for v in range(nodes):
        start[v + 2] += start[v + 1]
    for last in (False, True):
        for v in order:
            for e in range(first[v], first[v + 1]):
                if (edge_type[e] == weak) == last:
                    w = to[e]
                    found[start[w + 1]] = e
                    start[w + 1] += 1


def first_edges(first, edge_type, to, distance, root, weak, rank):
    """Per node the edge over which its distance was found; 2^32 - 1 for the root and the unreached.

    Of several, the type with the least rank wins, then the first edge.
    """
    nodes = first.size - 1
    found = np.full(nodes, _NO_EDGE, np.uint32)
    _first_edges(first, edge_type, to, distance, root, weak, rank, found)
    return found


@kernel("uint32[], uint8[], uint32[], int32[], int64, int64, uint8[], uint32[]")
def _first_edges(first, edge_type, to, distance, root, weak, rank, found):
    nodes = found.size
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


def by_distance(distance):
    """All nodes, the nearest first and the unreached last."""
    spans = np.zeros(3, np.int64)
    _spans(distance, spans)
    far, base, top = spans.tolist()
    place = np.zeros(far + top + 4, np.int64)
    order = np.empty(distance.size, np.uint32)
    _by_distance(distance, far, base, top, place, np.empty(distance.size, np.int64), order)
    return order


@kernel("int32[], int64[]")
def _spans(distance, spans):
    """Into `spans`: the greatest distance from the user, the least and greatest of the engine's."""
    far = np.int64(0)
    base = np.int64(1 << 40)
    for d in distance:
        if 0 <= d < 100000000:
            far = max(far, np.int64(d))
        elif d >= 0:
            base = min(base, np.int64(d))
    top = np.int64(0)
    for d in distance:
        if d >= 100000000:
            top = max(top, d - base)
    spans[0], spans[1], spans[2] = far, base, top


@kernel("int32[], int64, int64, int64, int64[], int64[], uint32[]")
def _by_distance(distance, far, base, top, place, keys, order):
    nodes = distance.size
    for v in range(nodes):
        d = np.int64(distance[v])
        keys[v] = far + top + 2 if d < 0 else d if d < 100000000 else far + 1 + d - base
        place[keys[v] + 1] += 1
    for k in range(place.size - 1):
        place[k + 1] += place[k]
    for v in range(nodes):
        order[place[keys[v]]] = v
        place[keys[v]] += 1


def buckets(order, bucket, count):
    """(place of the first one per bucket, nodes): the nodes of each bucket, as `order` has them."""
    start = np.zeros(count + 2, np.uint32)
    found = np.empty(order.size, np.uint32)
    _buckets(order, bucket, count, start, found)
    return start[: count + 1].copy(), found


@kernel("uint32[], uint32[], int64, uint32[], uint32[]")
def _buckets(order, bucket, count, start, found):
    for v in order:
        start[bucket[v] + 2] += 1
    for b in range(count):
        start[b + 2] += start[b + 1]
    for v in order:
        b = bucket[v]
        found[start[b + 1]] = v
        start[b + 1] += 1
