"""Where what is new has piled up: holders of many new objects of one class."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memwatch_heap import rules
from memwatch_heap._backend import kernels
from memwatch_heap.holders import ITEM, Holders
from memwatch_heap.rules import LIMITS
from memwatch_heap.sharing import Pile, gather

Mask = NDArray[np.bool_]
F64 = NDArray[np.float64]

# Holders whose members are numbered or keyed: several alike below one are its data, spread out.
_COLLECTIONS = ("Map", "Set", "Array", "list", "dict", "set", "deque", "tuple", "WeakMap")
_SPREAD = 3  # so many members alike make a collection of collections
_MAX_SITES = 64  # heaviest first: what comes later explains nothing that a reader would act on


@dataclass(frozen=True, slots=True)
class Site:
    """A container and the piles in it, the heaviest first.

    The container is the piles' holder, or what refers to their objects where several do and so
    none of them dominates.
    """

    container: int
    piles: tuple[Pile, ...]

    @property
    def main(self) -> Pile:
        """What the holder mostly collects."""
        return self.piles[0]

    @property
    def weight(self) -> float:
        """Bytes of all that is new under the holder's new objects."""
        return sum(pile.weight for pile in self.piles)


def find_sites(
    holders: Holders, new: Mask, strange: Mask, shallow: NDArray[np.int64]
) -> list[Site]:
    """The places where new objects have piled up, the heaviest first.

    `new` says which objects are new; `strange` which ids the first snapshot did not have, which is
    what holders go by.
    """
    weight = kernels("owners").sums(
        holders.order, holders.idom, np.where(new, shallow, 0).astype(np.float64), holders.linked
    )
    heaps = _heaps(holders, new, weight)
    piles = _roll_up(holders, _roll_up(holders, heaps.of_old(strange)))
    piles += [pile for pile in heaps.of_new(strange) if _replaced(holders, strange, heaps, pile)]
    return _sites(gather(holders, new, strange, [pile for pile in piles if _is_heap(pile)]))


@dataclass(frozen=True, slots=True, eq=False)
class _Heaps:
    """New objects by holder and class, as columns in the order of `keys` (holder, then class)."""

    keys: NDArray[np.uint64]
    holder: NDArray[np.intp]
    counts: NDArray[np.intp]
    weights: F64
    together: F64  # objects of this class under all holders alike

    def of_old(self, strange: Mask) -> list[Pile]:
        """Piles of holders that were there before, as far as they can matter."""
        return self._piles(
            ~strange[self.holder] & (self._large | (self.together >= LIMITS.min_new))
        )

    def of_new(self, strange: Mask) -> list[Pile]:
        """Large piles of holders that are new themselves."""
        return self._piles(strange[self.holder] & self._large)

    def has(self, holder: int, group: int) -> bool:
        """Whether a holder has more than a few new objects of a class."""
        key = np.uint64(holder << 32 | group)
        at = int(np.searchsorted(self.keys, key))
        return bool(
            at < len(self.keys) and self.keys[at] == key and self.counts[at] >= LIMITS.few_new
        )

    @property
    def _large(self) -> Mask:
        heavy = (self.counts >= LIMITS.few_new) & (self.weights >= LIMITS.heavy_bytes)
        mask: Mask = heavy | (self.counts >= LIMITS.min_new)
        return mask

    def _piles(self, which: Mask) -> list[Pile]:
        low = np.uint64(0xFFFF_FFFF)
        columns = zip(self.keys[which], self.counts[which], self.weights[which], strict=True)
        return [
            Pile((int(key >> np.uint64(32)),), (), int(key & low), int(count), float(weight))
            for key, count, weight in columns
        ]


def _heaps(holders: Holders, new: Mask, weight: F64) -> _Heaps:
    nodes = np.flatnonzero(new & (holders.category == ITEM) & holders.holds[holders.owner])
    nodes = nodes[holders.owner[nodes] != holders.graph.root]
    key = holders.owner[nodes].astype(np.uint64) << np.uint64(32) | holders.group[nodes]
    keys, at, counts = np.unique(key, return_inverse=True, return_counts=True)
    holder = (keys >> np.uint64(32)).astype(np.intp)
    alike = np.stack(
        [holders.owner[holder], holders.group[holder], (keys & np.uint64(0xFFFF_FFFF))]
    )
    _, same = np.unique(alike, axis=1, return_inverse=True)
    together = np.bincount(same.ravel(), weights=counts)[same.ravel()].astype(np.float64)
    weights = np.bincount(at, weights=weight[nodes], minlength=len(keys)).astype(np.float64)
    return _Heaps(keys, holder, counts, weights, together)


def _is_heap(pile: Pile) -> bool:
    if pile.count >= LIMITS.min_new:
        return True
    return pile.count >= LIMITS.few_new and pile.weight >= LIMITS.heavy_bytes


def _roll_up(holders: Holders, piles: list[Pile]) -> list[Pile]:
    """Piles under many holders alike become one under what holds those holders."""
    alike: dict[tuple[int, int, tuple[int, ...], int], list[Pile]] = defaultdict(list)
    for pile in piles:
        outer = int(holders.owner[pile.holder])
        alike[outer, int(holders.group[pile.holder]), pile.via, pile.group].append(pile)
    out: list[Pile] = []
    for (outer, between, via, group), members in alike.items():
        count = sum(pile.count for pile in members)
        if count >= LIMITS.min_new and len(members) >= _enough(holders, outer):
            weight = sum(pile.weight for pile in members)
            out.append(Pile((outer,), (between, *via), group, count, weight))
        else:
            out += members
    return out


def _enough(holders: Holders, outer: int) -> int:
    kind = rules.KINDS.get(holders.group_of(outer), "")
    if not holders.holds[outer]:
        return 1 << 62
    return _SPREAD if kind in _COLLECTIONS else LIMITS.rollup


def _replaced(holders: Holders, strange: Mask, heaps: _Heaps, pile: Pile) -> bool:
    """Whether a new holder stands where an old one stood, and is none of a pile of its own."""
    node = pile.holder
    while strange[node]:
        owner = int(holders.owner[node])
        if owner == node or not holders.holds[owner]:
            return False
        if heaps.has(owner, int(holders.group[node])):
            return False
        node = owner
    return True


def _sites(contained: Iterable[tuple[int, Pile]]) -> list[Site]:
    merged: dict[tuple[int, tuple[int, ...]], dict[int, Pile]] = defaultdict(dict)
    for container, pile in contained:
        piles = merged[container, pile.via]
        known = piles.get(pile.group)
        piles[pile.group] = pile if known is None else known.merged(pile)
    sites = [
        Site(container, tuple(sorted(piles.values(), key=lambda pile: -pile.weight)))
        for (container, _), piles in merged.items()
    ]
    return sorted(sites, key=lambda site: -site.weight)[:_MAX_SITES]
