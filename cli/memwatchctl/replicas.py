"""One service's pods side by side: what the leaking ones hold that a fresh one does not. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from memwatchctl import verdicts

if TYPE_CHECKING:
    from memwatch_proto.v1.reports_pb2 import Report
    from memwatch_proto.v1.sessions_pb2 import Session

#: Classes shown of each pod.
TOP = 5

#: A difference below this is the usual breathing of a heap.
NOISE_BYTES = 64 * 1024


@dataclass(frozen=True)
class Excess:
    """A class of which a pod holds more than the fresh one, at its last snapshot."""

    class_name: str
    count: int
    fresh_count: int
    size_bytes: int
    fresh_size_bytes: int

    @property
    def excess_bytes(self) -> int:
        """How much more."""
        return self.size_bytes - self.fresh_size_bytes


@dataclass(frozen=True)
class Replica:
    """One pod of a service.

    Attributes:
        name: its pod, or its target's id.
        started_millis: when its process started.
        heap_before_bytes, heap_after_bytes: its first and its last snapshot.
        fresh: whether the others are compared with it.
        excess: by class, the most first; empty of the fresh one.
    """

    name: str
    target_id: str
    started_millis: int
    heap_before_bytes: int
    heap_after_bytes: int
    verdict: str
    fresh: bool
    excess: tuple[Excess, ...]


def side_by_side(session: "Session", reports: Sequence["Report"]) -> list[Replica]:
    """The pods of a session, those whose heap grew most first; the fresh one last.

    The fresh one is that whose process started last. Empty where there is none to compare with.
    """
    by_target = {report.target_id: report for report in reports}
    parts = [part.target for part in session.targets if part.target.id in by_target]
    if len(parts) < 2:
        return []
    newest = max(parts, key=lambda target: target.start_time.ToMilliseconds())
    fresh = _classes(by_target[newest.id])
    made = [
        Replica(
            name=target.pod or target.id,
            target_id=target.id,
            started_millis=target.start_time.ToMilliseconds(),
            heap_before_bytes=by_target[target.id].before.shallow_size_bytes,
            heap_after_bytes=by_target[target.id].after.shallow_size_bytes,
            verdict=str((verdicts.of_report(by_target[target.id]) or {}).get("verdict", "")),
            fresh=target.id == newest.id,
            excess=_excess(by_target[target.id], fresh) if target.id != newest.id else (),
        )
        for target in parts
    ]
    return sorted(made, key=lambda one: (one.fresh, one.heap_before_bytes - one.heap_after_bytes))


def _classes(report: "Report") -> Mapping[str, tuple[int, int]]:
    return {
        row.class_name: (row.count_after, row.shallow_size_after_bytes) for row in report.classes
    }


def _excess(report: "Report", fresh: Mapping[str, tuple[int, int]]) -> tuple[Excess, ...]:
    """A class that the fresh one's report does not list counts as none: it did not change there."""
    found = [
        Excess(name, count, *_pair(fresh, name, size))
        for name, (count, size) in _classes(report).items()
    ]
    grown = [one for one in found if one.excess_bytes >= NOISE_BYTES]
    return tuple(sorted(grown, key=lambda one: -one.excess_bytes)[:TOP])


def _pair(fresh: Mapping[str, tuple[int, int]], name: str, size: int) -> tuple[int, int, int]:
    count, fresh_size = fresh.get(name, (0, 0))
    return count, size, fresh_size


def plain(found: Sequence[Replica]) -> list[dict[str, Any]]:
    """The pods for programs."""
    return [
        {
            "pod": one.name,
            "target_id": one.target_id,
            "fresh": one.fresh,
            "verdict": one.verdict,
            "heap_before_bytes": one.heap_before_bytes,
            "heap_after_bytes": one.heap_after_bytes,
            "excess": [
                {
                    "class_name": excess.class_name,
                    "count": excess.count,
                    "fresh_count": excess.fresh_count,
                    "shallow_size_bytes": excess.size_bytes,
                    "fresh_shallow_size_bytes": excess.fresh_size_bytes,
                }
                for excess in one.excess
            ],
        }
        for one in found
    ]
