"""`memwatchctl snapshot`: one snapshot of a local process into a file, without a server."""

from pathlib import Path

import click

from memwatchctl import app
from memwatchctl.options import command as declare
from memwatchctl.options import millis

WAYS = ("hook", "attach")
PAUSES = ("auto", "never", "blocking")


@declare("snapshot", short_help="One snapshot of a local process into a file.")
@click.argument("target", required=False, default="")
@click.option("--pid", type=click.IntRange(min=1), help="The process.")
@click.option("--container-id", default="", help="The process of this container, seen from here.")
@click.option(
    "--output",
    "file",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="Where to; .gz or .zst at the end compresses.",
)
@click.option("--way", type=click.Choice(WAYS), help="How to take it; else the agent chooses.")
@click.option("--force", is_flag=True, help="Take it although the preflight says no.")
@click.option(
    "--max-pause",
    type=click.UNPROCESSED,
    callback=millis("ms"),
    metavar="TIME",
    help="Refuse to stop the target for longer: 500 (ms), 2s.",
)
@click.option(
    "--pause",
    type=click.Choice(PAUSES),
    default="auto",
    show_default=True,
    help="Node: may the target stand still while it is written? auto: from a forked child, else "
    "yes; never: from a child or not at all; blocking: yes.",
)
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
@click.pass_context
def command(
    context: click.Context,
    target: str,
    pid: int | None,
    container_id: str,
    file: Path,
    way: str | None,
    force: bool,
    max_pause: int,
    pause: str,
    overwrite: bool,
) -> None:
    """Take one heap snapshot of a process of this machine; no server is needed.

    The process is named by --pid, or by TARGET: its service, container id prefix or pid.

    \b
    Examples:
      memwatchctl snapshot --pid 4711 --output now.heapsnapshot
      memwatchctl snapshot --pid 4711 --output now.heapsnapshot.gz --overwrite
    """
    from memwatchctl import downloads, private, selectors, singles

    selector = selectors.selector(target, container_id=container_id, pid=pid or 0)
    if selectors.is_empty(selector):
        raise click.UsageError(
            "cannot take snapshot: nothing says of which process; "
            "give --pid, --container-id or TARGET"
        )
    downloads.check_free(file, overwrite)
    if pid:
        private.check_pid(pid, "take snapshot of")
    with private.agent(private.local([pid] if pid else [])) as agent:
        found = singles.with_pid(agent, pid) if pid else singles.meant(agent, selector)
        wish = singles.Wish(file, way, force, max_pause, overwrite, pause)
        singles.take(agent, found, wish, app.output(context), app.no_color(context))
