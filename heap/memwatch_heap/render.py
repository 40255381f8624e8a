"""A verdict for people: as text for a terminal, as a piece of HTML for a page."""

from html import escape

from memwatch_heap.code_places import Place
from memwatch_heap.report import Cleared, Suspect, Verdict

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def text(verdict: Verdict) -> str:
    """The verdict in lines, with a newline at the end."""
    lines = [f"{verdict.verdict.upper()} ({_percent(verdict.confidence)} sure): {verdict.summary}"]
    lines.append(_heap(verdict))
    for rank, suspect in enumerate(verdict.suspects, 1):
        lines += ["", *_suspect(rank, suspect)]
    if verdict.left_out:
        lines += ["", f"and {verdict.left_out} more"]
    if verdict.cleared:
        lines += ["", "not held for leaks:"]
        lines += [f"  {_cleared(cleared)}" for cleared in verdict.cleared]
    return "\n".join(lines) + "\n"


def html(verdict: Verdict) -> str:
    """The verdict as one `<section>`; it takes its looks from the page."""
    kind = verdict.verdict.partition(",")[0].replace(" ", "-")
    return (
        f'<section class="verdict {kind}">'
        f"<h2>{escape(verdict.verdict)} <small>{_percent(verdict.confidence)} sure</small></h2>"
        f"<p>{escape(verdict.summary)}</p><p>{escape(_heap(verdict))}</p>"
        f"<ol>{''.join(_suspect_html(suspect) for suspect in verdict.suspects)}</ol>"
        f"{_cleared_html(verdict)}</section>"
    )


def size(count: float) -> str:
    """Bytes as a person reads them: `1.2 MiB`."""
    value, unit = float(count), 0
    while abs(value) >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def _heap(verdict: Verdict) -> str:
    first, last = verdict.snapshots[0], verdict.snapshots[-1]
    line = (
        f"heap {size(first.total_bytes)} → {size(last.total_bytes)} over "
        f"{len(verdict.snapshots)} snapshots"
    )
    if verdict.seconds:
        line += f" in {verdict.seconds:.0f} s"
    return f"{line}; {size(verdict.new_bytes)} are new, {_percent(verdict.explained)} explained"


def _suspect(rank: int, suspect: Suspect) -> list[str]:
    lines = [f"{rank}. {suspect.path}", f"   {_growth(suspect)}"]
    if suspect.where:
        lines.append(f"   from {_where(suspect)}")
    if suspect.made_at:
        lines.append(f"   made at {_made(suspect)}")
    why = "; ".join(suspect.why)
    lines.append(f"   {suspect.state} ({_percent(suspect.confidence)}): {why}")
    return lines


def _growth(suspect: Suspect) -> str:
    rate = f", {suspect.per_second:.3g} a second" if suspect.per_second else ""
    others = "".join(f", with {count} {name}" for name, count in suspect.others)
    return (
        f"{suspect.new_count} new {suspect.object_class}{others}: {size(suspect.new_bytes)}"
        f" ({_percent(suspect.share)} of what is new){rate}"
    )


def _where(suspect: Suspect) -> str:
    where = suspect.where
    assert where is not None
    line = f":{where.line}" if where.line else ""
    return f"{where.script}{line} ({where.what})"


def _made(suspect: Suspect) -> str:
    """`models.py:88 (4,000 of 4,000), called from views.py:12`, the most frequent first."""
    said = []
    for site in suspect.made_at:
        place = str(Place(site.script, site.line, site.column, site.what))
        what = f" {site.what}" if site.what else ""
        callers = f", called from {' ← '.join(site.callers)}" if site.callers else ""
        said.append(f"{place}{what} ({site.count:,} of {suspect.new_count:,}){callers}")
    return "; ".join(said)


def _cleared(cleared: Cleared) -> str:
    return f"{cleared.path}: {cleared.state} ({' → '.join(map(str, cleared.counts))})"


def _suspect_html(suspect: Suspect) -> str:
    where = f"<div><code>{escape(_where(suspect))}</code></div>" if suspect.where else ""
    if suspect.made_at:
        where += f"<div>made at <code>{escape(_made(suspect))}</code></div>"
    return (
        f"<li><strong>{escape(suspect.path)}</strong><div>{escape(_growth(suspect))}</div>{where}"
        f"<div>{escape(suspect.state)} ({_percent(suspect.confidence)}): "
        f"{escape('; '.join(suspect.why))}</div></li>"
    )


def _cleared_html(verdict: Verdict) -> str:
    if not verdict.cleared:
        return ""
    rows = "".join(f"<li>{escape(_cleared(cleared))}</li>" for cleared in verdict.cleared)
    return f"<details><summary>not held for leaks</summary><ul>{rows}</ul></details>"


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %"
