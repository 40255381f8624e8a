"""Breadth-first search that may be continued with more sources and laxer rules."""

import numpy as np

from memwatch_heap._jit import kernel

NONE = 0xFFFF_FFFF


def spread(first, edge_type, edge_name, to, sources, passes, seen, by, enter, never):
    """Spreads from the sources over edges of types that pass, into nodes that may be entered.

    `seen` and `by` (the edge that first led to a node) are filled in, so a later call goes on
    where this one stopped. Edges of a type above 1 in `passes` have names: those in `never`
    (ascending) are not taken. Returns how many nodes were reached.
    """
    graph = (first, edge_type, edge_name, to)
    queue = np.empty(enter.size, np.uint32)
    return _spread(*graph, sources, passes, seen, by, enter, never, queue)


@kernel(
    "uint32[], uint8[], uint32[], uint32[], uint32[], uint8[], uint8[], uint32[], uint8[],"
    " uint32[], uint32[] -> int64"
)
def _spread(first, edge_type, edge_name, to, sources, passes, seen, by, enter, never, queue):
    tail = 0
    for i in range(sources.size):
        if not seen[sources[i]]:
            seen[sources[i]] = 1
            queue[tail] = sources[i]
            tail += 1
    head = 0
    while head < tail:
        v = queue[head]
        head += 1
        for e in range(first[v], first[v + 1]):
            kind = passes[edge_type[e]]
            w = to[e]
            if kind == 0 or seen[w] or not enter[w]:
                continue
            if kind > 1:
                barred = False
                for i in range(never.size):
                    if never[i] == edge_name[e]:
                        barred = True
                        break
                if barred:
                    continue
            seen[w] = 1
            by[w] = e
            queue[tail] = w
            tail += 1
    return tail
