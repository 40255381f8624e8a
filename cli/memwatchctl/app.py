"""Constructs what a command needs of the global flags; the only place that does."""

import os
from typing import TYPE_CHECKING

import click

from memwatchctl import contexts
from memwatchctl.options import Globals
from memwatchctl.output import Output
from memwatchctl.text import printable

if TYPE_CHECKING:
    from memwatchctl.client import Controller


def globals_of(context: click.Context) -> Globals:
    """What the global flags said."""
    return context.ensure_object(Globals)


def output(context: click.Context) -> Output:
    """Where the command prints."""
    globals_ = globals_of(context)
    return Output(globals_.format, globals_.no_color)


def connection(context: click.Context, dashboard_url: str = "") -> contexts.Connection:
    """Which controller is meant, and how to be let in."""
    config = contexts.load(contexts.config_path(os.environ))
    found = contexts.resolve(globals_of(context), os.environ, config, dashboard_url)
    if not found.is_local and not found.tls_ca and (found.token or found.token_file):
        note(f"warning: the token goes unencrypted to '{found.controller}'; pass --tls-ca for TLS")
    return found


def controller(context: click.Context, dashboard_url: str = "") -> "Controller":
    """The controller, ready to be called; close it, or use it in a `with`."""
    from memwatchctl.client import Controller

    return Controller(connection(context, dashboard_url), note)


def note(sentence: str) -> None:
    """Says something beside the result, on standard error."""
    click.echo(printable(sentence), err=True)


def no_color(context: click.Context) -> bool:
    """Whether colours are off."""
    return globals_of(context).no_color or bool(os.environ.get("NO_COLOR"))
