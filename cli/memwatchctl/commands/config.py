"""`memwatchctl config`: contexts, each a controller and how to be let in."""

import os
from dataclasses import asdict, replace
from pathlib import Path

import click

from memwatchctl import app, contexts
from memwatchctl.errors import ContextError
from memwatchctl.options import group
from memwatchctl.output import Column

_Row = tuple[str, contexts.Context, bool]


@group("config", short_help="Contexts: which controller to talk to.")
def command() -> None:
    """Contexts: named controllers in your configuration, as kubectl has them.

    \b
    Examples:
      memwatchctl config set-context staging --controller staging.example:9466 \\
          --token-file ~/.memwatch-staging --tls-ca staging-ca.pem
      memwatchctl config use-context staging
    """


@command.command("get-contexts")
@click.pass_context
def get_contexts(context: click.Context) -> None:
    """List the contexts; a star marks the current one."""
    _, config = _load()
    out = app.output(context)
    if not out.is_table:
        out.document(
            {
                "contexts": [
                    {"name": name, "current": name == config.current_context, **asdict(value)}
                    for name, value in sorted(config.contexts.items())
                ]
            }
        )
        return
    rows = [(n, c, n == config.current_context) for n, c in sorted(config.contexts.items())]
    out.table(_COLUMNS, rows)


_COLUMNS: tuple[Column[_Row], ...] = (
    Column("", lambda row: "*" if row[2] else ""),
    Column("NAME", lambda row: row[0]),
    Column("CONTROLLER", lambda row: row[1].controller or "-"),
    Column("TOKEN FILE", lambda row: row[1].token_file or "-"),
    Column("TLS CA", lambda row: row[1].tls_ca or "-"),
)


@command.command("use-context")
@click.argument("name")
def use_context(name: str) -> None:
    """Make a context the current one."""
    path, config = _load()
    config.named(name)
    contexts.save(path, replace(config, current_context=name))
    click.echo(f"now using context '{name}'")


@command.command("set-context")
@click.argument("name")
@click.option("--dashboard-url", default=None, metavar="URL", help="Where its pages are.")
@click.option("--use", is_flag=True, help="Make it the current one.")
@click.pass_context
def set_context(context: click.Context, name: str, dashboard_url: str | None, use: bool) -> None:
    """Make a context, or change the fields that are given.

    --controller, --token-file and --tls-ca say what to write; files are kept as absolute paths.
    """
    if not contexts.valid_name(name):
        raise ContextError(
            f"cannot set context '{name}': use letters, digits and ._@:/- (at most 128)"
        )
    path, config = _load()
    given = app.globals_of(context)
    fields = {
        "controller": given.controller,
        "token_file": _absolute(given.token_file),
        "tls_ca": _absolute(given.tls_ca),
        "dashboard_url": dashboard_url,
    }
    changed = replace(
        config.contexts.get(name, contexts.Context()),
        **{key: value for key, value in fields.items() if value is not None},
    )
    first = not config.contexts
    current = name if use or first else config.current_context
    contexts.save(path, contexts.Config(current, {**config.contexts, name: changed}))
    click.echo(f"context '{name}' is set" + (", and is the current one" if current == name else ""))


@command.command("delete-context")
@click.argument("name")
def delete_context(name: str) -> None:
    """Remove a context; files it names stay."""
    path, config = _load()
    config.named(name)
    left = {other: value for other, value in config.contexts.items() if other != name}
    current = "" if config.current_context == name else config.current_context
    contexts.save(path, contexts.Config(current, left))
    click.echo(f"context '{name}' is deleted")


@command.command("view")
@click.pass_context
def view(context: click.Context) -> None:
    """Show which controller would be talked to, and where that was said; never the token."""
    path, config = _load()
    found = app.connection(context)
    out = app.output(context)
    document = {
        "config_file": str(path),
        "current_context": config.current_context,
        "controller": found.controller,
        "token": "from the environment" if found.token else "",
        "token_file": str(found.token_file or ""),
        "tls_ca": found.tls_ca,
        "dashboard_url": found.dashboard_url,
    }
    if out.is_table:
        out.pairs((key.replace("_", " ").capitalize(), value) for key, value in document.items())
    else:
        out.document(document)


def _load() -> tuple[Path, contexts.Config]:
    path = contexts.config_path(os.environ)
    return path, contexts.load(path)


def _absolute(file: str | None) -> str | None:
    return str(Path(file).expanduser().absolute()) if file else file
