"""Findings in words: one sentence each, and the commands to go on with. Pure."""

import math
from collections.abc import Callable, Mapping, Sequence

from memwatch_agent.detection.findings import Finding, Kind

_FIGURES = {"rss": "memory", "heap": "the heap"}
_SIZES = ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))
_TIMES = ((86400, "days"), (3600, "h"), (60, "min"))


def summary(found: Finding) -> str:
    """The finding in a sentence, with its numbers."""
    numbers = found.evidence
    match found.kind:
        case Kind.LEAK:
            return _leak(found)
        case Kind.GROWTH:
            return f"memory grew by {numbers['growth_ratio']:.0%} between two looks"
        case Kind.HIGH:
            usage, mark = numbers["usage_bytes"], numbers["threshold_bytes"]
            return f"memory is {amount(usage)}, above {amount(mark)}"
        case Kind.TYPE_GROWTH:
            before, now = numbers["objects_before"], numbers["objects"]
            return f"objects of type {found.subject} went from {before:,.0f} to {now:,.0f}"


def _leak(found: Finding) -> str:
    rate = _span(found.evidence, "bytes_per_hour", amount)
    what = _FIGURES.get(found.subject, found.subject)
    text = f"the floor of {what} grows by {rate} an hour"
    if "seconds_to_limit" not in found.evidence:
        return text
    left = _span(found.evidence, "seconds_to_limit", duration)
    return f"{text}; the limit of {amount(found.evidence['limit_bytes'])} is met in {left}"


def recommendations(found: Finding, target_id: str) -> Sequence[tuple[str, str]]:
    """What to do next, each with its command; empty where there is none."""
    capture = f"memwatchctl capture {target_id} --timeframe 10"
    look = ("See how its memory goes.", f"memwatchctl targets watch {target_id}")
    match found.kind:
        case Kind.LEAK:
            why = "Two snapshots, ten minutes apart, name what leaks and who holds it."
            return ((why, capture),)
        case Kind.HIGH:
            return (look, ("Take snapshots while there is room for one.", capture))
        case Kind.TYPE_GROWTH:
            return (("Two snapshots say who holds them.", capture),)
        case Kind.GROWTH:
            return (look,)


def amount(count: float) -> str:
    """Bytes as people read them: `3.1 MiB`."""
    for unit, name in _SIZES:
        if abs(count) >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count:.0f} bytes"


def duration(seconds: float) -> str:
    """Seconds as people read them: `41 h`."""
    if math.isinf(seconds):
        return "ever"
    for unit, name in _TIMES:
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"


def _span(numbers: Mapping[str, float], name: str, show: Callable[[float], str]) -> str:
    low, high = show(numbers[f"{name}_low"]), show(numbers[f"{name}_high"])
    return f"{show(numbers[name])} ({low} to {high})"
