"""Reports of kind `types`: one table, and what grew from one profile to another."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from memwatch_controller.profiles.rendering import documents
from memwatch_controller.profiles.rendering.documents import Row
from memwatch_controller.profiles.reporting import RenderJob

KIND = "types"

_NOW = (("name", "type", "text"), ("count", "objects", "count"), ("size_bytes", "size", "bytes"))
_GROWTH = (("count_delta", "objects Δ", "count"), ("size_delta_bytes", "size Δ", "bytes"))


def render_table(job: RenderJob, path: Path, _base: Path | None) -> None:
    """The last look by size; where there are two, by growth between them."""
    found = documents.read(path, KIND)
    first, last = found["looks"][0], found["looks"][-1]
    notes = [_method(found)]
    if len(found["looks"]) == 1:
        rows = [_row(name, figures) for name, figures in _by_name(last).items()]
        rows.sort(key=lambda row: (-row["size_bytes"], row["name"]))
        document = documents.table(job, _NOW, rows, _totals(last), notes)
    else:
        document = _compared(job, first, last, notes)
    documents.write(job, document)


def render_diff(job: RenderJob, path: Path, base: Path | None) -> None:
    """What grew from the last look of an earlier profile to the last look of this one."""
    assert base is not None
    earlier, later = documents.read(base, KIND), documents.read(path, KIND)
    notes = [_method(later)]
    if earlier["method"] != later["method"]:
        notes.append(
            f"the earlier profile was counted by '{earlier['method']}': the figures do not compare"
        )
    document = _compared(job, earlier["looks"][-1], later["looks"][-1], notes)
    documents.write(job, document)


def _compared(
    job: RenderJob, first: Mapping[str, Any], last: Mapping[str, Any], notes: list[str]
) -> dict[str, Any]:
    before, after = _by_name(first), _by_name(last)
    rows = []
    for name in before.keys() | after.keys():
        old, new = before.get(name, (0, 0)), after.get(name, (0, 0))
        row = _row(name, new)
        row["count_delta"], row["size_delta_bytes"] = new[0] - old[0], new[1] - old[1]
        rows.append(row)
    rows.sort(key=lambda row: (-row["size_delta_bytes"], -row["count_delta"], row["name"]))
    totals = _totals(last)
    totals["count_delta"] = totals["count"] - first["count"]
    totals["size_delta_bytes"] = totals["size_bytes"] - first["size_bytes"]
    return documents.table(job, (*_NOW, *_GROWTH), rows, totals, notes)


def _by_name(look: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Count and bytes by name; two types of one name are one row."""
    found: dict[str, tuple[int, int]] = {}
    for name, count, size in look["rows"]:
        known = found.get(name, (0, 0))
        found[name] = (known[0] + int(count), known[1] + int(size))
    return found


def _row(name: str, figures: tuple[int, int]) -> Row:
    return {"name": name, "count": figures[0], "size_bytes": figures[1]}


def _totals(look: Mapping[str, Any]) -> dict[str, int]:
    return {"count": int(look["count"]), "size_bytes": int(look["size_bytes"])}


def _method(found: Mapping[str, Any]) -> str:
    return {
        "gc": "counted: what the collector tracks; strings and numbers are not in it",
        "pympler": "counted: what pympler finds",
        "walker": "counted: every object",
    }.get(str(found["method"]), f"counted by {str(found['method'])[:40]}")


RENDERERS = {"table.json": render_table, "diff.json": render_diff}
