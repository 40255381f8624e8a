"""The controller's /metrics: what it counted, and how much of everything there is now."""

from collections import Counter as Tally
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from memwatch_controller.counters import Counters
from memwatch_controller.finding import Finding, FindingType, Severity
from memwatch_controller.model import Agent, SessionState, Target, TargetState
from memwatch_proto import __version__


class Figures(Protocol):
    """Whole figures of the store; `store.metadata.Metadata` has them."""

    async def count_sessions(self) -> Mapping[SessionState, int]:
        """Sessions by state."""

    async def count_snapshots(self) -> int:
        """How many snapshots there are."""

    async def total_stored_bytes(self) -> int:
        """Sum of their stored sizes."""


class Known(Protocol):
    """What is known of agents and targets; the registry."""

    def agents(self) -> list[Agent]:
        """All agents."""

    def targets(self) -> list[Target]:
        """All targets."""

    def connected_count(self) -> int:
        """Agents that are connected."""


class Seen(Protocol):
    """What the detectors of the agents see; `findings.Findings` knows it."""

    def standing(self) -> Sequence[Finding]:
        """Findings that are not over."""


class _Now:
    """Gauges of one scrape."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


class MetricsPage:
    """Answers /metrics in Prometheus' text format."""

    def __init__(
        self,
        counters: Counters,
        figures: Figures,
        known: Known,
        seen: Seen,
        uninjected: Callable[[], int | None],
    ) -> None:
        """`uninjected` tells how many pods lack the agent they ask for; None: not known."""
        self._counters = counters
        self._figures = figures
        self._known = known
        self._seen = seen
        self._uninjected = uninjected

    async def __call__(self) -> bytes:
        """The page now."""
        registry = CollectorRegistry()
        registry.register(_Now(await self._gauges()))
        return generate_latest(registry) + generate_latest(self._counters.registry)

    async def _gauges(self) -> list[Metric]:
        sessions = await self._figures.count_sessions()
        targets = Tally(target.state for target in self._known.targets())
        return [
            _labelled(
                "memwatch_sessions",
                "Sessions in the store, by state.",
                {state.value: sessions.get(state, 0) for state in SessionState},
            ),
            _labelled(
                "memwatch_targets",
                "Targets that are known, by state.",
                {state.value: targets[state] for state in TargetState},
            ),
            _plain("memwatch_agents", "Agents that are known.", len(self._known.agents())),
            _plain(
                "memwatch_agents_connected",
                "Agents whose stream is open.",
                self._known.connected_count(),
            ),
            _plain(
                "memwatch_snapshots",
                "Snapshots in the store.",
                await self._figures.count_snapshots(),
            ),
            _plain(
                "memwatch_snapshots_stored_bytes",
                "Bytes of the snapshots in the store.",
                await self._figures.total_stored_bytes(),
            ),
            _info(),
            *self._missing(),
            *self._findings(),
        ]

    def _findings(self) -> Iterator[Metric]:
        """By type and severity, which are ours; never by service or process."""
        standing = self._seen.standing()
        counts = Tally((one.type, one.severity) for one in standing)
        family = GaugeMetricFamily(
            "memwatch_controller_findings",
            "Findings that stand, of all agents; one of an agent that is silent stands on.",
            labels=["type", "severity"],
        )
        for kind in FindingType:
            for severity in Severity:
                labels = [kind.value, severity.name.lower()]
                family.add_metric(labels, counts[kind, severity])
        yield family
        yield _plain(
            "memwatch_controller_findings_unacknowledged",
            "Findings that stand and that nobody has said to know of.",
            sum(not one.acknowledged_time for one in standing),
        )

    def _missing(self) -> list[Metric]:
        """Nothing where no cluster is looked at: 0 would say that all is well."""
        count = self._uninjected()
        text = "Pods that ask for the agent and run without it."
        return [] if count is None else [_plain("memwatch_injection_missing", text, count)]


class Promised(Protocol):
    """Memory of analyses; `analysis.room.Room` knows it."""

    @property
    def held_bytes(self) -> int:
        """Memory that is promised now."""


class WorkerMetricsPage:
    """Answers /metrics of a worker."""

    def __init__(self, counters: Counters, room: Promised) -> None:
        self._counters = counters
        self._room = room

    async def __call__(self) -> bytes:
        """The page now."""
        registry = CollectorRegistry()
        held = _plain(
            "memwatch_analysis_memory_promised_bytes",
            "Memory promised to the analyses that run.",
            self._room.held_bytes,
        )
        registry.register(_Now([held, _info()]))
        return generate_latest(registry) + generate_latest(self._counters.registry)


def _labelled(name: str, text: str, values: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["state"])
    for state, value in values.items():
        family.add_metric([state], value)
    return family


def _plain(name: str, text: str, value: int) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _info() -> Metric:
    family = GaugeMetricFamily("memwatch_controller_info", "1; the version.", labels=["version"])
    family.add_metric([__version__], 1)
    return family
