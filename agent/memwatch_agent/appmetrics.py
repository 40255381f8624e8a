"""Exports what apps tell through their hooks: asked for when /metrics is scraped, and not else.

Names begin with `memwatch_app_`; rows are of a service, not of a process (`appfigures.py`).
"""

import asyncio
import concurrent.futures
import contextlib
from collections.abc import Callable, Iterator, Sequence

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from memwatch_agent.appfigures import Family, Ledger, parsed
from memwatch_agent.drivers.base import Runtime
from memwatch_agent.drivers.errors import DriverError
from memwatch_agent.drivers.hook import HookDriver
from memwatch_agent.targets import Roster, Target

#: Scrapes that come faster than this see the same figures.
FRESH_SECONDS = 1.0

#: A hook that does not answer within this time is left out, its last word stands.
ANSWER_SECONDS = 1.0

#: A scrape waits so long for the hooks, then tells what is known.
SCRAPE_SECONDS = 3.0

#: Hooks that are asked, and how many at once.
MAX_PROCESSES = 200
MAX_AT_ONCE = 8

#: A process has at most some 30 pages of 40 KiB.
MAX_PAGES = 40

PREFIX = "memwatch_app_"


class AppMetrics(Collector):
    """Asks the hooks of all targets for their apps' figures, at each scrape."""

    def __init__(self, roster: Roster, hooks: HookDriver, clock: Callable[[], float]) -> None:
        self._roster = roster
        self._hooks = hooks
        self._clock = clock
        self._ledger = Ledger()
        self._together: Sequence[Family] = ()
        self._dropped: dict[str, int] = {}
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def serve_from(self, loop: asyncio.AbstractEventLoop) -> None:
        """Scrapes come on threads of their own; hooks are asked on this loop."""
        self._loop = loop

    def collect(self) -> Iterator[Metric]:
        """Every app's metrics. Called from the threads of /metrics."""
        if self._loop is not None and self._loop.is_running():
            asked = asyncio.run_coroutine_threadsafe(self.refresh(), self._loop)
            with contextlib.suppress(TimeoutError, concurrent.futures.CancelledError):
                asked.result(SCRAPE_SECONDS)
        yield from exported(self._together)
        yield CounterMetricFamily(
            "memwatch_agent_app_calls_dropped",
            "Calls of memwatch_hook.metrics that processes now running could not keep: "
            "a bad name or value, or other labels than before.",
            value=sum(self._dropped.values()),
        )

    async def refresh(self) -> None:
        """Asks every hook that tells metrics, unless that was done a moment ago."""
        async with self._asking:
            if self._clock() - self._asked_at < FRESH_SECONDS:
                return
            targets = self._roster.targets
            telling = [target for target in targets if _tells(target)][:MAX_PROCESSES]
            few = asyncio.Semaphore(MAX_AT_ONCE)
            await asyncio.gather(*(self._ask(target, few) for target in telling))
            living = {target.id for target in targets}
            self._ledger.keep(living)
            self._dropped = {key: n for key, n in self._dropped.items() if key in living}
            self._together = self._ledger.together()
            self._asked_at = self._clock()

    async def _ask(self, target: Target, few: asyncio.Semaphore) -> None:
        with contextlib.suppress(DriverError, TimeoutError):
            async with (
                few,
                asyncio.timeout(ANSWER_SECONDS),
                self._hooks.open(target.process) as link,
            ):
                offset = 0
                for _ in range(MAX_PAGES):
                    page = await link.metrics(offset)
                    self._ledger.take(target.id, target.service, parsed(page))
                    self._dropped[target.id] = _whole(page.get("dropped")) or 0
                    later = _whole(page.get("next"))
                    if later is None or later <= offset:
                        return
                    offset = later


def _tells(target: Target) -> bool:
    """Whether the target's hook knows the command."""
    hook = target.hook
    python = target.found.runtime is Runtime.PYTHON
    return python and hook is not None and "metrics" in hook.hello.commands


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def exported(families: Sequence[Family]) -> Iterator[Metric]:
    """The families as Prometheus knows them; one whose samples are named like another's is not."""
    taken: set[str] = set()
    for family in families:
        metric = _metric(family)
        samples = {sample.name for sample in metric.samples}
        if samples and not samples & taken:
            taken |= samples
            yield metric


def _metric(family: Family) -> Metric:
    name = PREFIX + family.name.removesuffix("_total")
    about = family.about or "Told by the app."
    labels = ("service", *family.labels)
    if family.kind == "histogram":
        return _histogram(name, about, labels, family)
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(name if family.kind == "counter" else PREFIX + family.name, about, labels=labels)
    for key, value in family.series.items():
        metric.add_metric(key, value[0])
    return metric


def _histogram(name: str, about: str, labels: Sequence[str], family: Family) -> Metric:
    metric = HistogramMetricFamily(name, about, labels=labels)
    bounds = [*(str(bound) for bound in family.buckets), "+Inf"]
    for key, (total, *counts) in family.series.items():
        so_far = [sum(counts[: number + 1]) for number in range(len(counts))]
        metric.add_metric(key, list(zip(bounds, so_far, strict=True)), total)
    return metric
