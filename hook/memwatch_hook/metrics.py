"""Figures that an app tells: gauges, counters and histograms by name, kept until an agent asks.

    from memwatch_hook import metrics
    metrics.counter("orders", labels={"shop": "north"})

The agent exports them as `memwatch_app_…` (docs/howto/app-metrics.md). No call raises, waits or
does I/O; what cannot be kept (a bad name, one series too many) is counted as dropped. A forked
child begins with nothing, so that no count is told twice.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_left

from . import own_lock, register_at_fork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

__all__ = [
    "cache_operation",
    "counter",
    "dropped",
    "gauge",
    "histogram",
    "leak",
    "memory_usage",
]

MAX_FAMILIES = 200  # names; a metrics store is for figures, not for data
MAX_SERIES = 1000  # of all names together: about 300 KB here, and as many in the agent
MAX_SERIES_PER_NAME = 200  # beyond it, series are counted together with every label "other"
MAX_LABELS = 5
MAX_LABEL_CHARS = 64
MAX_NAME_CHARS = 64
MAX_ABOUT_CHARS = 200
MAX_BUCKETS = 20
OTHER = "other"

GAUGE, COUNTER, HISTOGRAM = "gauge", "counter", "histogram"
# How the agent puts the gauges of several processes of one service together.
COMBINATIONS = ("sum", "max", "min")

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BYTES = tuple(float(1 << bits) for bits in (12, 16, 18, 20, 22, 24, 26, 28, 30))

PAGE_BYTES = os.sysconf("SC_PAGESIZE")

_NAME = re.compile(r"[a-z][a-z0-9_]*")
# Taken by the agent ("service") and by histograms.
_RESERVED = ("service", "le", "quantile")
_NONE: dict[str, str] = {}


class Family:
    """One name: what it counts, and a value for each set of label values."""

    __slots__ = ("about", "buckets", "combine", "kind", "labels", "name", "series")

    def __init__(
        self, kind: str, name: str, labels: tuple[str, ...], about: str, option: Any
    ) -> None:
        self.kind = kind
        self.name = name
        self.labels = labels
        self.about = about
        self.combine: str = option if kind == GAUGE else "sum"
        self.buckets: tuple[float, ...] = option if kind == HISTOGRAM else ()
        # A float; of a histogram the sum and then the counts, one more than there are buckets.
        self.series: dict[tuple[str, ...], Any] = {}


class Figure:
    """What is told with each value of a series: as the arguments of `Store.tell`."""

    __slots__ = ("about", "kind", "labels", "name", "option")

    def __init__(
        self, kind: str, name: str, labels: Mapping[str, object], about: str, option: Any = None
    ) -> None:
        self.kind = kind
        self.name = name
        self.labels = labels
        self.about = about
        self.option = option


class Store:
    """The figures of one process. Any thread may tell; the hook's thread reads."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """In a forked child: the figures are the parent's, and its lock may be held for ever."""
        self.families: dict[str, Family] = {}
        self.dropped = 0
        self._count = 0
        self._lock = own_lock()
        # What `tell_together` found before, by its caller's key.
        self._rows: dict[object, list[tuple[Family, tuple[str, ...]]]] = {}

    def tell(
        self,
        kind: str,
        name: str,
        value: float,
        labels: Mapping[str, object],
        about: str,
        option: Any,
        peak: bool = False,
    ) -> None:
        """Takes one figure in; never raises."""
        try:
            number = _finite(value)
            with self._lock:
                family, key = self._place(kind, name, labels, about, option)
                self._take(family, key, number, peak)
        except Exception:
            self.dropped += 1

    def tell_together(
        self, row: object, values: Sequence[float], figures: Callable[[], Sequence[Figure]]
    ) -> None:
        """Takes several figures in, which are looked up once for each `row`; never raises.

        `row` is the caller's key, hashable; `figures` tells what a new row's values are. All values
        are told, or none: one that cannot be kept drops them all.
        """
        try:
            total = sum(values)
            if total - total != 0.0:  # infinite, or not a number: one of them is
                raise ValueError(values)
            with self._lock:
                places = self._rows.get(row)
                if places is None:
                    places = [
                        self._place(one.kind, one.name, one.labels, one.about, one.option)
                        for one in figures()
                    ]
                    if len(self._rows) < MAX_SERIES:
                        self._rows[row] = places
                for (family, key), number in zip(places, values):
                    known = family.series.get(key)
                    if type(known) is list:  # what is there already takes few steps
                        known[0] += number
                        known[1 + bisect_left(family.buckets, number)] += 1
                    elif known is not None and family.kind == COUNTER and number >= 0:
                        family.series[key] = known + number
                    else:
                        self._take(family, key, number, peak=False)
        except Exception:
            self.dropped += len(values)

    def _place(
        self, kind: str, name: str, labels: Mapping[str, object], about: str, option: Any
    ) -> tuple[Family, tuple[str, ...]]:
        """The family of a name and the key of its labels; ValueError where they do not fit."""
        family = self.families.get(name)
        if family is None:
            family = self._new(kind, name, tuple(labels), about, option)
        elif family.kind != kind or family.labels != tuple(labels):
            raise ValueError(name)
        return family, tuple([str(text)[:MAX_LABEL_CHARS] for text in labels.values()])

    def _new(
        self, kind: str, name: str, labels: tuple[str, ...], about: str, option: Any
    ) -> Family:
        good = (
            len(self.families) < MAX_FAMILIES
            and len(labels) <= MAX_LABELS
            and all(_is_name(word) for word in (name, *labels))
            and not set(labels) & set(_RESERVED)
        )
        if not good:
            raise ValueError(name)
        if kind == GAUGE and option not in COMBINATIONS:
            raise ValueError(option)
        if kind == HISTOGRAM:
            option = tuple(float(bound) for bound in option)
            if not 0 < len(option) <= MAX_BUCKETS or list(option) != sorted(set(option)):
                raise ValueError(option)
        family = Family(kind, str(name), labels, str(about)[:MAX_ABOUT_CHARS], option)
        self.families[name] = family
        return family

    def _take(self, family: Family, key: tuple[str, ...], number: float, peak: bool) -> None:
        series = family.series
        if key not in series:
            if self._count >= MAX_SERIES or len(series) >= MAX_SERIES_PER_NAME:
                key = (OTHER,) * len(key)
            if key not in series:
                self._count += 1
                empty = 0.0 if family.kind != HISTOGRAM else [0.0] * (len(family.buckets) + 2)
                series[key] = empty
        if family.kind == COUNTER:
            if number < 0:
                raise ValueError(number)
            series[key] += number
        elif family.kind == GAUGE:
            series[key] = max(number, series[key]) if peak else number
        else:
            row = series[key]
            row[0] += number
            row[1 + bisect_left(family.buckets, number)] += 1

    def page(self, offset: int, limit_bytes: int) -> dict[str, Any]:
        """The series from number `offset` on, as far as they go into so many bytes of JSON.

        `next` is the offset of the page after this one, or None.
        """
        families: list[dict[str, Any]] = []
        seen, size = 0, 0
        with self._lock:
            for family in self.families.values():
                for key, value in family.series.items():
                    seen += 1
                    if seen <= offset:
                        continue
                    if size > limit_bytes:
                        return {"dropped": self.dropped, "families": families, "next": seen - 1}
                    if not families or families[-1]["name"] != family.name:
                        families.append(_described(family))
                        size += 200 + MAX_ABOUT_CHARS
                    row = list(value) if family.kind == HISTOGRAM else value
                    families[-1]["series"].append([list(key), row])
                    # A character is at most 6 bytes of JSON, a number 24.
                    size += 6 * sum(map(len, key)) + 24 * (len(family.buckets) + 2)
            return {"dropped": self.dropped, "families": families, "next": None}


def _finite(value: float) -> float:
    number = float(value)
    if number - number != 0.0:  # infinite, or not a number
        raise ValueError(value)
    return number


def _is_name(word: object) -> bool:
    return (
        isinstance(word, str) and len(word) <= MAX_NAME_CHARS and _NAME.fullmatch(word) is not None
    )


def _described(family: Family) -> dict[str, Any]:
    return {
        "name": family.name,
        "kind": family.kind,
        "about": family.about,
        "labels": list(family.labels),
        "combine": family.combine,
        "buckets": list(family.buckets),
        "series": [],
    }


store = Store()
register_at_fork(store.forget)


def gauge(
    name: str,
    value: float,
    labels: Mapping[str, object] = _NONE,
    about: str = "",
    combine: str = "sum",
) -> None:
    """Sets a gauge.

    Args:
        name: lower-case letters, digits and `_`, such as `queue_jobs`.
        value: what it is now.
        labels: up to five names with short, few values; never ids.
        about: one sentence for people; what the first call says stays.
        combine: how processes of one service are put together: `sum`, `max` or `min`.
    """
    store.tell(GAUGE, name, value, labels, about, combine)


def counter(
    name: str, amount: float = 1, labels: Mapping[str, object] = _NONE, about: str = ""
) -> None:
    """Adds to a counter; its name goes without `_total`, which is added when it is exported."""
    store.tell(COUNTER, name, amount, labels, about, None)


def histogram(
    name: str,
    value: float,
    labels: Mapping[str, object] = _NONE,
    about: str = "",
    buckets: Sequence[float] = SECONDS,
) -> None:
    """Takes one observation in; the upper bounds that the first call gives stay."""
    store.tell(HISTOGRAM, name, value, labels, about, buckets)


def memory_usage(component: str = "process", size_bytes: float | None = None) -> None:
    """Tells how much memory a part of the app uses, and keeps its peak; by default, its RSS."""
    size = rss_bytes() if size_bytes is None else size_bytes
    if size is None:
        return
    labels = {"component": component}
    store.tell(GAUGE, "memory_usage_bytes", size, labels, "Memory in use.", "sum")
    store.tell(GAUGE, "memory_peak_bytes", size, labels, "Most memory in use.", "sum", peak=True)


def cache_operation(cache: str, operation: str = "get", hit: bool | None = None) -> None:
    """Counts one operation of a cache; `hit` is for those that look something up."""
    result = "" if hit is None else "hit" if hit else "miss"
    labels = {"cache": cache, "operation": operation, "result": result}
    store.tell(COUNTER, "cache_operations", 1, labels, "Operations of a cache.", None)


def leak(kind: str, severity: str = "medium", amount: float = 1) -> None:
    """Counts leaks that the app itself has found."""
    labels = {"type": kind, "severity": severity}
    store.tell(COUNTER, "leaks_detected", amount, labels, "Leaks that the app found.", None)


def dropped() -> int:
    """How many calls could not be kept: a bad name or value, other labels than before."""
    return store.dropped


class _Statm:
    """This process's `/proc/self/statm`, kept open: a look costs about 1 µs instead of 3.

    The descriptor is looked at each time, for an app may close it (a daemon closes all it has), and
    the number may be another file's then; after a fork it would still tell of the parent.
    """

    def __init__(self) -> None:
        self._pid = 0
        self._descriptor = -1
        self._identity = (0, 0)

    def rss_bytes(self) -> int:
        """The resident memory now."""
        if self._pid != os.getpid() or not self._is_ours():
            self._reopen()
        return int(os.pread(self._descriptor, 128, 0).split()[1]) * PAGE_BYTES

    def _is_ours(self) -> bool:
        try:
            found = os.fstat(self._descriptor)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._identity

    def _reopen(self) -> None:
        if self._descriptor >= 0 and self._is_ours():
            os.close(self._descriptor)
        self._descriptor = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        found = os.fstat(self._descriptor)
        self._identity, self._pid = (found.st_dev, found.st_ino), os.getpid()


_statm = _Statm()


def rss_bytes() -> int | None:
    """The resident memory of this process now."""
    try:
        return _statm.rss_bytes()
    except Exception:
        return None
