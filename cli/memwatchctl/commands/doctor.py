"""`memwatchctl doctor`: is everything that captures need in order?"""

from typing import TYPE_CHECKING, Any

import click

from memwatch_proto import __version__
from memwatchctl import app
from memwatchctl.errors import ExitCode
from memwatchctl.options import command as declare
from memwatchctl.output import Output, word

if TYPE_CHECKING:
    from memwatch_proto.v1.controllers_pb2 import DiagnoseResponse

#: This machine's clock may differ by the length of a call.
CLOCK_SECONDS = 5.0

#: Subjects of one look that people are shown; -o json has them all.
MAX_SHOWN = 5

_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}


@declare("doctor", short_help="Is everything that captures need in order?")
@click.option("-n", "--namespace", default="", help="Only this namespace's pods and rights.")
@click.option("--strict", is_flag=True, help="Exit code 1 on a warning too.")
@click.pass_context
def command(context: click.Context, namespace: str, strict: bool) -> int:
    """Look whether everything that captures need is in order.

    Agents, hooks, headroom, clocks, versions and the store; in a cluster also the webhook, its
    certificate, rights, liveness probes, and pods that lack their agent. Changes nothing. Exit
    code 1 where something does not work.
    """
    import time

    out = app.output(context)
    with app.controller(context) as controller:
        begun = time.time()
        version = controller.controller().version
        found = controller.diagnose(namespace)
        checks = [*_own(version, found, begun, time.time()), *(_plain(one) for one in found.checks)]
    if out.is_table:
        _show(out, checks)
    else:
        out.document({"checks": checks})
    bad = {"failed", "warning"} if strict else {"failed"}
    return ExitCode.FAILURE if any(one["state"] in bad for one in checks) else ExitCode.OK


def _own(
    version: str, found: "DiagnoseResponse", begun: float, ended: float
) -> list[dict[str, Any]]:
    """What only this end can see: its own version and clock."""
    same = version == __version__
    there = found.time.ToMilliseconds() / 1000
    skew = there - min(max(there, begun), ended)
    told = abs(skew) < CLOCK_SECONDS
    return [
        {
            "name": "client",
            "state": "ok" if same else "warning",
            "message": f"memwatchctl is {__version__}, the controller {version}",
            "next_step": "" if same else "install memwatchctl of the controller's version",
            "subjects": [],
        },
        {
            "name": "client clock",
            "state": "ok" if told else "warning",
            "message": f"the controller's clock differs from this machine's by {abs(skew):.0f} s",
            "next_step": "" if told else "see which of them keeps no time (NTP)",
            "subjects": [],
        },
    ]


def _plain(one: Any) -> dict[str, Any]:
    return {
        "name": one.name,
        "state": word(one, "state"),
        "message": one.message,
        "next_step": one.next_step,
        "subjects": list(one.subjects),
    }


def _show(out: Output, checks: list[dict[str, Any]]) -> None:
    wide = max(len(one["name"]) for one in checks)
    for one in checks:
        line = f"{one['state']:<8} {one['name']:<{wide}}  {one['message']}"
        out.line(line, style=_STYLES.get(one["state"], ""))
        if one["next_step"]:
            out.line(f"{'':<8} {'':<{wide}}  → {one['next_step']}")
        for subject in one["subjects"][:MAX_SHOWN]:
            out.line(f"{'':<8} {'':<{wide}}    {subject}")
        if len(one["subjects"]) > MAX_SHOWN:
            more = len(one["subjects"]) - MAX_SHOWN
            out.line(f"{'':<8} {'':<{wide}}    and {more} more (-o json)")
