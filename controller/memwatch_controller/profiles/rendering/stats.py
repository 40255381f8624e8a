"""Reports of kind `stats`: V8's spaces, collections and event loop over time."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from memwatch_controller.profiles.rendering import documents
from memwatch_controller.profiles.rendering.documents import Row
from memwatch_controller.profiles.reporting import RenderJob

_COLUMNS = (
    ("name", "figure", "text"),
    ("unit", "unit", "text"),
    ("first", "first", "count"),
    ("last", "last", "count"),
    ("delta", "Δ", "count"),
    ("highest", "highest", "count"),
)
_UNITS = (("_bytes", "bytes"), ("_millis", "ms"), ("utilization", "of 1"))


def render_table(job: RenderJob, path: Path, _base: Path | None) -> None:
    """Each figure at the first look, at the last, and at its highest."""
    looks = [figures(look) for look in documents.read(path, job.kind)["looks"]]
    names = dict.fromkeys(name for look in looks for name in look)
    rows = [_row(name, [look.get(name, 0) for look in looks]) for name in names]
    documents.write(job, documents.table(job, _COLUMNS, rows, {"looks": len(looks)}))


def render_series(job: RenderJob, path: Path, _base: Path | None) -> None:
    """Every look whole, in order."""
    found = documents.read(path, job.kind)
    about = {"format": documents.FORMAT, "kind": job.kind, "report": job.report}
    documents.write(job, {**about, "looks": found["looks"], "notes": job.notes})


def figures(look: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of one look, each with a name such as `heap.used_heap_bytes`."""
    found: dict[str, float] = {}
    for part in ("memory", "heap", "event_loop", "resources"):
        for name, value in look.get(part, {}).items():
            found[f"{part}.{name}"] = value
    for space in look.get("spaces", ()):
        found[f"spaces.{space['name']}.used_bytes"] = space["used_bytes"]
    for name, told in look.get("gc", {}).items():
        found[f"gc.{name}.count"], found[f"gc.{name}.time_millis"] = told["count"], told["millis"]
    return {name: value for name, value in found.items() if isinstance(value, int | float)}


def _row(name: str, values: list[float]) -> Row:
    unit = next((unit for ending, unit in _UNITS if name.endswith(ending)), "")
    delta = round(values[-1] - values[0], 3)
    return {
        "name": name,
        "unit": unit,
        "first": values[0],
        "last": values[-1],
        "delta": delta,
        "highest": max(values),
    }


RENDERERS = {"table.json": render_table, "series.json": render_series}
