"""A verdict as lines for people, and as an exit code for CI.

It is shown from the plain values of its JSON document, which those of a stored report are turned
into, so that it needs no heap engine here. Pure but for printing.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from memwatchctl.errors import CliError, ExitCode
from memwatchctl.output import Output
from memwatchctl.text import size

if TYPE_CHECKING:
    from memwatch_proto.v1.reports_pb2 import Report, SourceLocation, Suspect

#: What `--fail-on` may name, and the verdicts that it means.
FAIL_ON: Mapping[str, tuple[str, ...]] = {
    "leaking": ("leaking",),
    "growing": ("leaking", "growing, not sure"),
}

_STYLES = {"leaking": "bold red", "growing, not sure": "bold yellow", "not leaking": "bold green"}

#: Suspects shown to people; the document has them all.
MAX_SUSPECTS = 5

Document = Mapping[str, Any]


class VerdictError(CliError):
    """A verdict that `--fail-on` does not accept."""

    code = ExitCode.VERDICT


def of_report(report: "Report") -> Document | None:
    """The verdict of a report, as its document has it; None where there is none."""
    if not report.HasField("verdict"):
        return None
    from memwatch_proto.v1 import reports_pb2 as pb

    words = {
        pb.VERDICT_STATE_LEAKING: "leaking",
        pb.VERDICT_STATE_GROWING: "growing, not sure",
        pb.VERDICT_STATE_NOT_LEAKING: "not leaking",
    }
    found = report.verdict
    return {
        "verdict": words.get(found.state, "not known"),
        "confidence": found.confidence,
        "summary": found.summary,
        "left_out": found.left_out_count,
        "suspects": [_suspect(suspect, words.get(suspect.state, "")) for suspect in found.suspects],
    }


def _suspect(found: "Suspect", state: str) -> Document:
    where = found.location if found.HasField("location") else None
    return {
        "state": state,
        "confidence": found.confidence,
        "why": list(found.reasons),
        "path": found.path,
        "object_class": found.object_class,
        "new_count": found.new_count,
        "new_bytes": found.new_size_bytes,
        "share": found.share,
        "per_second": found.new_per_second if found.HasField("new_per_second") else None,
        "where": where and _where(where),
        "made_at": [
            {
                "script": site.location.script,
                "line": site.location.line,
                "what": site.location.what,
                "count": site.count,
                "callers": list(site.callers),
            }
            for site in found.allocation_sites
        ],
    }


def _where(found: "SourceLocation") -> Document:
    where: Document = {"script": found.script, "line": found.line, "what": found.what}
    if not found.HasField("original"):
        return where
    original = {"script": found.original.script, "line": found.original.line}
    return {**where, "original": original}


def without_verdict(summary: str, verdict: Document) -> str:
    """A report's summary without its first sentence, where that repeats the verdict."""
    said = f"{str(verdict.get('verdict', '')).capitalize()}: {verdict.get('summary', '')}."
    return summary.removeprefix(said).strip()


def check(verdict: Document | None, fail_on: str | None) -> None:
    """Sees that a verdict is one that CI accepts.

    Raises:
        VerdictError: it is not.
    """
    if fail_on and verdict and verdict.get("verdict") in FAIL_ON[fail_on]:
        raise VerdictError(f"verdict: {verdict['verdict']}: {verdict.get('summary', '')}")


def show(out: Output, verdict: Document) -> None:
    """Prints the verdict and its suspects."""
    word = str(verdict.get("verdict", ""))
    sure = f" ({_percent(verdict.get('confidence', 0))} sure)"
    out.line(f"{word.upper()}{sure}: {verdict.get('summary', '')}", style=_STYLES.get(word, ""))
    suspects = verdict.get("suspects") or []
    for rank, suspect in enumerate(suspects[:MAX_SUSPECTS], 1):
        out.line()
        for line in _suspect_lines(rank, suspect):
            out.line(line)
    more = len(suspects[MAX_SUSPECTS:]) + int(verdict.get("left_out") or 0)
    if more:
        out.line()
        out.line(f"and {more} more suspects; -o json shows those that the document holds")


def _suspect_lines(rank: int, suspect: Document) -> list[str]:
    """One suspect: path, growth, place in the code, reasons."""
    rate = suspect.get("per_second")
    speed = f", {rate:.3g} a second" if rate else ""
    lines = [
        f"{rank}. {suspect.get('path', '?')}",
        f"   {suspect.get('new_count', 0):,} new {suspect.get('object_class', 'objects')}, "
        f"{size(int(suspect.get('new_bytes', 0)))}"
        f" ({_percent(suspect.get('share', 0))} of what is new){speed}",
    ]
    where = suspect.get("where")
    if where:
        lines.append(f"   from {_place(where)} ({where.get('what')})")
    if suspect.get("made_at"):
        new = suspect.get("new_count", 0)
        made = "; ".join(_made(site, new) for site in suspect["made_at"])
        lines.append(f"   made at {made}")
    why = "; ".join(map(str, suspect.get("why") or []))
    lines.append(f"   {suspect.get('state')} ({_percent(suspect.get('confidence', 0))}): {why}")
    return lines


def _made(site: Document, new: int) -> str:
    """`models.py:88 (4,000 of 4,000), called from views.py:12`."""
    file = str(site.get("script", "")).rpartition("/")[2] or "an unknown file"
    place = f"{file}:{site['line']}" if site.get("line") else file
    what = f" {site['what']}" if site.get("what") else ""
    callers = f", called from {' ← '.join(site['callers'])}" if site.get("callers") else ""
    return f"{place}{what} ({site.get('count', 0):,} of {new:,}){callers}"


def _place(where: Document) -> str:
    """A place in words; by its source map first, where there is one."""
    line = f":{where['line']}" if where.get("line") else ""
    compiled = f"{where.get('script')}{line}"
    original = where.get("original")
    return f"{_place(original)}, compiled to {compiled}" if original else compiled


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
