"""Distances from the user's roots, with the detours that DevTools takes."""

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]

_NONE = -5


def walk(
    first: U32,
    edge_type: U8,
    edge_name: U32,
    to: U32,
    queue: U32,
    length: int,
    distance: NDArray[np.int32],
    special: U8,
    pair_of: U32,
    pending: U8,
    by_number: U8,
    by_name: U8,
    codes: NDArray[np.int64],
) -> int:
    weak, internal, sloppy = codes.tolist()

    def passes(v: int, e: int) -> bool:
        kind, name = int(edge_type[e]), int(edge_name[e])
        if special[v] == 1 and name == sloppy and not by_number[kind]:
            return False
        if special[v] == 2:
            return not (name >= 2 and name % 3 == 1) if by_number[kind] else not by_name[name]
        if len(pair_of) and kind == internal and pair_of[name]:
            pending[pair_of[name]] ^= 1
            return not pending[pair_of[name]]
        return True

    place = 0
    while place < length:
        v = int(queue[place])
        place += 1
        for e in range(int(first[v]), int(first[v + 1])):
            w = int(to[e])
            if distance[w] == _NONE and edge_type[e] != weak and passes(v, e):
                distance[w] = distance[v] + 1
                queue[length] = w
                length += 1
    return length
