"""Closures' contexts as lines for people and as plain values."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from memwatchctl.output import Output
from memwatchctl.text import size

if TYPE_CHECKING:
    from memwatch_heap.scopes import Scope, Sharer

#: Variables and functions of one scope that people are shown; the document has them all.
_SHOWN = 6


def show(out: Output, scopes: Sequence["Scope"]) -> None:
    """Prints scopes, each with its variables and with the functions that hold them."""
    if not scopes:
        out.line("no function in this heap shares variables with closures")
    for scope in scopes:
        for line in _lines(scope):
            out.line(line)
        out.line()


def document(scope: "Scope") -> dict[str, Any]:
    """One scope as plain values."""
    return {
        "function": scope.function,
        "script": scope.script,
        "line": scope.line,
        "context_count": scope.contexts,
        "retained_size_bytes": scope.retained_bytes,
        "unread_size_bytes": scope.unread_bytes,
        "held_otherwise": scope.running,
        "functions": [
            {"name": s.function, "script": s.script, "line": s.line, "closure_count": s.closures}
            for s in scope.sharers
        ],
        "variables": [
            {
                "name": slot.name,
                "value_count": slot.values,
                "value_class": slot.value_class,
                "retained_size_bytes": slot.retained_bytes,
                "state": str(slot.state),
                "why": slot.why,
            }
            for slot in scope.slots
        ],
        "sample_ids": list(scope.samples),
    }


def _lines(scope: "Scope") -> list[str]:
    where = f"{scope.script}:{scope.line}" if scope.line else scope.script
    owner = f"{scope.function} " if scope.function else ""
    unread = f", {size(scope.unread_bytes)} of it not read" if scope.unread_bytes else ""
    lines = [
        f"{owner}({where or 'no place known'}): {scope.contexts:,} context"
        f"{'' if scope.contexts == 1 else 's'}, "
        f"{size(scope.retained_bytes)}{unread}"
    ]
    held = [_sharer(sharer) for sharer in scope.sharers[:_SHOWN]]
    held += [f"and {len(scope.sharers) - _SHOWN} more"] if len(scope.sharers) > _SHOWN else []
    held += ["a call that has not ended or the engine"] if scope.running else []
    lines.append(f"  held by {', '.join(held) or 'nothing known'}")
    lines += [
        f"  {slot.name}: {slot.values:,} {slot.value_class}, {size(slot.retained_bytes)}; "
        f"{slot.state}: {slot.why}"
        for slot in scope.slots[:_SHOWN]
    ]
    if len(scope.slots) > _SHOWN:
        lines.append(f"  and {len(scope.slots) - _SHOWN} more variables")
    return lines


def _sharer(sharer: "Sharer") -> str:
    name = sharer.function or "a function without a name"
    at = f" (line {sharer.line})" if sharer.line else ""
    count = f"{sharer.closures:,} of " if sharer.closures else "one inside of "
    return f"{count}{name}{at}"
