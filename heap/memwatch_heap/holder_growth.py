"""How much more each holder holds: what grew, leak or not, container by container."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memwatch_heap.growth import Growth, Ledger

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class HolderGrowth:
    """One holder over all snapshots; what it holds is told by id.

    Attributes:
        id: of the holder. counts, shallow_bytes: of the objects that it holds directly, at each
            snapshot. retained_bytes: what it keeps alive itself.
        new, gone, survived: of the objects it holds, between the first snapshot and the last.
    """

    id: int
    counts: tuple[int, ...]
    shallow_bytes: tuple[int, ...]
    retained_bytes: tuple[int, ...]
    new: int
    gone: int
    survived: int


def grown_holders(growth: Growth, limit: int) -> list[HolderGrowth]:
    """The holders of the first and the last snapshot that hold most bytes more, at most `limit`."""
    owners, sums = _sums(growth.last)
    earlier_owners, earlier_sums = _sums(growth.first)
    at = np.searchsorted(earlier_owners, owners)
    at[at == len(earlier_owners)] = 0
    known = earlier_owners[at] == owners if len(earlier_owners) else np.zeros(len(owners), bool)
    more = sums - np.where(known, earlier_sums[at] if len(earlier_sums) else 0, 0)
    rows = growth.first.rows_of(owners)
    last_rows = growth.last.rows_of(owners)
    same = (rows >= 0) & (growth.first.group[rows] == growth.last.group[last_rows])
    chosen = np.flatnonzero(same & (more > 0))
    chosen = chosen[np.argsort(-more[chosen], kind="stable")[:limit]]
    return [_followed(growth, int(owner)) for owner in owners[chosen]]


def _sums(ledger: Ledger) -> tuple[U64, I64]:
    """(holders, bytes of what each holds directly)."""
    owners, at = np.unique(ledger.owner[ledger.item], return_inverse=True)
    sums = np.bincount(at, weights=ledger.shallow[ledger.item], minlength=len(owners))
    return owners, sums.astype(np.int64)


def _followed(growth: Growth, owner: int) -> HolderGrowth:
    held = [growth.items_of(ledger, owner) for ledger in growth.ledgers]
    ledgers = growth.ledgers
    shallow = [int(ledger.shallow[rows].sum()) for ledger, rows in zip(ledgers, held, strict=True)]
    survived = int(growth.last.lives_on(held[-1], growth.first).sum())
    lost = ~growth.first.lives_on(held[0], growth.last)
    return HolderGrowth(
        id=owner,
        counts=tuple(map(len, held)),
        shallow_bytes=tuple(shallow),
        retained_bytes=_retained(ledgers, owner),
        new=len(held[-1]) - survived,
        gone=int(lost.sum()),
        survived=survived,
    )


def _retained(ledgers: Sequence[Ledger], owner: int) -> tuple[int, ...]:
    """At each snapshot; 0 where the holder was not there."""
    sizes = []
    for ledger in ledgers:
        row = int(ledger.rows_of(np.array([owner], np.uint64))[0])
        sizes.append(int(ledger.retained[row]) if row >= 0 else 0)
    return tuple(sizes)
