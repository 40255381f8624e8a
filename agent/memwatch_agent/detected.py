"""What the detector says on /metrics: how much stands, how much was found, what it costs.

The detector works on the agent's loop and scrapes come on threads of their own, so it hands out
values that no one changes any more.
"""

from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from memwatch_agent.detection.findings import Finding, Kind
from memwatch_agent.metrics import MAX_LABEL_CHARS, MAX_TARGETS, TARGET_LABELS, target_labels
from memwatch_proto.v1 import targets_pb2

#: Services with series of their own, by the first finding; those after them count as `other`.
MAX_SERVICES = 100
OTHER = "other"

_LABELS = ("service", "type", "severity")
_LIMIT_LABELS = (*TARGET_LABELS, "figure")
_LIMIT_FIGURES = (
    (
        "memwatch_target_limit_seconds",
        "Time until a process that leaks meets its limit, at the rate found; 0: it is there.",
        "seconds_to_limit",
    ),
    (
        "memwatch_target_limit_earliest_seconds",
        "The same at the fastest rate that the samples allow (95 of 100 cases are later).",
        "seconds_to_limit_low",
    ),
    (
        "memwatch_target_limit_latest_seconds",
        "The same at the slowest rate that the samples allow; +Inf: it may not grow at all.",
        "seconds_to_limit_high",
    ),
)


class Key(NamedTuple):
    """What findings are counted by: few services, and words of ours."""

    service: str
    type: str
    severity: str


@dataclass(frozen=True, slots=True)
class Told:
    """What the detector has to tell at one instant; nobody changes it.

    Attributes:
        standing: findings that stand. begun: findings that were ever told, by their first severity.
        leaks: those of the standing that have a time to the limit, and their processes.
        watched: processes. looks, look_seconds: how often it judged all of them, and for how long.
    """

    standing: Mapping[Key, int] = field(default_factory=dict)
    begun: Mapping[Key, int] = field(default_factory=dict)
    leaks: Sequence[tuple[targets_pb2.Target, Finding]] = ()
    watched: int = 0
    looks: int = 0
    look_seconds: float = 0.0


class Book:
    """Counts findings for as long as the agent runs. Used from the agent's loop alone."""

    def __init__(self) -> None:
        self._services: set[str] = set()
        self._begun: Tally[Key] = Tally()
        self._looks = 0
        self._look_seconds = 0.0

    def begin(self, target: targets_pb2.Target, found: Finding) -> None:
        """Counts a finding that is told from now on."""
        self._begun[self._key(target, found)] += 1

    def looked(self, seconds: float) -> None:
        """Counts a look at all processes, and the time that judging them took."""
        self._looks += 1
        self._look_seconds += seconds

    def told(self, standing: Sequence[tuple[targets_pb2.Target, Finding]], watched: int) -> Told:
        """All that there is to tell now."""
        leaks = [one for one in standing if "seconds_to_limit" in one[1].evidence]
        return Told(
            Tally(self._key(target, found) for target, found in standing),
            dict(self._begun),
            leaks[: 2 * MAX_TARGETS],
            watched,
            self._looks,
            self._look_seconds,
        )

    def _key(self, target: targets_pb2.Target, found: Finding) -> Key:
        service = target.service[:MAX_LABEL_CHARS]
        if len(self._services) < MAX_SERVICES:
            self._services.add(service)
        known = service if service in self._services else OTHER
        return Key(known, found.kind.value, found.severity.name.lower())


class DetectorCollector(Collector):
    """Turns what the detector tells into metrics at each scrape."""

    def __init__(self, told: Callable[[], Told]) -> None:
        """`told` gives the newest word; called from the threads of /metrics."""
        self._told = told

    def collect(self) -> Iterator[Metric]:
        """Every metric of the detector."""
        told = self._told()
        yield _counted(
            GaugeMetricFamily(
                "memwatch_findings",
                "Findings of the leak detector that stand now. "
                f"Types: {', '.join(Kind)}; severities: low, medium, high, critical.",
                labels=_LABELS,
            ),
            told.standing,
        )
        yield _counted(
            CounterMetricFamily(
                "memwatch_leaks_detected",
                "Findings told since the agent's start, each once, by its first severity.",
                labels=_LABELS,
            ),
            told.begun,
        )
        yield from _limits(told)
        yield GaugeMetricFamily(
            "memwatch_agent_detector_processes",
            "Processes that the leak detector keeps samples of.",
            value=told.watched,
        )
        yield SummaryMetricFamily(
            "memwatch_agent_detector_look_seconds",
            "Time of the leak detector to judge all processes once.",
            count_value=told.looks,
            sum_value=told.look_seconds,
        )


def _counted(family: GaugeMetricFamily | CounterMetricFamily, counts: Mapping[Key, int]) -> Metric:
    for key, count in sorted(counts.items()):
        family.add_metric(key, count)
    return family


def _limits(told: Told) -> Iterator[Metric]:
    for name, about, evidence in _LIMIT_FIGURES:
        family = GaugeMetricFamily(name, about, labels=_LIMIT_LABELS)
        for target, found in told.leaks:
            labels = [*target_labels(target), found.subject]
            family.add_metric(labels, found.evidence[evidence])
        yield family
