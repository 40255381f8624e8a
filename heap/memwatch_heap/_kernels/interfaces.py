"""Shapes of plain objects: which have the same properties, and which match a definition."""

import numpy as np

from memwatch_heap._jit import helper, kernel

_EMPTY = np.uint32(0xFFFFFFFF)


@helper
def _next_property(e, end, edge_type, edge_name, kind, skipped):
    """The next edge from e on that is a property that counts; `end` where there is none."""
    while e < end and (edge_type[e] != kind or edge_name[e] == skipped):
        e += 1
    return e


@helper
def _shape_end(first, last, edge_type, edge_name, kind, skipped, width, limit):
    """(hash of the properties that fit into the limit, place behind the last one)."""
    mixed = np.uint64(1469598103934665603)
    used = np.int64(1)
    behind = first
    e = _next_property(first, last, edge_type, edge_name, kind, skipped)
    while e < last:
        name = edge_name[e]
        if limit:
            if used > 1 and used + width[name] > limit:
                break
            used += width[name] + (2 if used != 1 else 0)
        mixed = (mixed ^ np.uint64(name)) * np.uint64(1099511628211)
        mixed ^= mixed >> np.uint64(29)
        behind = e + 1
        e = _next_property(e + 1, last, edge_type, edge_name, kind, skipped)
    return mixed, behind


def group_shapes(first, edge_type, edge_name, nodes, kind, skipped, width, limit):
    """(group per node of `nodes`; per group: its first node, the end of its edges, its count).

    Two nodes are of one group when their edges of type `kind` have the same names in the same
    order, `skipped` left out. With a limit, only the properties count whose joined text fits:
    `width` has the length of each, capped at 255. Groups are numbered as they are met.
    """
    room = 16
    while room < 2 * nodes.size:
        room *= 2
    table = np.full(room, _EMPTY, np.uint32)
    group = np.empty(nodes.size, np.uint32)
    sample = np.empty(nodes.size, np.uint32)
    ends = np.empty(nodes.size, np.uint32)
    counts = np.zeros(nodes.size, np.uint32)
    hashes = np.empty(nodes.size, np.uint64)
    shape = (first, edge_type, edge_name, nodes, kind, skipped, width, limit)
    groups = _group_shapes(*shape, table, group, sample, ends, counts, hashes)
    return group, sample[:groups].copy(), ends[:groups].copy(), counts[:groups].copy()


@kernel(
    "uint32[], uint8[], uint32[], uint32[], int64, int64, uint8[], int64, uint32[], uint32[],"
    " uint32[], uint32[], uint32[], uint64[] -> int64"
)
def _group_shapes(
    first, edge_type, edge_name, nodes, kind, skipped, width, limit, table, group, sample, ends,
    counts, hashes,
):  # fmt: skip
    room = table.size
    groups = 0
    for i in range(nodes.size):
        v = nodes[i]
        start = np.int64(first[v])
        mixed, end = _shape_end(
            start, np.int64(first[v + 1]), edge_type, edge_name, kind, skipped, width, limit
        )
        slot = np.int64(mixed & np.uint64(room - 1))
        while True:
            found = table[slot]
            if found == _EMPTY:
                table[slot] = groups
                sample[groups] = v
                ends[groups] = end
                hashes[groups] = mixed
                found = np.uint32(groups)
                groups += 1
                break
            if hashes[found] == mixed:
                a = start
                b = np.int64(first[sample[found]])
                stop = np.int64(ends[found])
                while True:
                    a = _next_property(a, end, edge_type, edge_name, kind, skipped)
                    b = _next_property(b, stop, edge_type, edge_name, kind, skipped)
                    if a >= end or b >= stop or edge_name[a] != edge_name[b]:
                        break
                    a += 1
                    b += 1
                if a >= end and b >= stop:
                    break
            slot = (slot + 1) & (room - 1)
        group[i] = found
        counts[found] += 1
    return groups


def match_shapes(
    first, edge_type, edge_name, nodes, kind, skipped, token_of, follower, place, users, needed
):
    """The definition of each node: the greatest of which it has all tokens; -1 for none.

    A token is a property's name and how often it came before. token_of: by string, its first
    token or -1. follower: by token, that of the next time or -1. users[place[t]:place[t + 1]]:
    the definitions that need token t. needed: by definition, its number of tokens.
    """
    best = np.full(nodes.size, -1, np.int64)
    have = np.zeros(needed.size, np.int32)
    seen = np.full(needed.size, -1, np.int64)
    turn = np.full(follower.size, -1, np.int64)
    current = np.zeros(follower.size, np.int32)
    tokens = (token_of, follower, place, users, needed)
    scratch = (have, seen, turn, current)
    _match_shapes(first, edge_type, edge_name, nodes, kind, skipped, *tokens, best, *scratch)
    return best


@kernel(
    "uint32[], uint8[], uint32[], uint32[], int64, int64, int32[], int32[], int64[], int32[],"
    " int32[], int64[], int32[], int64[], int64[], int32[]"
)
def _match_shapes(
    first, edge_type, edge_name, nodes, kind, skipped, token_of, follower, place, users, needed,
    best, have, seen, turn, current,
):  # fmt: skip
    for i in range(nodes.size):
        v = nodes[i]
        for e in range(first[v], first[v + 1]):
            if edge_type[e] != kind or edge_name[e] == skipped:
                continue
            head = token_of[edge_name[e]]
            if head < 0:
                continue
            token = head
            if turn[head] == i:
                token = follower[current[head]] if current[head] >= 0 else np.int32(-1)
            turn[head] = i
            current[head] = token
            if token < 0:
                continue
            for k in range(place[token], place[token + 1]):
                d = users[k]
                if seen[d] != i:
                    seen[d] = i
                    have[d] = 0
                have[d] += 1
                if have[d] == needed[d]:
                    b = best[i]
                    if b < 0 or needed[d] > needed[b] or (needed[d] == needed[b] and d < b):
                        best[i] = d


_WIDTHS = "uint8[], {}[], uint8[], uint8[]"


@kernel(_WIDTHS.format("uint32"), _WIDTHS.format("uint64"))
def name_widths(data, closing, wanted, width):
    """The length of each wanted string, at most 254; 255 where its text needs a closer look."""
    low = np.int64(0)
    for i in range(closing.size):
        start = low
        end = np.int64(closing[i])
        low = end + 1
        if not wanted[i]:
            continue
        while data[start] != 34:
            start += 1
        start += 1
        length = min(end - start, 254)
        for j in range(start, end):
            byte = data[j]
            if byte == 92 or byte >= 128 or byte == 44 or byte == 39 or byte == 123 or byte == 125:
                length = 255
                break
        width[i] = length


@kernel("uint32[], uint8[], uint32[], uint32[], int64, uint8[]")
def mark_names(first, edge_type, edge_name, nodes, kind, wanted):
    """wanted[s] = 1 for every string that names an edge of type `kind` of one of the nodes."""
    for v in nodes:
        for e in range(first[v], first[v + 1]):
            if edge_type[e] == kind:
                wanted[edge_name[e]] = 1
