"""The leak detector of an agent: keeps windows of each target's memory, and looks now and then.

Takes the samples that are read anyway and asks no target for anything. The judging is in
`detection/`; here is what it needs to remember of each process, bounded.
"""

import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from memwatch_agent.detected import Book, Told
from memwatch_agent.detection import wording
from memwatch_agent.detection.findings import (
    Finding,
    Kind,
    Marks,
    Severity,
    of_growth,
    of_height,
    of_leak,
)
from memwatch_agent.detection.leaks import leak, settled_height
from memwatch_agent.detection.series import Series
from memwatch_agent.detection.standing import Standing
from memwatch_proto.v1 import common_pb2, findings_pb2, targets_pb2

#: Processes that are watched: 160 KiB of floors each.
MAX_WATCHED = 200

#: Services whose settled height is remembered from one process to the next.
MAX_SETTLED = 1_000

#: Findings that are told.
MAX_FINDINGS = 200

_TYPES: Mapping[Kind, findings_pb2.FindingType] = {
    Kind.LEAK: findings_pb2.FINDING_TYPE_MEMORY_LEAK,
    Kind.GROWTH: findings_pb2.FINDING_TYPE_MEMORY_GROWTH,
    Kind.HIGH: findings_pb2.FINDING_TYPE_HIGH_MEMORY,
    Kind.TYPE_GROWTH: findings_pb2.FINDING_TYPE_TYPE_GROWTH,
}
_SEVERITIES: Mapping[Severity, findings_pb2.FindingSeverity] = {
    Severity.LOW: findings_pb2.FINDING_SEVERITY_LOW,
    Severity.MEDIUM: findings_pb2.FINDING_SEVERITY_MEDIUM,
    Severity.HIGH: findings_pb2.FINDING_SEVERITY_HIGH,
    Severity.CRITICAL: findings_pb2.FINDING_SEVERITY_CRITICAL,
}

#: A trend must be seen three times and is over after two hours; a threshold is what it is now.
_LOOKS: Mapping[Kind, tuple[int, int]] = {
    Kind.LEAK: (3, 24),
    Kind.GROWTH: (1, 1),
    Kind.HIGH: (1, 3),
    Kind.TYPE_GROWTH: (1, 1),
}


@dataclass(slots=True)
class _Seen:
    """One finding of one process.

    Attributes:
        finding: with the newest numbers. standing: whether it is told.
        first_told: when it was first told, in Unix seconds; 0: not yet.
        since: from when on it is, in Unix seconds: the earliest that was found.
    """

    finding: Finding
    since: float
    standing: Standing = field(default_factory=Standing)
    first_told: float = 0.0


@dataclass(slots=True)
class _Watched:
    """What is remembered of one process."""

    target: targets_pb2.Target
    ceilings: Mapping[str, float]
    series: dict[str, Series] = field(default_factory=dict)
    seen: dict[tuple[Kind, str], _Seen] = field(default_factory=dict)
    at_last_look: float = 0.0

    @property
    def limit(self) -> float | None:
        memory = self.target.memory
        return memory.cgroup_limit_bytes if memory.HasField("cgroup_limit_bytes") else None

    @property
    def usage(self) -> float:
        """What counts against the limit: the cgroup's usage; without a limit the process's RSS."""
        memory = self.target.memory
        return memory.cgroup_usage_bytes if self.limit else memory.rss_bytes


