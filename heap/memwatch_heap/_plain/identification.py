"""Pairs objects of two heaps by the ways to them: see `memwatch_heap.identification`."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]

NONE = 0xFFFF_FFFF
ORDERED = 0x8000_0000
IGNORED = 0xFFFF_FFFF
GONE = 0xFFFF_FFFE


def hashes(data: U8, closing: NDArray[Any], found: U32, number: U8) -> None:
    """Per string its 31-bit hash (FNV-1a), and 1 where it is a number in digits."""
    low = 0
    for index, end in enumerate(closing.tolist()):
        text = data[low:end].tobytes()
        text = text[text.index(b'"') + 1 :]
        low = end + 1
        digest = 2166136261
        for byte in text:
            digest = ((digest ^ byte) * 16777619) & 0xFFFF_FFFF
        found[index] = (digest ^ (digest >> 31)) & 0x7FFF_FFFF
        number[index] = text.isdigit()


def edge_keys(
    first: U32,
    edge_type: U8,
    edge_name: U32,
    edge_to: U32,
    indexed: U8,
    hashed: U32,
    number: U8,
    kind: U32,
    keys: U32,
) -> None:
    """Per edge what it is told by: a hash of type and name, or of the type and its node's kind."""
    for e, code in enumerate(edge_type.tolist()):
        if indexed[code] == 2:
            keys[e] = IGNORED
        elif indexed[code] == 1 or number[edge_name[e]]:
            mixed = (int(kind[edge_to[e]]) * 31 + code) & 0x7FFF_FFFF
            keys[e] = min(mixed, 0x7FFF_FFFE) | ORDERED
        else:
            keys[e] = (int(hashed[edge_name[e]]) * 31 + code) & 0x7FFF_FFFF


def sort_edges(first: U32, keys: U32, edge_to: U32, spare_keys: U32, spare_to: U32) -> None:
    """Sorts the edges of each node by key in place; edges of one key keep their order."""
    for low, high in zip(first[:-1].tolist(), first[1:].tolist(), strict=True):
        order = low + np.argsort(keys[low:high], kind="stable")
        keys[low:high], edge_to[low:high] = keys[order], edge_to[order]


def match_nodes(  # noqa: C901  one walk, as in the kernel
    first: U32, keys: U32, to: U32, kind: U32, twin: U32, root: int,
    first_: U32, keys_: U32, to_: U32, kind_: U32, twin_: U32, root_: int,
    taken: U8, match: U32, queue: U32,
) -> int:  # fmt: skip
    """match[w] = the old node of new node w, NONE for none; returns how many have one."""
    match[root_], taken[root] = root, 1
    found = [root_]
    named, ordered = deque([root_]), deque([root_])

    def told(a: int, b: int) -> None:
        match[b], taken[a] = a, 1
        for line in (found, named, ordered):
            line.append(b)

    def pair_twins(w: int) -> None:
        for _, nodes in sorted(_by_key(first_, keys_, to_, w, True).items()):
            for b in nodes:
                if twin_[b] < GONE and match[b] == NONE and not taken[twin_[b]]:
                    told(int(twin_[b]), b)

    def pair(w: int, by_order: bool) -> None:
        v = int(match[w])
        old = _by_key(first, keys, to, v, by_order)
        new = _by_key(first_, keys_, to_, w, by_order)
        for key in sorted(old.keys() & new.keys()):
            rest = _lockstep(
                *(deque(old[key]), lambda a: taken[a] or (by_order and twin[a] != NONE)),
                *(deque(new[key]), lambda b: match[b] != NONE or (by_order and twin_[b] != NONE)),
            )
            for a, b in rest:
                is_kind = kind[a] == kind_[b]
                chained = not by_order and kind[a] == kind[v]
                if is_kind and (not chained or _may_be(a, int(twin[a]), int(twin_[b]))):
                    told(a, b)

    while ordered:
        while named:
            pair(named.popleft(), False)
        w = ordered.popleft()
        pair_twins(w)
        pair(w, True)
    queue[: len(found)] = found
    return len(found)


def _may_be(a: int, twin: int, twin_: int) -> bool:
    """Whether what old node a and a new one say of themselves does not forbid that they are one."""
    return twin == twin_ == NONE or twin_ == a


def _lockstep(
    left: deque[int], out: Callable[[int], Any], right: deque[int], out_: Callable[[int], Any]
) -> Iterator[tuple[int, int]]:
    """The first of both, again and again, without those that are out by then."""
    while left and right:
        a, b = left[0], right[0]
        if gone := out(a):
            left.popleft()
        if gone_ := out_(b):
            right.popleft()
        if not gone and not gone_:
            left.popleft()
            right.popleft()
            yield a, b


def _by_key(first: U32, keys: U32, to: U32, node: int, by_order: bool) -> dict[int, list[int]]:
    """The nodes that a node leads to, by key, of one sort."""
    groups: dict[int, list[int]] = {}
    for e in range(int(first[node]), int(first[node + 1])):
        key = int(keys[e])
        if key != IGNORED and (key >= ORDERED) == by_order:
            groups.setdefault(key, []).append(int(to[e]))
    return groups
