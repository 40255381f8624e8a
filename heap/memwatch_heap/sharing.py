"""Objects that nobody holds alone: in which container are they, and are they a part of others?"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from memwatch_heap.holders import ITEM, NO_EDGE, NOISE, Holders
from memwatch_heap.locations import source_of

Mask = NDArray[np.bool_]

_SAMPLE = 200  # objects of a pile that are asked who refers to them
_MOST = 0.8  # of them a container must refer to


@dataclass(frozen=True, slots=True)
class Pile:
    """New objects of one class under one holder.

    Attributes:
        holders: nodes of the last heap; several where the objects of one container are held by
            it alone in part and together with others in part.
        via: groups between holder and object where the objects are spread over many containers
            alike, outermost first.
        group: class of the objects.
        count, weight: new objects, and bytes of all that is new in them.
    """

    holders: tuple[int, ...]
    via: tuple[int, ...]
    group: int
    count: int
    weight: float

    @property
    def holder(self) -> int:
        """The one holder, or the first."""
        return self.holders[0]

    def merged(self, other: "Pile") -> "Pile":
        """This pile and another one of the same container and class."""
        return replace(
            self,
            holders=(*self.holders, *other.holders),
            count=self.count + other.count,
            weight=self.weight + other.weight,
        )


def gather(holders: Holders, new: Mask, strange: Mask, piles: list[Pile]) -> list[tuple[int, Pile]]:
    """Each pile with the container it is in.

    A pile whose objects are held by the objects of other piles only (a context that two closures
    share) is no pile of its own: its weight goes to those.
    """
    shared = [pile for pile in piles if not pile.via and not _is_straight(holders, new, pile)]
    straight = [pile for pile in piles if pile not in shared]
    found = [(pile.holder, pile) for pile in straight]
    parts: list[tuple[Pile, list[Pile]]] = []
    for pile in shared:
        referrers = _referrers(holders, pile, new)
        container = _container(holders, strange, referrers)
        wholes = [
            other for other in piles if other is not pile and _holds(holders, other, referrers)
        ]
        if container is not None:
            found.append((container, pile))
        elif wholes:
            parts.append((pile, wholes))
        else:
            found.append((pile.holder, pile))
    return _with_parts(found, parts)


def _with_parts(
    found: list[tuple[int, Pile]], parts: list[tuple[Pile, list[Pile]]]
) -> list[tuple[int, Pile]]:
    extra: Counter[tuple[int, int]] = Counter()
    for pile, wholes in parts:
        for whole in wholes:
            extra[whole.holder, whole.group] += pile.weight / len(wholes)  # type: ignore[assignment]
    return [
        (container, replace(pile, weight=pile.weight + extra[pile.holder, pile.group]))
        for container, pile in found
    ]


def _items(holders: Holders, new: Mask, pile: Pile) -> NDArray[np.intp]:
    mine = (holders.owner == pile.holder) & (holders.group == pile.group) & new
    return np.flatnonzero(mine & (holders.category == ITEM))


def _is_straight(holders: Holders, new: Mask, pile: Pile) -> bool:
    """Whether edges lead from the holder to its objects, over parts of the engine at most."""
    items = _items(holders, new, pile)[:_SAMPLE]
    return sum(_reaches(holders, int(node), pile.holder) for node in items) * 2 > len(items)


def _reaches(holders: Holders, node: int, holder: int) -> bool:
    while node != holder:
        if holders.edge[node] == NO_EDGE and not holders.linked[node]:
            return False
        above = int(holders.idom[node])
        if above == node:
            return False
        node = above
    return True


def _referrers(holders: Holders, pile: Pile, new: Mask) -> list[Counter[int]]:
    """Per object of a sample: which solid objects refer to it, however often."""
    graph = holders.graph
    items = _items(holders, new, pile)[:_SAMPLE]
    wanted = np.zeros(graph.node_count, bool)
    wanted[items] = True
    edges = np.flatnonzero(wanted[graph.edge_to])
    edges = edges[graph.edge_type[edges] != graph.edge_code("weak")]
    sources = source_of(graph, edges)
    told = holders.category[sources] != NOISE
    edges, sources = edges[told], sources[told]
    solid = np.where(holders.holds[sources], sources, holders.owner[sources])
    found: dict[int, Counter[int]] = {int(node): Counter() for node in items}
    for node, source in zip(graph.edge_to[edges].tolist(), solid.tolist(), strict=True):
        found[node][source] += 1
    return list(found.values())


def _container(holders: Holders, strange: Mask, referrers: list[Counter[int]]) -> int | None:
    """The old object that refers to most of a pile; of several the one with the fewest others."""
    covers: Counter[int] = Counter()
    holds = holders.holds
    for counts in referrers:
        covers.update(node for node in counts if not strange[node] and holds[node])
    most = [node for node, count in covers.items() if count >= _MOST * len(referrers)]
    most = [node for node in most if node != holders.graph.root]
    return min(most, default=None, key=lambda node: (-covers[node], node))


def _holds(holders: Holders, pile: Pile, referrers: Iterable[Counter[int]]) -> bool:
    """Whether objects of a pile are among the referrers of most of another's."""
    rows = list(referrers)
    hits = sum(
        any(
            int(holders.owner[node]) == pile.holder and int(holders.group[node]) == pile.group
            for node in counts
        )
        for counts in rows
    )
    return hits >= _MOST * len(rows) and bool(rows)
