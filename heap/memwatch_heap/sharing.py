"""Objects that nobody holds alone: in which container are they, and are they a part of others?"""

from collections import Counter
from collections.abc import Sequence
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


@dataclass(frozen=True, slots=True, eq=False)
class NewItems:
    """The new objects that holders have, sorted by holder and class.

    Attributes:
        keys: holder << 32 | class, of each run of `nodes`, ascending. starts: where each begins.
        nodes: the objects, ascending within a run.
    """

    keys: NDArray[np.uint64]
    starts: NDArray[np.intp]
    nodes: NDArray[np.intp]

    @classmethod
    def of(cls, holders: Holders, new: Mask) -> "NewItems":
        """Those of a heap; what hangs on the root alone is nobody's."""
        nodes = np.flatnonzero(new & (holders.category == ITEM) & holders.holds[holders.owner])
        nodes = nodes[holders.owner[nodes] != holders.graph.root]
        key = holders.owner[nodes].astype(np.uint64) << np.uint64(32) | holders.group[nodes]
        order = np.argsort(key, kind="stable")
        keys, starts = np.unique(key[order], return_index=True)
        return cls(keys, starts, nodes[order])

    def sample(self, pile: "Pile") -> NDArray[np.intp]:
        """Some of the objects that the holder of a pile has."""
        key = np.uint64(pile.holder << 32 | pile.group)
        run = int(np.searchsorted(self.keys, key))
        if run == len(self.keys) or self.keys[run] != key:
            return self.nodes[:0]
        end = int(self.starts[run + 1]) if run + 1 < len(self.keys) else len(self.nodes)
        return self.nodes[int(self.starts[run]) : end][:_SAMPLE]


def gather(
    holders: Holders, items: NewItems, strange: Mask, piles: list[Pile]
) -> list[tuple[int, Pile]]:
    """Each pile with the container it is in.

    A pile whose objects are held by the objects of other piles only (a context that two closures
    share) is no pile of its own: its weight goes to those.
    """
    straight = [bool(pile.via) or _is_straight(holders, items.sample(pile), pile) for pile in piles]
    found = [(pile.holder, pile) for pile, is_one in zip(piles, straight, strict=True) if is_one]
    shared = [pile for pile, is_one in zip(piles, straight, strict=True) if not is_one]
    known = {(pile.holder, pile.group): pile for pile in piles if not pile.via}
    referrers = _referrers(holders, [items.sample(pile) for pile in shared])
    parts: list[tuple[Pile, list[Pile]]] = []
    for pile in shared:
        mine = [referrers[node] for node in items.sample(pile).tolist()]
        container = _container(holders, strange, mine)
        wholes = [known[key] for key in _held_by(holders, mine) if key in known]
        wholes = [whole for whole in wholes if whole is not pile]
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


def _is_straight(holders: Holders, items: NDArray[np.intp], pile: Pile) -> bool:
    """Whether edges lead from the holder to its objects, over parts of the engine at most."""
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


def _referrers(holders: Holders, samples: Sequence[NDArray[np.intp]]) -> dict[int, Counter[int]]:
    """Per object of some samples: which solid objects refer to it, however often."""
    graph = holders.graph
    found: dict[int, Counter[int]] = {}
    for sample in samples:
        found |= {int(node): Counter() for node in sample}
    if not found:
        return found
    wanted = np.zeros(graph.node_count, bool)
    wanted[list(found)] = True
    edges = np.flatnonzero(wanted[graph.edge_to])
    edges = edges[graph.edge_type[edges] != graph.edge_code("weak")]
    sources = source_of(graph, edges)
    told = holders.category[sources] != NOISE
    edges, sources = edges[told], sources[told]
    solid = np.where(holders.holds[sources], sources, holders.owner[sources])
    for node, source in zip(graph.edge_to[edges].tolist(), solid.tolist(), strict=True):
        found[node][source] += 1
    return found


def _container(holders: Holders, strange: Mask, referrers: list[Counter[int]]) -> int | None:
    """The old object that refers to most of a pile; of several the one with the fewest others."""
    covers: Counter[int] = Counter()
    holds = holders.holds
    for counts in referrers:
        covers.update(node for node in counts if not strange[node] and holds[node])
    most = [node for node, count in covers.items() if count >= _MOST * len(referrers)]
    most = [node for node in most if node != holders.graph.root]
    return min(most, default=None, key=lambda node: (-covers[node], node))


def _held_by(holders: Holders, referrers: Sequence[Counter[int]]) -> list[tuple[int, int]]:
    """(holder, class) of piles whose objects are among the referrers of most of another's."""
    hits: Counter[tuple[int, int]] = Counter()
    for counts in referrers:
        hits.update({(int(holders.owner[node]), int(holders.group[node])) for node in counts})
    return [key for key, count in hits.items() if count >= _MOST * len(referrers)]
