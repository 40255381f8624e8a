"""`memwatchctl isolate`: what captures changed around a service, and how it is undone."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from memwatchctl import app, images
from memwatchctl.errors import TargetError
from memwatchctl.options import group
from memwatchctl.output import Column
from memwatchctl.text import age, printable

if TYPE_CHECKING:
    from memwatchctl.ledger import Entry


@group("isolate", short_help="Changes around a service: list, undo.")
def command() -> None:
    """What captures with --isolate changed around a service on this machine.

    A capture undoes its changes itself, also when it is killed. What could not be undone then,
    because the engine was away, is listed here.
    """


@command.command("list", short_help="Changes that go on or were left.")
@click.pass_context
def list_command(context: click.Context) -> None:
    """Lists the changes that go on, and those that a killed command left.

    \b
    Examples:
      memwatchctl isolate list
    """
    from memwatchctl.ledger import Ledger

    ledger, out = Ledger.of_user(), app.output(context)
    changes = [_change(entry, ledger.is_owned(entry.id)) for entry in ledger.entries()]
    if out.is_table:
        out.table(_COLUMNS, changes)
    else:
        out.document({"changes": changes})


@command.command("undo", short_help="Put everything back.")
@click.argument("change_id", metavar="ID")
@click.option(
    "--agent-image",
    default=images.AGENT,
    envvar="MEMWATCH_AGENT_IMAGE",
    hidden=True,
    help="Image of the program that undoes it.",
)
def undo_command(change_id: str, agent_image: str) -> None:
    """Undoes a change whose command has ended: the container is called again, and nothing is left.

    \b
    Examples:
      memwatchctl isolate undo mw1f2e3d4c
    """
    from memwatchctl import isolation
    from memwatchctl.ledger import Ledger

    ledger = Ledger.of_user()
    if change_id not in {entry.id for entry in ledger.entries()}:
        raise TargetError(
            f"cannot undo '{printable(change_id)}': there is no such change; "
            "'memwatchctl isolate list' shows all"
        )
    if not isolation.undo(ledger, change_id, agent_image, app.note):
        raise TargetError(f"cannot undo '{change_id}': its command still runs; stop that first")


def _change(entry: "Entry", runs: bool) -> dict[str, Any]:
    """A change for programs."""
    when, step = entry.steps[-1] if entry.steps else (0.0, "")
    return {
        "id": entry.id,
        "container": str(entry.before["name"]),
        "runs": runs,
        "step_time": when,
        "step": step,
    }


def _age(when: float) -> str:
    return age(time.time() - when) if when else ""


_COLUMNS: Sequence[Column[dict[str, Any]]] = (
    Column("ID", lambda change: change["id"]),
    Column("CONTAINER", lambda change: change["container"], cut=True),
    Column("RUNS", lambda change: "yes" if change["runs"] else "no"),
    Column("AGE", lambda change: _age(change["step_time"]), right=True),
    Column("LAST STEP", lambda change: change["step"], cut=True),
)
