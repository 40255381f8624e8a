"""The graph backwards."""

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
I32 = NDArray[np.int32]

_NO_EDGE = 0xFFFF_FFFF


def incoming(first: U32, edge_type: U8, to: U32, order: U32, weak: int) -> tuple[U32, U32]:
    into: list[list[int]] = [[] for _ in range(len(first) - 1)]
    for v in order.tolist():
        for e in range(int(first[v]), int(first[v + 1])):
            into[to[e]].append(e)
    lists = [sorted(edges, key=lambda e: bool(edge_type[e] == weak)) for edges in into]
    start = np.cumsum([0, *map(len, lists)]).astype(np.uint32)
    return start, np.array([e for edges in lists for e in edges], np.uint32)


def first_edges(
    first: U32, edge_type: U8, to: U32, distance: I32, root: int, weak: int, rank: U8
) -> U32:
    found = np.full(len(first) - 1, _NO_EDGE, np.uint32)
    best: dict[int, tuple[int, int]] = {}
    for v in np.flatnonzero(distance >= 0).tolist():
        for e in range(int(first[v]), int(first[v + 1])):
            w = int(to[e])
            near = distance[w] == distance[v] + 1 and edge_type[e] != weak
            if w != root and (near or (v == root and distance[w] == 1)):
                best[w] = min(best.get(w, (256, 0)), (int(rank[edge_type[e]]), e))
    for w, (_, e) in best.items():
        found[w] = e
    return found


def by_distance(distance: I32) -> U32:
    far = np.where(distance < 0, np.iinfo(np.int32).max, distance)
    return np.argsort(far, kind="stable").astype(np.uint32)


def buckets(order: U32, bucket: U32, count: int) -> tuple[U32, U32]:
    found = order[np.argsort(bucket[order], kind="stable")]
    start = np.zeros(count + 1, np.uint32)
    start[1:] = np.cumsum(np.bincount(bucket[order], minlength=count))
    return start, found
