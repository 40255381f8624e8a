"""Labelled services: what memory does over days, with a leak in it or without; seeded.

A service is a list of processes (a deploy or a crash starts the next); each yields samples
(time, RSS in bytes, CPU seconds since its start). What the runtime does (collections, warm-up, an
allocator that keeps what a burst needed) is drawn from the seed; the label says whether memory is
lost on purpose.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

MIB = 1024 * 1024
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
STEP = MINUTE


@dataclass(frozen=True)
class Sample:
    """One look at one process."""

    process: int
    at: float
    rss: float
    cpu: float


@dataclass(frozen=True)
class Service:
    """One labelled series.

    Attributes:
        leaks_from: when the leak begins, in seconds; None: there is none.
        base: bytes after warm-up. noise: share of base.
        rate: bytes leaked per second, at mean load when by_load.
        saw, saw_seconds: height (share of base) and period of the collector's teeth.
        daily: swing of the load over a day (0–1); swing: memory per load, share of base.
        knows_load: whether CPU times are told.
        restarts: seconds between deploys; 0: none.
        extra: what else happens to memory, as a function of the time and a random source.
    """

    name: str
    days: float
    seed: int = 0
    leaks_from: float | None = None
    base: float = 300 * MIB
    noise: float = 0.005
    wander: float = 0.0
    rate: float = 0.0
    by_load: bool = False
    saw: float = 0.0
    saw_seconds: float = 2 * MINUTE
    warm: float = 0.25
    warm_seconds: float = 10 * MINUTE
    daily: float = 0.0
    swing: float = 0.0
    knows_load: bool = True
    restarts: float = 0.0
    gaps: float = 0.0
    steps: tuple[tuple[float, float], ...] = ()
    bursts: float = 0.0
    hourly: bool = False
    fills: float = 0.0
    fill_seconds: float = 5 * HOUR

    @property
    def leaky(self) -> bool:
        """Whether it leaks."""
        return self.leaks_from is not None

    def samples(self) -> Iterator[Sample]:
        """Every sample, oldest first."""
        return _Life(self).run()


@dataclass
class _Life:
    service: Service
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.service.seed)

    def run(self) -> Iterator[Sample]:
        one, chance = self.service, self.chance
        process, born, cpu, leaked, wander, kept = 0, 0.0, 0.0, 0.0, 0.0, 0.0
        phase = chance.uniform(0, one.saw_seconds)
        silent_until = 0.0
        next_restart = one.restarts * chance.uniform(0.5, 1.5) if one.restarts else math.inf
        for number in range(int(one.days * DAY / STEP)):
            at = number * STEP
            if at >= next_restart:
                process, born, cpu, leaked, wander, kept = process + 1, at, 0.0, 0.0, 0.0, 0.0
                next_restart = at + one.restarts * chance.uniform(0.5, 1.5)
            load = self._load(at)
            cpu += STEP * 0.3 * load * chance.uniform(0.9, 1.1)
            if one.leaks_from is not None and at >= one.leaks_from:
                leaked += one.rate * STEP * (load if one.by_load else 1)
            wander += chance.gauss(0, one.wander * one.base) - 0.01 * wander
            burst = 0.0
            if one.bursts and chance.random() < STEP / one.bursts:
                burst = chance.uniform(0.2, 0.6) * one.base
                kept = max(kept, 0.3 * burst)  # the allocator keeps some of it
            rss = self._rss(at, at - born, load, phase) + wander + kept + burst
            rss += (
                leaked if not one.hourly else one.rate * HOUR * (leaked // (one.rate * HOUR or 1))
            )
            if one.gaps and chance.random() < STEP / one.gaps:
                silent_until = at + chance.uniform(HOUR / 4, 5 * HOUR)
            if at >= silent_until:
                yield Sample(process, at, max(rss, MIB), cpu if one.knows_load else math.nan)

    def _load(self, at: float) -> float:
        one = self.service
        day = 1 - one.daily * math.cos(2 * math.pi * at / DAY)
        return max(0.02, day * (1 + self.chance.gauss(0, 0.05)))

    def _rss(self, at: float, age: float, load: float, phase: float) -> float:
        one = self.service
        warm = one.warm * (1 - math.exp(-age / one.warm_seconds)) - one.warm
        fill = one.fills * min(1.0, age / one.fill_seconds)
        tooth = one.saw * (((at + phase) % one.saw_seconds) / one.saw_seconds)
        step = sum(height for when, height in one.steps if at >= when)
        noise = abs(self.chance.gauss(0, one.noise))
        return one.base * (1 + warm + fill + tooth + step + noise + one.swing * (load - 1))


_PERCENT = 0.01 * 300 * MIB / HOUR  # 1 % an hour of the base
_MONTH = 28.0

_HEALTHY = (
    Service("flat", _MONTH),
    Service("noisy", _MONTH, noise=0.05),
    Service("wandering", _MONTH, wander=0.004),
    Service("short sawtooth", _MONTH, saw=0.4, saw_seconds=4 * MINUTE),
    Service("sawtooth of 45 min", _MONTH, saw=0.5, saw_seconds=45 * MINUTE),
    Service("sawtooth of 7 h", _MONTH, saw=0.3, saw_seconds=7 * HOUR),
    Service("slow warm-up", _MONTH, warm=0.5, warm_seconds=2 * HOUR, restarts=3 * DAY),
    Service("daily load", _MONTH, daily=0.7, swing=0.25),
    Service("daily load, not told", _MONTH, daily=0.7, swing=0.25, knows_load=False),
    Service("daily load, no effect", _MONTH, daily=0.8),
    Service("bursts", _MONTH, bursts=6 * HOUR),
    Service("steps", _MONTH, steps=((2.3 * DAY, 0.15), (9 * DAY, 0.2), (20 * DAY, -0.1))),
    Service("deploys", _MONTH, restarts=DAY, saw=0.1),
    Service("gaps", _MONTH, gaps=12 * HOUR, saw=0.2, saw_seconds=30 * MINUTE),
    Service("cache that fills in 5 h", _MONTH, fills=0.4, restarts=7 * DAY),
    Service("big", _MONTH, base=2000 * MIB, noise=0.02, wander=0.002, daily=0.5, saw=0.2),
    Service("small", _MONTH, base=60 * MIB, noise=0.02, wander=0.003),
)


def _leak(name: str, days: float, percent: float, **life: float | bool) -> Service:
    """A service that loses so many percent of its base an hour."""
    service = Service(name, days, leaks_from=0.0, rate=percent * _PERCENT)
    return replace(service, **life)  # type: ignore[arg-type]  # dataclass fields by name


_LEAKING = (
    _leak("1 %/h", 2, 1),
    _leak("1 %/h, starting on day 2", 4, 1, leaks_from=1.5 * DAY),
    _leak("1 %/h under a sawtooth", 3, 1, saw=0.3, saw_seconds=20 * MINUTE),
    _leak("1 %/h, noisy", 3, 1, noise=0.03),
    _leak("1 %/h, wandering", 3, 1, wander=0.002),
    _leak("1 %/h by load, daily load", 4, 1, by_load=True, daily=0.7, swing=0.15),
    _leak("1 %/h, daily load not told", 5, 1, daily=0.5, swing=0.1, knows_load=False),
    _leak("30 %/h", 1, 30, leaks_from=3 * HOUR),
    _leak("100 %/h, bursts", 1, 100, leaks_from=3 * HOUR, bursts=2 * HOUR),
    _leak("5 %/h in hourly steps", 3, 5, hourly=True),
    _leak("5 %/h, deployed daily", 6, 5, leaks_from=2 * DAY, restarts=DAY),
    _leak("2 %/day", 14, 1 / 12),
    _leak("3 %/day, daily load", 21, 1 / 8, daily=0.7, swing=0.15),
    _leak("1 %/h, gaps", 5, 1, gaps=10 * HOUR),
    _leak("1 %/h after a slow warm-up", 3, 1, warm=0.5, warm_seconds=HOUR),
    _leak("2 %/h of a big one", 2, 2 * 2000 / 300, base=2000 * MIB, noise=0.02, saw=0.2),
)


def healthy(seeds: int = 1) -> Sequence[Service]:
    """Services that do not leak, a month of each seed."""
    return [replace(one, seed=seed) for one in _HEALTHY for seed in range(seeds)]


def leaking(seeds: int = 1) -> Sequence[Service]:
    """Services that leak from some time on."""
    return [replace(one, seed=seed) for one in _LEAKING for seed in range(seeds)]
