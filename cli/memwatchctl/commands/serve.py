"""`memwatchctl serve`: a controller and an agent on this machine, in the foreground."""

from pathlib import Path
from typing import Any

import click

from memwatchctl import app
from memwatchctl.options import command as declare

LOG_LEVELS = ("debug", "info", "warning", "error")


@declare("serve", short_help="Run a controller and an agent on this machine.")
@click.option("--listen", default="127.0.0.1:9466", show_default=True, help="Controller, gRPC.")
@click.option(
    "--http-listen",
    default="127.0.0.1:9467",
    show_default=True,
    help="Controller, HTTP API and dashboard; or 'off'.",
)
@click.option("--agent-listen", default="127.0.0.1:9465", show_default=True, help="Agent, gRPC.")
@click.option(
    "--metrics-listen",
    default="127.0.0.1:9464",
    show_default=True,
    help="Agent, /metrics; or 'off'.",
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Controller's data and token; by default in your data directory.",
)
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Agent's state and spool; by default beside the controller's data.",
)
@click.option("--hook-dir", type=click.Path(file_okay=False), help="Where hooks listen.")
@click.option("--pid", "pids", type=click.IntRange(min=1), multiple=True, help="Only this process.")
@click.option(
    "--log-level",
    type=click.Choice(LOG_LEVELS),
    default="warning",
    show_default=True,
    help="Of both, on standard error.",
)
@click.pass_context
def command(context: click.Context, /, **flags: Any) -> None:
    """Run a controller and an agent for the processes of this machine until Ctrl-C.

    One that crashes is started again, with growing pauses. Addresses may be host:port or
    unix:/path. Other commands on this machine find the controller by themselves.

    \b
    Examples:
      memwatchctl serve
      memwatchctl serve --listen unix:/run/memwatch/controller.sock --http-listen off
    """
    from memwatchctl import serving

    globals_ = app.globals_of(context)
    token_file = Path(globals_.token_file) if globals_.token_file else None
    serving.serve(serving.Plan(**flags, token_file=token_file), app.output(context))
