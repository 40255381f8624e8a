"""Deletes what was named, one after the other, and says so; the same for every noun."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from memwatchctl import app

if TYPE_CHECKING:
    from memwatchctl.client import Controller


def delete_each(
    context: click.Context,
    noun: str,
    names: Sequence[str],
    delete: Callable[["Controller", str], object],
) -> None:
    """Deletes by name; the first that cannot be deleted ends it, after those before it."""
    out = app.output(context)
    with app.controller(context) as controller:
        for name in names:
            delete(controller, name)
            if out.is_table:
                out.line(f"{noun} {name} is deleted")
    if not out.is_table:
        out.document({"deleted": list(names)})
