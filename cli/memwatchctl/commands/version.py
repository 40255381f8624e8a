"""`memwatchctl version`: the versions at both ends."""

import platform
from typing import Any

import click

from memwatch_proto import __version__
from memwatchctl import app
from memwatchctl.errors import CliError, ExitCode
from memwatchctl.options import command as declare


@declare("version", short_help="Versions of this program and of the controller.")
@click.option("--client", "client_only", is_flag=True, help="This program only, no call.")
@click.pass_context
def command(context: click.Context, client_only: bool) -> int:
    """Print the versions of this program and of the controller."""
    out = app.output(context)
    answer: dict[str, Any] = {
        "client": {"version": __version__, "python": platform.python_version()}
    }
    code = ExitCode.OK
    if not client_only:
        answer["controller"], code = _controller(context)
    if out.is_table:
        out.line(f"memwatchctl {__version__} (Python {platform.python_version()})")
        for line in _lines(answer.get("controller")):
            out.line(line)
    else:
        out.document(answer)
    return code


def _controller(context: click.Context) -> tuple[dict[str, str], ExitCode]:
    """What the controller says, or why it says nothing."""
    with app.controller(context) as controller:
        address = controller.connection.controller
        try:
            found = controller.controller()
        except CliError as error:
            return {"address": address, "error": str(error)}, error.code
    return {
        "address": address,
        "version": found.version,
        "start_time": found.start_time.ToJsonString(),
        "http_address": found.http_address,
    }, ExitCode.OK


def _lines(controller: dict[str, str] | None) -> list[str]:
    if controller is None:
        return []
    if "error" in controller:
        return [f"controller: {controller['error']}"]
    lines = [f"controller {controller['version']} at {controller['address']}"]
    if controller["http_address"]:
        lines.append(f"dashboard and HTTP API at {controller['http_address']}")
    return lines
