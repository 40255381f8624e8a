"""Judges each place where objects have piled up: leak, turnover, filling up once, or not clear."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from memwatch_heap.growth import Series
from memwatch_heap.rules import LIMITS


class State(StrEnum):
    """What a holder's objects did."""

    LEAKING = "leaking"
    UNSURE = "growing, not sure"
    TURNOVER = "turns over"
    SETTLED = "stopped growing"
    LEVELLED = "reached its bound"
    STEADY = "does not grow"

    @property
    def is_suspect(self) -> bool:
        """Whether it is reported as one."""
        return self in (State.LEAKING, State.UNSURE)


@dataclass(frozen=True, slots=True)
class Judgement:
    """A state, how sure it is (0 to 1), and why."""

    state: State
    confidence: float
    why: tuple[str, ...]


def judge(series: Series, seconds: Sequence[float] | None = None) -> Judgement:
    """Judges the objects of one holder from their numbers at each snapshot.

    `seconds` are the lengths of the intervals, where they are known.
    """
    before = sum(series.counts[:-1])
    lost = sum(series.gone) / before if before else 0.0
    if series.counts[-1] <= series.counts[0]:
        return Judgement(State.STEADY, 0.9, (_counted(series),))
    if lost >= LIMITS.churn:
        return Judgement(State.TURNOVER, 0.9, (_counted(series), _lost(series)))
    stopped = _stopped(series, seconds)
    if stopped is not None:
        return stopped
    return _growing(series, lost)


def weigh(
    judgement: Judgement, new: int, share: float, in_engine: bool, bound: str = ""
) -> Judgement:
    """Takes back what is too small to be sure of, and what the runtime does by itself.

    `bound` says, in words, what speaks for a bound that is not reached yet.
    """
    if judgement.state is not State.LEAKING:
        return judgement
    if bound:
        why = bound
    elif in_engine:
        why = "it is inside the runtime, which keeps caches of its own"
    elif new < LIMITS.few and share < LIMITS.small_share:
        why = f"{new} objects are a small part of what is new"
    else:
        return judgement
    return Judgement(State.UNSURE, min(judgement.confidence, 0.4), (*judgement.why, why))


def _stopped(series: Series, seconds: Sequence[float] | None) -> Judgement | None:
    """Whether growth ended before the last snapshot; takes three to see."""
    if len(series.counts) < 3:
        return None
    if series.arrived[-1] <= LIMITS.settled * sum(series.arrived):
        why = f"{series.arrived[-1]} came in the last interval, {sum(series.arrived[:-1])} before"
        return Judgement(State.SETTLED, 0.9, (_counted(series), why))
    rates = _net_rates(series, seconds)
    going = series.gone[-1] > LIMITS.leaky * series.counts[-2]
    if rates[-1] <= 0 or (going and rates[-1] < LIMITS.levelled * max(rates[:-1])):
        return Judgement(State.LEVELLED, 0.8, (_counted(series), _lost(series)))
    return None


def _net_rates(series: Series, seconds: Sequence[float] | None) -> list[float]:
    net = [after - before for before, after in zip(series.counts, series.counts[1:], strict=False)]
    lengths = seconds or [1.0] * len(net)
    return [step / max(length, 1e-9) for step, length in zip(net, lengths, strict=True)]


def _growing(series: Series, lost: float) -> Judgement:
    snapshots = len(series.counts)
    if series.counts[-2] < LIMITS.min_base:
        why = f"only {series.counts[-2]} were there before: it may be filled once and stay so"
        return Judgement(State.UNSURE, 0.4, (_counted(series), why))
    if lost > LIMITS.leaky:
        return Judgement(State.UNSURE, 0.5, (_counted(series), _lost(series)))
    if series.told < LIMITS.told:
        why = "nothing tells these objects from later ones at the same addresses"
        return Judgement(State.UNSURE, 0.4, (_counted(series), why))
    kept = "none of the earlier ones is gone" if not lost else _lost(series)
    if snapshots == 2:
        more = "a third snapshot would tell it from a cache that is still filling"
        return Judgement(State.LEAKING, round(0.75 - lost, 2), (_counted(series), kept, more))
    confidence = min(0.8 + 0.05 * snapshots, 0.99)
    return Judgement(State.LEAKING, round(confidence - lost, 2), (_counted(series), kept))


def _counted(series: Series) -> str:
    return "objects: " + " → ".join(map(str, series.counts))


def _lost(series: Series) -> str:
    return "of the earlier ones gone: " + ", ".join(
        f"{gone} of {count}" for gone, count in zip(series.gone, series.counts, strict=False)
    )
