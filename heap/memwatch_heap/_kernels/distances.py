"""Distances from the user's roots, with the detours that DevTools takes."""

import numpy as np

from memwatch_heap._jit import kernel

NONE = np.int32(-5)


@kernel(
    "uint32[], uint8[], uint32[], uint32[], uint32[], int64, int32[], uint8[], uint32[], uint8[],"
    " uint8[], uint8[], int64[] -> int64"
)
def walk(
    first, edge_type, edge_name, to, queue, length, distance, special, pair_of, pending, by_number,
    by_name, codes,
):  # fmt: skip
    """Breadth first from queue[:length], whose distances are set; returns the queue's length.

    special: per node 1 for a native context, 2 for map descriptors. pair_of: by string, the number
    of the WeakMap pair that an internal edge names, 0 for none; `pending` holds a mark per pair.
    by_number: per edge type, whether its name is a number. by_name: by string, whether it names a
    descriptor's slot that is skipped. codes: weak, internal, the string `sloppy_function_map`.
    """
    weak, internal, sloppy = codes[0], codes[1], codes[2]
    pairs = pair_of.size > 0
    place = 0
    while place < length:
        v = queue[place]
        place += 1
        d = distance[v] + 1
        mark = special[v]
        for e in range(first[v], first[v + 1]):
            w = to[e]
            if distance[w] != NONE:
                continue
            kind = edge_type[e]
            if kind == weak:
                continue
            name = edge_name[e]
            if mark == 1 and name == sloppy and not by_number[kind]:
                continue
            if mark == 2:
                if by_number[kind]:
                    if name >= 2 and name % 3 == 1:
                        continue
                elif by_name[name]:
                    continue
            elif pairs and kind == internal and pair_of[name]:
                pair = pair_of[name]
                if not pending[pair]:
                    pending[pair] = 1
                    continue
                pending[pair] = 0
            distance[w] = d
            queue[length] = w
            length += 1
    return length
