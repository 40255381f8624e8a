"""What a comparison of snapshots found, as values and as the JSON of docs/formats/verdict.md."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

FORMAT = "memwatch.verdict"
VERSION = 1
MAX_JSON_BYTES = 8192  # a tool or a language model takes it in whole
_MAX_TEXT = 240  # of one string
_BY_PLACE = "told by the way that leads to them: the runtime numbered its objects anew in between"


@dataclass(frozen=True, slots=True)
class Where:
    """A place in the source, counted from 1 (0: not known); `what` is there, such as a class."""

    script: str
    line: int
    column: int
    what: str


@dataclass(frozen=True, slots=True)
class AllocationSite:
    """A line that objects were made at.

    Attributes:
        script, line, column: as in `Where`. what: the function, where it has a name, and what it
            called to make them.
        count: how many of the objects. callers: the lines outwards, such as `views.py:12`.
    """

    script: str
    line: int
    column: int
    what: str
    count: int
    callers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Suspect:
    """A container that collects objects and, it seems, lets none go.

    Attributes:
        state: `leaking` or `growing, not sure`.
        confidence: 0 to 1. why: the reasons, in sentences.
        root, name, kind, part: the container in words: `app.js`, `bus`, `EventEmitter`,
            `listeners of 'close'`.
        path: all of it with what it collects, as one line.
        container_class: the class of the object that holds. container_id: its id.
        container_size: objects it holds at the last snapshot.
        object_class: what it collects. counts: how many at each snapshot.
        new_count: objects of the last snapshot that were not in the first.
        new_bytes: all that is new in them. per_second: new objects a second, None without times.
        share: of the bytes that are new in the whole heap, 0 to 1.
        where: the source of the objects, None where the snapshot does not say.
        samples: ids of some of the new objects, the last ones first.
        others: other classes that it collects along, with numbers of new objects.
        made_at: the lines that most of the new objects were made at, where allocations were traced.
        made_known: of how many of them that is known.
    """

    state: str
    confidence: float
    why: tuple[str, ...]
    root: str
    name: str
    kind: str
    part: str
    path: str
    container_class: str
    container_id: int
    container_size: int
    object_class: str
    counts: tuple[int, ...]
    new_count: int
    new_bytes: int
    per_second: float | None
    share: float
    where: Where | None
    samples: tuple[int, ...]
    others: tuple[tuple[str, int], ...]
    made_at: tuple[AllocationSite, ...] = ()
    made_known: int = 0


@dataclass(frozen=True, slots=True)
class Cleared:
    """A container whose objects changed but that is not held for a leak."""

    path: str
    state: str
    counts: tuple[int, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Holder:
    """A holder that holds more than it did, leak or not.

    Attributes:
        path: it in words. container_class, container_id: what it is, in the last snapshot.
        counts, shallow_bytes: of the objects it holds directly, at each snapshot.
        retained_bytes: what it keeps alive, at each snapshot.
        new, gone, survived: of the objects it holds, between the first snapshot and the last.
    """

    path: str
    container_class: str
    container_id: int
    counts: tuple[int, ...]
    shallow_bytes: tuple[int, ...]
    retained_bytes: tuple[int, ...]
    new: int
    gone: int
    survived: int


@dataclass(frozen=True, slots=True)
class SnapshotFacts:
    """One of the snapshots compared."""

    name: str
    objects: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer, with its evidence.

    Attributes:
        verdict: `leaking`, `growing, not sure` or `not leaking`.
        confidence: 0 to 1. summary: one sentence.
        snapshots: oldest first. seconds: between the first and the last, None if not known.
        new_bytes: of all objects of the last snapshot that the first did not have.
        explained: the share of them that is in the suspects.
        suspects: heaviest first, leaking ones before the others. left_out: more that are not
            listed. cleared: what changed and is no suspect.
        holders: that hold most bytes more than they did, leaks or not.
        told_by: how objects were known again: `id`, or `place` where the runtime had numbered
            them anew.
    """

    verdict: str
    confidence: float
    summary: str
    snapshots: tuple[SnapshotFacts, ...]
    seconds: float | None
    new_bytes: int
    explained: float
    suspects: tuple[Suspect, ...]
    left_out: int
    cleared: tuple[Cleared, ...]
    holders: tuple[Holder, ...] = ()
    told_by: str = "id"

    @property
    def grown_bytes(self) -> int:
        """By how much the heap has grown."""
        return self.snapshots[-1].total_bytes - self.snapshots[0].total_bytes

    def to_json(self, max_bytes: int = MAX_JSON_BYTES) -> str:
        """The document of docs/formats/verdict.md; the least of it is left out to fit."""
        verdict = self
        while True:
            text = json.dumps(verdict.to_dict(), ensure_ascii=False, separators=(",", ":"))
            smaller = verdict._smaller()
            if len(text.encode()) <= max_bytes or smaller is None:
                return text
            verdict = smaller

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""
        document: dict[str, Any] = {"format": FORMAT, "version": VERSION}
        document |= _plain(asdict(self))
        document["grown_bytes"] = self.grown_bytes
        return document

    def _smaller(self) -> "Verdict | None":
        if self.holders:
            return replace(self, holders=self.holders[:-1])
        if self.cleared:
            return replace(self, cleared=self.cleared[:-1])
        if any(len(suspect.made_at) > 1 for suspect in self.suspects):
            return replace(
                self, suspects=tuple(replace(s, made_at=s.made_at[:1]) for s in self.suspects)
            )
        if len(self.suspects) > 1:
            return replace(self, suspects=self.suspects[:-1], left_out=self.left_out + 1)
        return None


def _plain(value: Any) -> Any:
    """Cuts long texts: a name may be data of any length."""
    if isinstance(value, str):
        return value if len(value) <= _MAX_TEXT else value[: _MAX_TEXT - 1] + "…"
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, Iterable):
        return [_plain(part) for part in value]
    return value


def by_place(verdict: Verdict, own_id: Callable[[int], int]) -> Verdict:
    """A verdict over objects that were known again by their place, with the snapshot's own ids.

    `own_id`: see `identification.own_ids`.
    """

    def suspect(found: Suspect) -> Suspect:
        return replace(
            found,
            why=(*found.why, _BY_PLACE),
            container_id=own_id(found.container_id),
            samples=tuple(own_id(sample) for sample in found.samples),
        )

    return replace(
        verdict,
        told_by="place",
        suspects=tuple(suspect(found) for found in verdict.suspects),
        holders=tuple(
            replace(found, container_id=own_id(found.container_id)) for found in verdict.holders
        ),
    )
