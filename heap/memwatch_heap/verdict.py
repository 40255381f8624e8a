"""The answer: which objects leak, how many, who holds them, where in the code."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from memwatch_heap import formats, rules
from memwatch_heap.basis import Basis, find_basis
from memwatch_heap.course import Course, Tell
from memwatch_heap.graph import HeapGraph
from memwatch_heap.growth import Growth, Ledger, Names, Series, identities, make_ledger, slot_of
from memwatch_heap.holder_growth import grown_holders
from memwatch_heap.holders import ITEM, NO_EDGE, NOISE, Holders, find_holders
from memwatch_heap.locations import Place, Sources, is_engine_script
from memwatch_heap.made import made_at
from memwatch_heap.owned import Owned
from memwatch_heap.paths import Paths
from memwatch_heap.report import Cleared, Holder, SnapshotFacts, Suspect, Verdict, Where
from memwatch_heap.rules import LIMITS
from memwatch_heap.sharing import Pile
from memwatch_heap.sites import Site, find_sites
from memwatch_heap.suspects import Judgement, State, judge, weigh
from memwatch_heap.words import Said, class_word, say

Snapshot = Path | str | HeapGraph
Mask = NDArray[np.bool_]

_MANY = 10  # cleared containers, and grown holders, that are listed
_KEYS = 20  # properties of an object that are looked for in the code


Examined = tuple[Ledger, Holders, Basis]

# What the parts weigh in the time that an explanation takes.
_READING, _EXAMINING, _JUDGING = 2.0, 4.0, 3.0


def explain(
    snapshots: Sequence[Snapshot],
    times: Sequence[float] | None = None,
    tell: Tell | None = None,
) -> Verdict:
    """The verdict over two or more snapshots of one process, oldest first.

    Files are read one after the other, so that one graph is held at a time.

    Args:
        snapshots: files or graphs.
        times: when each was taken, in seconds; growth per second needs it.
        tell: called with what goes on and the share that is done.

    Raises:
        SnapshotError: one cannot be read.
        ValueError: fewer than two snapshots, or as many times as there are not snapshots.
    """
    check_given(snapshots, times)
    names = Names()
    course = Course(tell, len(snapshots) * (_READING + _EXAMINING) + _JUDGING)
    ledgers = [_examined(snapshot, names, course)[0] for snapshot in snapshots[:-1]]
    last = _examined(snapshots[-1], names, course)
    course.begin("judging what has grown", _JUDGING)
    return conclude(ledgers, last, names, times)


def check_given(snapshots: Sequence[Snapshot], times: Sequence[float] | None) -> None:
    """Sees that there is something to compare.

    Raises:
        ValueError: fewer than two snapshots, or as many times as there are not snapshots.
    """
    if len(snapshots) < 2:
        raise ValueError(f"cannot compare {len(snapshots)} snapshot(s): at least two are needed")
    if times is not None and len(times) != len(snapshots):
        raise ValueError(f"cannot compare: {len(snapshots)} snapshots, but {len(times)} times")


def conclude(
    ledgers: Sequence[Ledger], last: Examined, names: Names, times: Sequence[float] | None
) -> Verdict:
    """The verdict over the ledgers of all snapshots but the last, and the last one examined."""
    ledger, holders, basis = last
    growth = Growth((*ledgers, ledger), tuple(names.all()))
    return _Inquiry(growth, holders, basis, names, times).verdict()


def load(snapshot: Snapshot, course: Course, weight: float, name: str | None = None) -> HeapGraph:
    """The graph of a snapshot; reading a file is a part of the course.

    `name` is what errors and reports call the file, if not by its own.
    """
    if isinstance(snapshot, HeapGraph):
        course.begin(f"reading {snapshot.name}", weight)
        return snapshot
    course.begin(f"reading {name or Path(snapshot).name}", weight)
    return formats.read(snapshot, name=name, progress=course.at)


def examine(graph: HeapGraph, names: Names) -> Examined:
    """What a verdict needs to know of a snapshot: its ledger; and of the last one all the rest."""
    basis = find_basis(graph)
    holders = find_holders(graph, basis)
    return make_ledger(holders, basis.shallow, basis.retained, names), holders, basis


def _examined(snapshot: Snapshot, names: Names, course: Course) -> Examined:
    graph = load(snapshot, course, _READING)
    course.begin(f"looking who holds what in {graph.name}", _EXAMINING)
    return examine(graph, names)


@dataclass(frozen=True, slots=True)
class _Finding:
    """A site with what was judged of it."""

    site: Site
    series: Series
    judgement: Judgement


class _Inquiry:
    """Turns growth into a verdict, over the graph of the last snapshot."""

    def __init__(
        self,
        growth: Growth,
        holders: Holders,
        basis: Basis,
        names: Names,
        times: Sequence[float] | None,
    ) -> None:
        self._growth = growth
        self._holders = holders
        self._basis = basis
        self._names = names
        self._times = times
        graph = holders.graph
        ids = graph.node_id.astype(np.uint64)
        # A holder is known by its id alone; what it holds may be another object at an old address.
        kinds = identities(holders.group_names, names)
        self._old = growth.first.known(ids, kinds[holders.group])
        rows = growth.last.rows_of(ids)
        self._new = growth.new_rows()[rows]
        self._replaced = growth.last.replaced(growth.first)[rows]
        self._owned = Owned(holders.owner)
        self._sources = Sources(graph)
        self._paths = Paths(holders, self._sources, self._old)

    def verdict(self) -> Verdict:
        """The whole answer."""
        sites = find_sites(self._holders, self._new, ~self._old, self._basis.shallow)
        sites = [site for site in sites if not self._moot(site)]
        findings = [self._judged(site) for site in sites]
        new_bytes = self._new_bytes()
        suspects = [
            self._suspect(finding, new_bytes)
            for finding in findings
            if finding.judgement.state.is_suspect
        ]
        suspects.sort(key=lambda s: (s.state != State.LEAKING, -s.new_bytes, s.path))
        cleared = [self._cleared(f) for f in findings if not f.judgement.state.is_suspect]
        verdict = _conclude(self._facts(), self._seconds(), new_bytes, suspects, cleared)
        return replace(verdict, holders=self._grown())

    def _grown(self) -> tuple[Holder, ...]:
        """The holders that hold most bytes more, leaks or not."""
        rows = grown_holders(self._growth, _MANY)
        graph = self._holders.graph
        nodes = [graph.node_of(row.id) for row in rows]
        said = [say(self._holders, self._paths.to(node), node, linked=False) for node in nodes]
        return tuple(
            Holder(
                path=str(words),
                container_class=class_word(self._holders.group_of(node)),
                container_id=row.id,
                counts=row.counts,
                shallow_bytes=row.shallow_bytes,
                retained_bytes=row.retained_bytes,
                new=row.new,
                gone=row.gone,
                survived=row.survived,
            )
            for row, node, words in zip(rows, nodes, said, strict=True)
        )

    def _moot(self, site: Site) -> bool:
        """Whether the containers that objects are spread over are other ones themselves now."""
        if not site.main.via:
            return False
        between = self._between(site.main)
        stayed = self._old[between] & ~self._replaced[between]
        return 2 * int(stayed.sum()) < len(between)

    def _new_bytes(self) -> int:
        """Of all that is new, without what the engine made for itself."""
        noise = self._holders.category == NOISE
        counted = self._new & ~noise & ~noise[self._holders.owner]
        return int(self._basis.shallow[counted].sum())

    def _numbers(self) -> NDArray[np.uint32]:
        names = self._holders.group_names
        return np.array([self._names.number(name) for name in names], np.uint32)

    def _facts(self) -> tuple[SnapshotFacts, ...]:
        return tuple(
            SnapshotFacts(ledger.name, len(ledger.ids), ledger.total_bytes)
            for ledger in self._growth.ledgers
        )

    def _seconds(self) -> float | None:
        return None if self._times is None else self._times[-1] - self._times[0]

    def _judged(self, site: Site) -> _Finding:
        series = self._follow(site.main)
        lengths = None
        if self._times is not None:
            lengths = [b - a for a, b in zip(self._times, self._times[1:], strict=False)]
        return _Finding(site, series, judge(series, lengths))

    # Following a pile through the snapshots.

    def _follow(self, pile: Pile) -> Series:
        numbers = self._numbers()
        via = [int(numbers[group]) for group in pile.via]
        keys = []
        for ledger in self._growth.ledgers:
            owners = self._owners_in(ledger, pile.holders, via)
            keys.append((owners, int(numbers[pile.group])))
        return self._growth.follow(keys)

    def _owners_in(
        self, ledger: Ledger, holders: tuple[int, ...], via: list[int]
    ) -> tuple[int, ...]:
        """The ids, in one snapshot, of what holds a pile's objects."""
        found = [self._counterpart(ledger, holder) for holder in holders]
        owners = tuple(number for number in found if number is not None)
        for group in via:
            owners = tuple(ledger.ids[self._growth.held_by(ledger, owners, group)].tolist())
        return owners

    def _counterpart(self, ledger: Ledger, node: int) -> int | None:
        """The id, in one snapshot, of what stands where a node stands in the last one.

        V8's ids are to be relied on, and a place is second best; with addresses it is the other
        way round, as another container may be where a dead one was.
        """
        if ledger.by_address:
            return self._in_its_place(ledger, node) or self._with_its_id(ledger, node)
        return self._with_its_id(ledger, node) or self._in_its_place(ledger, node)

    def _with_its_id(self, ledger: Ledger, node: int) -> int | None:
        node_id = int(self._holders.graph.node_id[node])
        row = int(ledger.rows_of(np.array([node_id], np.uint64))[0])
        same = row >= 0 and ledger.group[row] == self._numbers()[self._holders.group[node]]
        return node_id if same else None

    def _in_its_place(self, ledger: Ledger, node: int) -> int | None:
        owner = int(self._holders.owner[node])
        if owner == node:
            return None
        _, label = slot_of(self._holders, node)
        above = self._counterpart(ledger, owner)
        return None if above is None else ledger.slots.get((above, label))

    # Putting a finding into words.

    def _items(self, pile: Pile) -> NDArray[np.intp]:
        """The new objects of a pile, in the order of the file."""
        holders = self._holders
        held = self._held_by(self._between(pile), pile.group)
        items: NDArray[np.intp] = held[self._new[held] & (holders.category[held] == ITEM)]
        return items

    def _between(self, pile: Pile) -> NDArray[np.intp]:
        """The objects that hold those of a pile: its holders, or what is spread out below them."""
        holders = self._holders
        owners = np.array(pile.holders, np.intp)
        for group in pile.via:
            held = self._held_by(owners, group)
            owners = held[holders.category[held] == ITEM]
        return owners

    def _held_by(self, owners: ArrayLike, group: int) -> NDArray[np.intp]:
        """The nodes of a class that have one of some owners, in the order of the file."""
        nodes = self._owned.by(owners)
        found: NDArray[np.intp] = nodes[self._holders.group[nodes] == group]
        return found

    def _suspect(self, finding: _Finding, new_bytes: int) -> Suspect:
        site, series = finding.site, finding.series
        holders, graph = self._holders, self._holders.graph
        items = self._items(site.main)
        said = self._said(site)
        place = self._place(items, said)
        share = round(min(site.weight / max(new_bytes, 1), 1.0), 3)
        in_engine = bool(said.script) and is_engine_script(said.script)
        in_engine = in_engine and (place is None or place.is_engine)
        bound = self._bound(site, said)
        judgement = weigh(finding.judgement, series.new, share, in_engine, bound)
        names = [self._class_name(items)] + [
            class_word(holders.group_names[group]) for group in reversed(site.main.via)
        ]
        seconds = self._seconds()
        made, made_known = made_at(graph, items)
        return Suspect(
            state=str(judgement.state),
            confidence=judgement.confidence,
            why=judgement.why,
            root=said.root, name=said.name, kind=said.kind, part=said.part,
            path=" → ".join([str(said), *reversed(names)]),
            container_class=class_word(holders.group_of(site.container)),
            container_id=int(graph.node_id[site.container]),
            container_size=series.counts[-1],
            object_class=names[0],
            counts=series.counts,
            new_count=series.new,
            new_bytes=int(site.weight),
            per_second=series.new / seconds if seconds else None,
            share=share,
            where=_where(place),
            samples=tuple(int(graph.node_id[node]) for node in items[: -LIMITS.samples - 1 : -1]),
            others=tuple(
                (class_word(holders.group_names[pile.group]), pile.count)
                for pile in site.piles[1:4]
            ),
            made_at=made,
            made_known=made_known,
        )  # fmt: skip

    def _bound(self, site: Site, said: Said) -> str:
        """What speaks for a bound that the container has not reached yet; empty where nothing does.

        Code that takes objects out says nothing against a third snapshot, where all stayed.
        """
        parts = (self._holders.group_names[pile.group] for pile in site.piles)
        known = [rules.BOUNDED_PARTS[part] for part in parts if part in rules.BOUNDED_PARTS]
        if known or len(self._growth.ledgers) > 2 or not said.labels:
            return known[0] if known else ""
        methods = rules.REMOVERS.get(said.kind, ())
        place = self._sources.remover(said.script, said.labels[-1], methods) if methods else None
        if place is None:
            return ""
        return f"{place.what} ({place}) takes objects out, so it may have a bound not reached yet"

    def _place(self, items: NDArray[np.intp], said: Said) -> Place | None:
        """Where the objects come from, else the function that puts them where they are."""
        place = self._sources.near(int(items[-1]), self._new)
        if place is not None and not place.is_engine:
            return place
        weights = rules.WORD_WEIGHTS
        wanted = dict.fromkeys(self._keys(int(items[-1])), weights["key"])
        wanted |= dict.fromkeys(rules.ADDERS.get(said.kind, ()), weights["adder"])
        wanted |= dict.fromkeys(said.labels, weights["container"])
        filler = self._sources.adder(said.script, wanted)
        return filler or place or self._sources.of_way(said.start, reversed(said.nodes))

    def _keys(self, item: int) -> list[str]:
        """The properties of an object, by which the code that makes it may be known."""
        graph = self._holders.graph
        properties = graph.edge_code("property")
        edges = [edge for edge in graph.edges_of(item) if graph.edge_type[edge] == properties]
        return [graph.edge_label(edge) for edge in edges[:_KEYS]]

    def _said(self, site: Site) -> Said:
        path = self._paths.to(site.container)
        head = self._head(site)
        if head is not None and self._holders.edge[head] != NO_EDGE:
            path = replace(path, steps=(*path.steps, self._paths.last_step(self._holders, head)))
        return say(self._holders, path, site.container, linked=head is not None)

    def _head(self, site: Site) -> int | None:
        """The first object of a chain, where a site holds one."""
        holders, main = self._holders, site.main
        if main.via or not holders.linked[self._items(main)[-1:]].any():
            return None
        mine = self._held_by(main.holders, main.group)
        heads = mine[holders.linked[mine] == 0]
        return int(heads[np.argmax(self._basis.retained[heads])]) if len(heads) else None

    def _class_name(self, items: NDArray[np.intp]) -> str:
        classes = self._basis.classes
        used, counts = np.unique(classes.of[items], return_counts=True)
        if self._holders.group_of(int(items[0])) not in ("Object",):
            return class_word(self._holders.group_of(int(items[0])))
        return classes.names[int(used[np.argmax(counts)])]

    def _cleared(self, finding: _Finding) -> Cleared:
        judgement = finding.judgement
        name = class_word(self._holders.group_names[finding.site.main.group])
        return Cleared(
            f"{self._said(finding.site)} → {name}",
            str(judgement.state),
            finding.series.counts,
            "; ".join(judgement.why),
        )


