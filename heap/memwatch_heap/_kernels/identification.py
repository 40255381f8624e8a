"""Pairs objects of two heaps by the ways to them: see `memwatch_heap.identification`."""

import numpy as np

from memwatch_heap._jit import helper, kernel

NONE = 0xFFFF_FFFF
ORDERED = 0x8000_0000  # in a key: told by the order among its like, not by name
IGNORED = 0xFFFF_FFFF  # a key of an edge that leads nowhere worth
GONE = 0xFFFF_FFFE  # a twin: what the node says of itself is said by no other, nor over there

_HASHES = "uint8[], {}[], uint32[], uint8[]"


@kernel(_HASHES.format("uint32"), _HASHES.format("uint64"))
def hashes(data, closing, found, number):
    """Per string its 31-bit hash (FNV-1a), and 1 where it is a number in digits."""
    low = np.int64(0)
    for i in range(closing.size):
        end = np.int64(closing[i])
        start = low
        while data[start] != 34:
            start += 1
        low = end + 1
        digest = np.int64(2166136261)
        digits = np.int64(1) if end > start + 1 else np.int64(0)
        for k in range(start + 1, end):
            byte = np.int64(data[k])
            if byte < 48 or byte > 57:
                digits = np.int64(0)
            digest = ((digest ^ byte) * 16777619) & 0xFFFF_FFFF
        found[i] = (digest ^ (digest >> 31)) & 0x7FFF_FFFF
        number[i] = digits


@kernel("uint32[], uint8[], uint32[], uint32[], uint8[], uint32[], uint8[], uint32[], uint32[]")
def edge_keys(first, edge_type, edge_name, edge_to, indexed, hashed, number, kind, keys):
    """Per edge what it is told by: a hash of type and name, or of the type and its node's kind.

    `indexed` per edge type: 1 where the name is a number, 2 where the edge is ignored.
    """
    for e in range(edge_type.size):
        code = np.int64(edge_type[e])
        if indexed[code] == 2:
            keys[e] = IGNORED
        elif indexed[code] == 1 or number[edge_name[e]] == 1:
            mixed = (np.int64(kind[edge_to[e]]) * 31 + code) & 0x7FFF_FFFF
            keys[e] = min(mixed, np.int64(0x7FFF_FFFE)) | ORDERED
        else:
            keys[e] = (np.int64(hashed[edge_name[e]]) * 31 + code) & 0x7FFF_FFFF


@kernel("uint32[], uint32[], uint32[], uint32[], uint32[]")
def sort_edges(first, keys, edge_to, spare_keys, spare_to):
    """Sorts the edges of each node by key in place; edges of one key keep their order."""
    for v in range(first.size - 1):
        low, high = np.int64(first[v]), np.int64(first[v + 1])
        width = np.int64(8)
        for begin in range(low, high, width):
            for i in range(begin + 1, min(begin + width, high)):
                key, to = keys[i], edge_to[i]
                j = np.int64(i)
                while j > begin and keys[j - 1] > key:
                    keys[j] = keys[j - 1]
                    edge_to[j] = edge_to[j - 1]
                    j -= 1
                keys[j] = key
                edge_to[j] = to
        while width < high - low:
            for begin in range(low, high, 2 * width):
                middle, end = min(begin + width, high), min(begin + 2 * width, high)
                i, j = np.int64(begin), np.int64(middle)
                for k in range(begin, end):
                    if j >= end or (i < middle and keys[i] <= keys[j]):
                        spare_keys[k] = keys[i]
                        spare_to[k] = edge_to[i]
                        i += 1
                    else:
                        spare_keys[k] = keys[j]
                        spare_to[k] = edge_to[j]
                        j += 1
            for k in range(low, high):
                keys[k] = spare_keys[k]
                edge_to[k] = spare_to[k]
            width *= 2


@helper
def _beginning(keys, low, high, ordered):
    """Where the edges of one sort begin: those with a name at once, ordered ones behind them."""
    if not ordered:
        return low
    while low < high:
        middle = (low + high) // 2
        if keys[middle] < ORDERED:
            low = middle + 1
        else:
            high = middle
    return low


@helper
def _pair_twins(w, taken, first_, keys_, to_, twin_, match, queue, tail):
    """Pairs entries of a new node with their twins, wherever those were; the queue's new end."""
    high = np.int64(first_[w + 1])
    for j in range(_beginning(keys_, np.int64(first_[w]), high, True), high):
        b = to_[j]
        a = twin_[b]
        if keys_[j] != IGNORED and a < GONE and match[b] == NONE and not taken[a]:
            match[b] = a
            taken[a] = 1
            queue[tail] = b
            tail += 1
    return tail


@helper
def _pair(
    v, w, ordered, first, keys, to, kind, twin, taken,
    first_, keys_, to_, kind_, twin_, match, queue, tail,
):  # fmt: skip
    """Pairs what hangs on a pair of nodes (v old, w new); the new end of the queue."""
    high, high_ = np.int64(first[v + 1]), np.int64(first_[w + 1])
    i = _beginning(keys, np.int64(first[v]), high, ordered)
    j = _beginning(keys_, np.int64(first_[w]), high_, ordered)
    limit = np.int64(IGNORED if ordered else ORDERED)
    while i < high and j < high_:
        key, key_ = np.int64(keys[i]), np.int64(keys_[j])
        if key >= limit or key_ >= limit:
            break
        a, b = to[i], to_[j]
        if key < key_:
            i += 1
        elif key_ < key:
            j += 1
        elif taken[a] and match[b] != NONE:
            i += 1
            j += 1
        elif taken[a]:
            i += 1
        elif match[b] != NONE:
            j += 1
        elif ordered and twin[a] != NONE:
            i += 1  # it is gone, or paired where its twin is met
        elif ordered and twin_[b] != NONE:
            j += 1
        else:
            chained = not ordered and kind[a] == kind[v]
            same = not chained or (twin[a] == NONE and twin_[b] == NONE) or twin_[b] == a
            if same and kind[a] == kind_[b]:
                match[b] = a
                taken[a] = 1
                queue[tail] = b
                tail += 1
            i += 1
            j += 1
    return tail


_HEAP = "uint32[], uint32[], uint32[], uint32[], uint32[], int64"


@kernel(f"{_HEAP}, {_HEAP}, uint8[], uint32[], uint32[] -> int64")
def match_nodes(
    first, keys, to, kind, twin, root, first_, keys_, to_, kind_, twin_, root_, taken, match, queue
):
    """match[w] = the old node of new node w, NONE for none; returns how many have one.

    Breadth first from the roots. What is told by name is paired before anything that is told
    by its order alone. `twin` is per node the one over there that says the same of itself, GONE
    where there is none, NONE where that is not known: it goes before the order, and in a chain
    of objects of one kind before the name.
    """
    match[root_] = root
    taken[root] = 1
    queue[0] = root_
    tail, named, ordered = np.int64(1), np.int64(0), np.int64(0)
    while ordered < tail:
        while named < tail:
            w = np.int64(queue[named])
            named += 1
            tail = _pair(
                np.int64(match[w]), w, False, first, keys, to, kind, twin, taken,
                first_, keys_, to_, kind_, twin_, match, queue, tail,
            )  # fmt: skip
        w = np.int64(queue[ordered])
        ordered += 1
        tail = _pair_twins(w, taken, first_, keys_, to_, twin_, match, queue, tail)
        tail = _pair(
            np.int64(match[w]), w, True, first, keys, to, kind, twin, taken,
            first_, keys_, to_, kind_, twin_, match, queue, tail,
        )  # fmt: skip
    return tail