class Detector:
    """Samples in, findings out. Not thread-safe: used from the agent's loop alone."""

    def __init__(self, marks: Marks, clock: Callable[[], float], now: Callable[[], float]) -> None:
        """`clock` is monotonic, `now` is Unix time; both in seconds."""
        self._marks = marks
        self._clock = clock
        self._now = now
        self._watched: dict[str, _Watched] = {}
        self._settled: OrderedDict[tuple[str, ...], dict[str, float]] = OrderedDict()
        self._looked = 0.0
        self._book = Book()
        self._told = Told()

    @property
    def told(self) -> Told:
        """What there is for /metrics, as of the last look; read from any thread."""
        return self._told

    def take(self, targets: Sequence[targets_pb2.Target]) -> None:
        """The newest sample of every target; those that are missing have ended."""
        at = self._clock()
        living = {target.id for target in targets}
        ended = [id for id in self._watched if id not in living]
        for id in ended:
            self._remember(self._watched.pop(id))
        if ended:
            self._tell()
        for target in targets:
            watched = self._watched.get(target.id)
            if watched is None:
                if len(self._watched) >= MAX_WATCHED:
                    continue
                watched = _Watched(target, dict(self._settled.get(_kin(target), {})))
                self._watched[target.id] = watched
            watched.target = target
            work = target.memory.cpu_millis / 1000
            for figure, value in _figures(target.memory):
                watched.series.setdefault(figure, Series()).add(at, value, work)

    def look(self) -> Iterator[None]:
        """Judges every process anew; stops after each, some milliseconds, to let others go on."""
        at, self._looked = self._clock(), self._now()
        seconds = 0.0
        for watched in list(self._watched.values()):
            began = self._clock()
            found = {(one.kind, one.subject): one for one in self._judged(watched, at)}
            for key, one in found.items():
                since = self._looked - (at - one.since)
                seen = watched.seen.setdefault(key, _Seen(one, since))
                seen.finding, seen.since = one, min(seen.since, since)
            for key, seen in list(watched.seen.items()):
                self._stand(watched, seen, saw=key in found)
                if not seen.standing.stands and key not in found:
                    del watched.seen[key]
            watched.at_last_look = watched.usage
            seconds += self._clock() - began
            yield
        self._book.looked(seconds)
        self._tell()

    def _stand(self, watched: _Watched, seen: _Seen, *, saw: bool) -> None:
        seen.standing = seen.standing.looked(saw, *_LOOKS[seen.finding.kind])
        if seen.standing.stands and not seen.first_told:
            seen.first_told = self._looked
            self._book.begin(watched.target, seen.finding)

    def _judged(self, watched: _Watched, at: float) -> Iterator[Finding]:
        for figure, series in watched.series.items():
            told = leak(series, at, watched.ceilings.get(figure, -math.inf))
            if told is not None:
                usage, limit = _against(watched, figure, series)
                yield of_leak(told, figure, usage, limit)
        growth = of_growth(watched.at_last_look, watched.usage, at, self._marks)
        height = of_height(watched.usage, watched.limit, at, self._marks)
        yield from filter(None, (growth, height))

    def findings(self) -> list[findings_pb2.Finding]:
        """Those that stand, the worst first."""
        found = [
            _to_pb(watched.target.id, seen, self._looked) for watched, seen in self._standing()
        ]
        found.sort(key=lambda one: (-one.severity, one.id))
        return found[:MAX_FINDINGS]

    def _standing(self) -> Iterator[tuple[_Watched, _Seen]]:
        for watched in self._watched.values():
            for seen in watched.seen.values():
                if seen.standing.stands:
                    yield watched, seen

    def _tell(self) -> None:
        standing = [(watched.target, seen.finding) for watched, seen in self._standing()]
        self._told = self._book.told(standing, len(self._watched))

    def _remember(self, ended: _Watched) -> None:
        """Keeps where a service's process had settled, for the one that comes after it."""
        kin = _kin(ended.target)
        known = self._settled.setdefault(kin, {})
        for figure, series in ended.series.items():
            height = max(known.get(figure, -math.inf), settled_height(series))
            if math.isfinite(height):
                known[figure] = height
        self._settled.move_to_end(kin)
        while len(self._settled) > MAX_SETTLED:
            self._settled.popitem(last=False)


def _figures(memory: common_pb2.MemorySample) -> Iterator[tuple[str, float]]:
    if memory.HasField("rss_bytes"):
        yield "rss", memory.rss_bytes
    if memory.HasField("heap_used_bytes"):
        yield "heap", memory.heap_used_bytes


def _against(watched: _Watched, figure: str, series: Series) -> tuple[float, float | None]:
    """A figure's usage and limit: the runtime's own for its heap, else the cgroup's."""
    memory = watched.target.memory
    if figure == "heap" and memory.HasField("heap_limit_bytes"):
        return series.latest, memory.heap_limit_bytes
    return watched.usage, watched.limit


def _kin(target: targets_pb2.Target) -> tuple[str, ...]:
    """What a process has in common with the one that it replaced."""
    return (target.namespace, target.service, str(target.runtime), target.role)


def _to_pb(target_id: str, seen: _Seen, looked: float) -> findings_pb2.Finding:
    found = seen.finding
    pb = findings_pb2.Finding(
        id=_id(target_id, seen),
        target_id=target_id,
        type=_TYPES[found.kind],
        severity=_SEVERITIES[found.severity],
        subject=found.subject,
        evidence=found.evidence,
        summary=wording.summary(found),
        recommendations=[
            findings_pb2.Recommendation(text=text, command=command)
            for text, command in wording.recommendations(found, target_id)
        ],
    )
    pb.since_time.FromMilliseconds(int(seen.since * 1000))
    pb.first_seen_time.FromMilliseconds(int(seen.first_told * 1000))
    pb.last_seen_time.FromMilliseconds(int(looked * 1000))
    return pb


def _id(target_id: str, seen: _Seen) -> str:
    """The same for as long as it stands; another when it comes again."""
    parts = (target_id, seen.finding.kind, seen.finding.subject, int(seen.first_told * 1000))
    digest = hashlib.sha256("\0".join(map(str, parts)).encode(errors="surrogatepass"))
    return f"f-{digest.hexdigest()[:20]}"