def _where(place: Place | None) -> Where | None:
    return None if place is None else Where(place.script, place.line, place.column, place.what)


def _conclude(
    facts: tuple[SnapshotFacts, ...],
    seconds: float | None,
    new_bytes: int,
    suspects: list[Suspect],
    cleared: list[Cleared],
) -> Verdict:
    leaking = [suspect for suspect in suspects if suspect.state == State.LEAKING]
    if leaking:
        first = leaking[0]
        verdict, confidence = "leaking", max(suspect.confidence for suspect in leaking)
        summary = f"{first.new_count} new {first.object_class} are held by {_short(first)}"
        summary += f", and {len(leaking) - 1} more suspects" if len(leaking) > 1 else ""
    elif suspects:
        verdict, confidence = "growing, not sure", max(s.confidence for s in suspects)
        summary = f"{_short(suspects[0])} has grown, but may stop"
    else:
        verdict, confidence, summary = "not leaking", 0.8, "nothing collects objects for good"
    shown = suspects[: LIMITS.shown]
    return Verdict(
        verdict=verdict,
        confidence=confidence,
        summary=summary,
        snapshots=facts,
        seconds=seconds,
        new_bytes=new_bytes,
        explained=round(min(sum(s.new_bytes for s in suspects) / max(new_bytes, 1), 1.0), 3),
        suspects=tuple(shown),
        left_out=len(suspects) - len(shown),
        cleared=tuple(cleared[:_MANY]),
    )


def _short(suspect: Suspect) -> str:
    root = f"{suspect.root}: " if suspect.root else ""
    return f"{root}{suspect.name} ({suspect.kind})"
