"""Where what is new has piled up: holders of many new objects of one class."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memwatch_heap._backend import kernels
from memwatch_heap.holders import Holders
from memwatch_heap.rollup import roll_up
from memwatch_heap.rules import LIMITS
from memwatch_heap.sharing import NewItems, Pile, gather

Mask = NDArray[np.bool_]
F64 = NDArray[np.float64]

# Piles that are looked into: as many as may make the sites below, parts and all.
_MAX_PILES = 500
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
    items = NewItems.of(holders, new)
    heaps = _heaps(items, weight)
    piles = heaps.of_old(holders, strange)
    piles += [pile for pile in heaps.of_new(strange) if _replaced(holders, strange, heaps, pile)]
    piles.sort(key=lambda pile: -pile.weight)
    return _sites(gather(holders, items, strange, piles[:_MAX_PILES]))


@dataclass(frozen=True, slots=True, eq=False)
class _Heaps:
    """New objects by holder and class, as columns in the order of `keys` (holder, then class)."""

    keys: NDArray[np.uint64]
    holder: NDArray[np.intp]
    counts: NDArray[np.intp]
    weights: F64

    def of_old(self, holders: Holders, strange: Mask) -> list[Pile]:
        """Piles of holders that were there before, those spread over many small ones as one."""
        rows = np.flatnonzero(~strange[self.holder])
        group = (self.keys[rows] & np.uint64(0xFFFF_FFFF)).astype(np.intp)
        counts, weights = self.counts[rows].astype(np.float64), self.weights[rows]
        found = roll_up(holders, self.holder[rows], group, counts, weights)
        piles = []
        for row in np.flatnonzero(_is_large(found.count, found.weight)).tolist():
            container, via = found.container(holders, row)
            count, weight = int(found.count[row]), float(found.weight[row])
            piles.append(Pile((container,), via, int(found.group[row]), count, weight))
        return piles

    def of_new(self, strange: Mask) -> list[Pile]:
        """Large piles of holders that are new themselves."""
        return self._piles(strange[self.holder] & _is_large(self.counts, self.weights))

    def has(self, holder: int, group: int) -> bool:
        """Whether a holder has more than a few new objects of a class."""
        key = np.uint64(holder << 32 | group)
        at = int(np.searchsorted(self.keys, key))
        return bool(
            at < len(self.keys) and self.keys[at] == key and self.counts[at] >= LIMITS.few_new
        )

    def _piles(self, which: Mask) -> list[Pile]:
        low = np.uint64(0xFFFF_FFFF)
        columns = zip(self.keys[which], self.counts[which], self.weights[which], strict=True)
        return [
            Pile((int(key >> np.uint64(32)),), (), int(key & low), int(count), float(weight))
            for key, count, weight in columns
        ]


def _heaps(items: NewItems, weight: F64) -> _Heaps:
    holder = (items.keys >> np.uint64(32)).astype(np.intp)
    counts = np.diff(np.append(items.starts, len(items.nodes)))
    weights = np.add.reduceat(weight[items.nodes], items.starts) if len(counts) else weight[:0]
    return _Heaps(items.keys, holder, counts, weights)


def _is_large(counts: NDArray[Any], weights: F64) -> Mask:
    """Whether so many objects, or so heavy ones, are growth and not chance."""
    heavy = (counts >= LIMITS.few_new) & (weights >= LIMITS.heavy_bytes)
    mask: Mask = heavy | (counts >= LIMITS.min_new)
    return mask


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
