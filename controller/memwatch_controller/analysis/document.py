"""The report as the stable JSON document of docs/formats/report.md, and its one sentence; pure."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from memwatch_controller.analysis.jobs import ClassChange, Comparison, Totals
from memwatch_controller.model import Millis, Snapshot

FORMAT = "memwatch.report"

#: Rises when a reader of the last version would misunderstand the document.
VERSION = 1

#: Classes that the sentence names.
_NAMED = 3

#: Growth below this is not named: every heap moves by as much between two snapshots.
_NOISE_BYTES = 4 * 1024

#: Memory outside the objects that grew by less than this is an allocator's usual breathing.
_UNEXPLAINED_BYTES = 16 * 1024 * 1024


def document(
    report_id: str,
    session_id: str,
    target_id: str,
    create_time: Millis,
    snapshots: Sequence[Snapshot],
    found: Comparison,
) -> dict[str, Any]:
    """The report of a comparison of `snapshots`, oldest first."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "id": report_id,
        "session_id": session_id,
        "target_id": target_id,
        "create_time": iso_time(create_time),
        "summary": summary(snapshots, found),
        "compared_by": "id" if found.by_id else "class",
        "snapshots": [
            _snapshot(snapshot, totals)
            for snapshot, totals in zip(snapshots, found.totals, strict=True)
        ],
        "before": _totals(snapshots[0], found.totals[0]),
        "after": _totals(snapshots[-1], found.totals[-1]),
        "verdict": found.verdict,
        "notes": [*found.notes, *_unexplained_growth(snapshots)],
        "class_count": found.class_count,
        "classes": [_class(change) for change in found.classes],
    }


def text(report: dict[str, Any]) -> str:
    """A document as it is stored: one line, keys in the order above."""
    return json.dumps(report, ensure_ascii=False, separators=(",", ":"))


def summary(snapshots: Sequence[Snapshot], found: Comparison) -> str:
    """What leaks, where there is a verdict; then what grew and by how much."""
    grown = _growth_words(snapshots, found)
    verdict = found.verdict
    if verdict is None:
        return grown
    said = f"{verdict['verdict']}: {verdict['summary']}"
    return f"{_line(said[:1].upper() + said[1:], 400)}. {grown}"


def _growth_words(snapshots: Sequence[Snapshot], found: Comparison) -> str:
    before, after = found.totals[0], found.totals[-1]
    seconds = (snapshots[-1].capture_time - snapshots[0].capture_time) / 1000
    whole = _whole(before, after, seconds)
    grown = [change for change in found.classes if change.size_delta >= _NOISE_BYTES]
    # What the program itself made says more than the runtime's own arrays and code.
    grown.sort(key=lambda change: (change.class_name.startswith("("), -change.size_delta))
    if not grown:
        return f"No class grew; {whole}."
    first, *others = grown[:_NAMED]
    words = [f"{_name(first)} grew by {_growth(first)}"]
    words += [f"{_name(change)} by {_growth(change)}" for change in others]
    return f"{', '.join(words)}; {whole}."


def iso_time(time: Millis) -> str:
    """A time as RFC 3339 in UTC, with milliseconds."""
    moment = datetime.fromtimestamp(time / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def size_words(size: int) -> str:
    """Bytes for people, such as "1.2 MiB"; without a sign."""
    size = abs(size)
    if size < 1024:
        return f"{size} bytes"
    for unit, bytes_each in (("KiB", 1024), ("MiB", 1024**2)):
        if size < bytes_each * 1024:
            return f"{size / bytes_each:.1f} {unit}"
    return f"{size / 1024**3:,.1f} GiB"


def _whole(before: Totals, after: Totals, seconds: float) -> str:
    size = after.shallow_size_bytes - before.shallow_size_bytes
    count = after.object_count - before.object_count
    direction = "grew" if size >= 0 else "shrank"
    share = f" ({size / before.shallow_size_bytes:+.1%})" if before.shallow_size_bytes else ""
    return (
        f"the whole heap {direction} by {size_words(size)}{share} and {count:+,} objects "
        f"in {_duration(seconds)}"
    )


def _growth(change: ClassChange) -> str:
    counted = f"{change.count_delta:,} objects, " if change.count_delta > 0 else ""
    if not change.shallow_size_before_bytes:
        return f"{counted}{size_words(change.size_delta)} (there were none)"
    share = change.size_delta / change.shallow_size_before_bytes
    return f"{counted}{size_words(change.size_delta)} ({share:+,.0%})"


def _name(change: ClassChange) -> str:
    return _line(change.class_name, 80)


def _line(words: str, most: int) -> str:
    """Words from outside as data: one line, not too long."""
    shown = "".join(c if c.isprintable() else "�" for c in words)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{max(0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _snapshot(snapshot: Snapshot, totals: Totals) -> dict[str, Any]:
    return {
        "id": snapshot.id,
        "phase": snapshot.phase,
        "capture_time": iso_time(snapshot.capture_time),
        "late": snapshot.late,
        "raw_size_bytes": snapshot.raw_size_bytes,
        **_totals(snapshot, totals),
    }


def _totals(snapshot: Snapshot, totals: Totals) -> dict[str, Any]:
    return {
        "object_count": totals.object_count,
        "shallow_size_bytes": totals.shallow_size_bytes,
        **_memory(snapshot),
    }


def _memory(snapshot: Snapshot) -> dict[str, int]:
    """The process's memory, and what of it no object explains, where a walker of ours saw both."""
    walk = snapshot.walk
    if walk is None or not walk.rss_bytes:
        return {}
    unexplained = max(0, walk.rss_bytes - walk.heap_bytes)
    return {"rss_bytes": walk.rss_bytes, "unexplained_bytes": unexplained}


def _unexplained_growth(snapshots: Sequence[Snapshot]) -> list[str]:
    """A note where the process grew, and mostly outside its objects."""
    before, after = _memory(snapshots[0]), _memory(snapshots[-1])
    if not before or not after:
        return []
    grown = after["rss_bytes"] - before["rss_bytes"]
    outside = after["unexplained_bytes"] - before["unexplained_bytes"]
    if outside < _UNEXPLAINED_BYTES or outside < grown / 2:
        return []
    return [
        f"the process grew by {size_words(grown)}, and {size_words(outside)} of it is in no "
        "object: an allocator that keeps freed memory, or C code; a native profile shows which"
    ]


def _class(change: ClassChange) -> dict[str, Any]:
    return {
        "class_name": change.class_name,
        "count_before": change.count_before,
        "count_after": change.count_after,
        "count_delta": change.count_delta,
        "shallow_size_before_bytes": change.shallow_size_before_bytes,
        "shallow_size_after_bytes": change.shallow_size_after_bytes,
        "shallow_size_delta_bytes": change.size_delta,
        "new_count": change.new_count,
        "new_size_bytes": change.new_size_bytes,
        "gone_count": change.gone_count,
        "gone_size_bytes": change.gone_size_bytes,
    }
