"""Documents of reports: what is common to all; pure but for the two functions at the end.

A table is `{"format": 1, "kind", "report", "columns": [[key, title, unit], …], "rows": [{…}],
"row_count", "totals": {…}, "notes": [..]}`: a reader that knows no kind can show it. Units are
"text", "count", "bytes", "percent".
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from memwatch_controller.profiles.reporting import RenderJob

FORMAT = 1

Row = dict[str, Any]
Column = tuple[str, str, str]


def table(
    job: RenderJob,
    columns: Sequence[Column],
    rows: Iterable[Row],
    totals: Mapping[str, Any],
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """A table of at most the job's number of rows, which come in order."""
    every = list(rows)
    return {
        "format": FORMAT,
        "kind": job.kind,
        "report": job.report,
        "columns": [list(column) for column in columns],
        "rows": every[: job.limit],
        "row_count": len(every),
        "totals": dict(totals),
        "notes": [*job.notes, *notes],
    }


def read(path: Path, kind: str) -> dict[str, Any]:
    """The document of an artifact.

    Raises:
        ValueError: it is none of this kind that we know.
    """
    with path.open("rb") as file:
        found = json.load(file)
    if not isinstance(found, dict) or found.get("kind") != kind:
        raise ValueError(f"the artifact is no document of kind '{kind}'")
    if not isinstance(found.get("format"), int) or found["format"] > FORMAT:
        raise ValueError(
            f"the artifact has format {found.get('format')}, this controller reads {FORMAT}; "
            "update the controller"
        )
    return found


def write(job: RenderJob, document: Mapping[str, Any]) -> None:
    """Writes a document as the report."""
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    Path(job.output).write_text(text, encoding="utf-8", errors="replace")
