"""`memwatchctl explain`: what a refusal means and what to do next."""

from typing import Any

import click

from memwatchctl import app
from memwatchctl.options import command as declare
from memwatchctl.text import printable


@declare("explain", short_help="What a refusal means, and what to do next.")
@click.argument("what")
@click.pass_context
def command(context: click.Context, what: str) -> None:
    """Explain a REASON, such as HEADROOM, or what became of a session by its id.

    \b
    Examples:
      memwatchctl explain PAUSE_BUDGET
      memwatchctl explain s-20261122-063235-4f2a
      memwatchctl explain all
    """
    from memwatch_proto.reasons import EXPLANATIONS

    out = app.output(context)
    word = what.upper().replace("-", "_")
    if what.lower() == "all":
        found = [_explained(reason, "") for reason in EXPLANATIONS]
    elif word in set(EXPLANATIONS):
        found = [_explained(word, "")]
    else:
        found = _of_session(context, what)
    if not out.is_table:
        out.document({"explanations": found})
        return
    for one in found:
        if one["message"]:
            out.line(one["message"])
        if one["reason"]:
            out.line(one["reason"], style="bold")
        out.line(one["explanation"])
        out.line()


def _explained(reason: str, message: str) -> dict[str, Any]:
    from memwatch_proto.reasons import EXPLANATIONS

    known = {str(one): text for one, text in EXPLANATIONS.items()}
    text = known.get(reason, "This version knows no more about it.")
    return {"reason": printable(reason), "message": printable(message), "explanation": text}


def _of_session(context: click.Context, id: str) -> list[dict[str, Any]]:
    """What became of each target of a session that failed; one line where none did."""
    with app.controller(context) as controller:
        session = controller.session(id)
    errors = [part.error for part in session.targets if part.HasField("error")]
    if session.HasField("error") and not errors:
        errors = [session.error]
    if errors:
        return [_explained(error.reason, error.message) for error in errors]
    text = "Nothing of it failed; 'memwatchctl sessions get' says how far it is."
    return [{"reason": "", "message": f"session {printable(id)}", "explanation": text}]
