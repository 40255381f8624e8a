"""`memwatchctl internal-snapshot`: inside a container, of the one process there."""

from pathlib import Path

import click

from memwatchctl import app
from memwatchctl.options import command as declare


@declare("internal-snapshot", short_help="One snapshot of the one process of this container.")
@click.option(
    "--file",
    "file",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Where to; .gz or .zst at the end compresses.",
)
@click.option("--force", is_flag=True, help="Take it although the preflight says no.")
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
@click.pass_context
def command(context: click.Context, file: Path, force: bool, overwrite: bool) -> None:
    """Take one heap snapshot of the one Node.js or Python process that is here.

    Meant to be run inside a container (docker exec, kubectl exec). Two processes that could be
    meant are an error that lists them: use 'memwatchctl snapshot --pid'.
    """
    from memwatchctl import downloads, private, singles

    downloads.check_free(file, overwrite)
    with private.agent(private.local([])) as agent:
        target = singles.the_only(agent)
        wish = singles.Wish(file, None, force, 0, overwrite)
        singles.take(agent, target, wish, app.output(context), app.no_color(context))
