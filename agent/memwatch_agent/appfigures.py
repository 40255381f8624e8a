"""What apps tell through their hooks, put together by service. Pure: no I/O, no clock.

Several processes of a service are one row: counters and histograms are added up, gauges are put
together as the app asked for. What a process that has ended had counted stays in the sum, so that
a counter never goes back because a worker was replaced.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

#: What the hook allows, with room; more is a lie.
MAX_FAMILIES = 250
MAX_PROCESS_SERIES = 1_500
MAX_LABELS = 5
MAX_BUCKETS = 20
MAX_TEXT_CHARS = 64
MAX_ABOUT_CHARS = 200

#: No figure comes near; an infinite one is none.
MAX_FIGURE = 1e300

#: Rows of all services that one agent exports.
MAX_SERIES = 5_000

#: Ended processes that are remembered one by one, in case one comes back; older ones are added up.
MAX_ENDED = 200

KINDS = ("gauge", "counter", "histogram")

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_RESERVED = frozenset(("service", "le", "quantile"))
_COMBINE: Mapping[str, Callable[[tuple[float, ...]], float]] = {"sum": sum, "max": max, "min": min}

Key = tuple[str, ...]
#: One number; of a histogram the sum, and then the counts of the buckets and above them.
Value = tuple[float, ...]


@dataclass
class Family:
    """One name, as one process tells it or as all of a service do."""

    name: str
    kind: str
    about: str
    labels: Key
    combine: str
    buckets: tuple[float, ...]
    series: dict[Key, Value] = field(default_factory=dict)

    def alike(self, other: "Family") -> bool:
        """Whether the other may be put together with this one."""
        return (self.kind, self.buckets) == (other.kind, other.buckets)


Families = dict[str, Family]


def parsed(page: Mapping[str, Any]) -> list[Family]:
    """The families of one page of the wire's `metrics`; what is wrong in it is left out."""
    told = page.get("families")
    found = (_family(one) for one in told[:MAX_FAMILIES]) if isinstance(told, list) else ()
    return [family for family in found if family is not None]


def _family(told: Any) -> Family | None:
    if not isinstance(told, dict) or told.get("kind") not in KINDS:
        return None
    labels, buckets = _texts(told.get("labels")), _numbers(told.get("buckets"))
    name, combine = told.get("name"), told.get("combine")
    good = (
        _is_name(name)
        and labels is not None
        and len(labels) <= MAX_LABELS
        and all(_is_name(label) and label not in _RESERVED for label in labels)
        and buckets is not None
        and len(buckets) <= MAX_BUCKETS
        and list(buckets) == sorted(set(buckets))
        and combine in tuple(_COMBINE)
    )
    if not good:
        return None
    about = str(told.get("about", ""))[:MAX_ABOUT_CHARS]
    family = Family(str(name), told["kind"], about, labels or (), str(combine), buckets or ())
    _add_rows(family, told.get("series"))
    return family


def _add_rows(family: Family, rows: Any) -> None:
    """Takes the rows in that fit the family."""
    width = len(family.buckets) + 2 if family.kind == "histogram" else 1
    for row in rows[:MAX_PROCESS_SERIES] if isinstance(rows, list) else ():
        if not isinstance(row, list) or len(row) != 2:
            continue
        key = _texts(row[0])
        value = _numbers(row[1] if family.kind == "histogram" else [row[1]])
        if key is None or value is None or (len(key), len(value)) != (len(family.labels), width):
            continue
        family.series[key] = value


def _is_name(word: object) -> bool:
    return isinstance(word, str) and _NAME.fullmatch(word) is not None


def _texts(value: object) -> Key | None:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        return None
    return tuple(text[:MAX_TEXT_CHARS] for text in value)


def _numbers(value: object) -> tuple[float, ...] | None:
    if not isinstance(value, list):
        return None
    good = all(
        isinstance(number, int | float)
        and not isinstance(number, bool)
        and abs(number) < MAX_FIGURE
        for number in value
    )
    return tuple(float(number) for number in value) if good else None


@dataclass
class _Process:
    """What one process has told."""

    service: str
    families: Families = field(default_factory=dict)

    def take(self, families: Collection[Family]) -> None:
        """The newest word on each row; rows that a page left out stay."""
        rows = sum(len(family.series) for family in self.families.values())
        for family in families:
            known = self.families.get(family.name)
            if known is None or not known.alike(family) or known.labels != family.labels:
                known = self.families[family.name] = Family(**{**vars(family), "series": {}})
            for key, value in family.series.items():
                if key in known.series or rows < MAX_PROCESS_SERIES:
                    rows += key not in known.series
                    known.series[key] = value


class Ledger:
    """What every process of every service has told, and what those had that are no more."""

    def __init__(self) -> None:
        self._living: dict[str, _Process] = {}
        self._ended: dict[str, _Process] = {}
        self._before: dict[str, Families] = {}

    def take(self, process_id: str, service: str, families: Collection[Family]) -> None:
        """The newest word of a process."""
        process = self._living.get(process_id) or self._ended.pop(process_id, _Process(service))
        process.service = service
        process.take(families)
        self._living[process_id] = process

    def keep(self, living: Collection[str]) -> None:
        """Says which processes live; the counts of the others stay."""
        for process_id in [one for one in self._living if one not in living]:
            self._ended[process_id] = self._living.pop(process_id)
        while len(self._ended) > MAX_ENDED:
            process = self._ended.pop(next(iter(self._ended)))
            _add(self._before.setdefault(process.service, {}), process.families, lasting=True)

    def together(self) -> list[Family]:
        """Every family with the service as its first label, at most `MAX_SERIES` rows in all."""
        services: dict[str, Families] = {}
        for service, families in self._before.items():
            _add(services.setdefault(service, {}), families, lasting=True)
        for process in self._ended.values():
            _add(services.setdefault(process.service, {}), process.families, lasting=True)
        for process in self._living.values():
            _add(services.setdefault(process.service, {}), process.families, lasting=False)
        return _over_services(services)


def _add(total: Families, families: Families, lasting: bool) -> None:
    """Adds one process to its service; `lasting`: it is gone, and its gauges with it."""
    for name, family in families.items():
        if lasting and family.kind == "gauge":
            continue
        known = total.setdefault(name, Family(**{**vars(family), "series": {}}))
        if not known.alike(family) or known.labels != family.labels:
            continue
        combine = _COMBINE[family.combine if family.kind == "gauge" else "sum"]
        for key, value in family.series.items():
            before = known.series.get(key)
            known.series[key] = value if before is None else _pairwise(combine, before, value)


def _pairwise(combine: Callable[[Value], float], one: Value, other: Value) -> Value:
    return tuple(combine(pair) for pair in zip(one, other, strict=True))


def _over_services(services: Mapping[str, Families]) -> list[Family]:
    """One family a name, over services that may each have labels of their own."""
    together: Families = {}
    for _, families in sorted(services.items()):
        for name, family in families.items():
            known = together.setdefault(name, Family(**{**vars(family), "series": {}}))
            if known.alike(family):
                known.labels = tuple(dict.fromkeys((*known.labels, *family.labels)))
    left = MAX_SERIES
    for service, families in sorted(services.items()):
        for name, family in families.items():
            known = together[name]
            if not known.alike(family):
                continue
            for key, value in list(family.series.items())[:left]:
                named = dict(zip(family.labels, key, strict=True))
                full = (service, *(named.get(label, "") for label in known.labels))
                known.series[full] = value
                left -= 1
    return list(together.values())
