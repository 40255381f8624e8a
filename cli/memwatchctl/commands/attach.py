"""`memwatchctl attach`: an agent in a running pod, a capture with it, and its end."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from memwatchctl import app, durations, verdicts
from memwatchctl.options import command as declare
from memwatchctl.options import course_options

if TYPE_CHECKING:
    from memwatch_proto.v1.clusters_pb2 import AttachAgentResponse
    from memwatch_proto.v1.sessions_pb2 import SessionPlan
    from memwatch_proto.v1.targets_pb2 import Target
    from memwatchctl.client import Controller

#: An agent outlives its capture by this, for what is slow; then it ends by itself.
SPARE_MILLIS = 3600_000


@dataclass(frozen=True)
class Wish:
    """What the flags of `attach` said."""

    namespace: str
    container: str
    user: int | None
    timeframe: int
    snapshots: int
    keep: bool
    dry_run: bool
    force: bool
    top: int
    fail_on: str | None


@declare("attach", short_help="Capture a running pod that has no agent; nothing restarts.")
@click.argument("pod")
@click.option("-n", "--namespace", required=True, help="Namespace of the pod.")
@click.option("-c", "--container", default="", help="Its container; else the main one.")
@click.option(
    "--user", type=click.IntRange(min=0), help="User to run as; must be the service's own."
)
@course_options
@click.option("--force", is_flag=True, help="Take them although the preflight says no.")
@click.option("--keep", is_flag=True, help="Leave the agent there for other commands; no capture.")
@click.option("--dry-run", is_flag=True, help="Show the change of the pod, and change nothing.")
@click.option("--fail-on", type=click.Choice(list(verdicts.FAIL_ON)), help="Exit code 9 on it.")
@click.option("--top", type=click.IntRange(min=1), default=15, help="Classes shown.")
@click.pass_context
def command(context: click.Context, /, pod: str, **flags: Any) -> None:
    """Put the agent into a running POD as an ephemeral container, capture, and end the agent.

    Nothing restarts, and a Node.js service needs no preparation. A Python service needs the hook
    loaded already. Kubernetes never removes an ephemeral container: the agent's process ends,
    and its entry stays in the pod as terminated until the pod goes.

    \b
    Examples:
      memwatchctl attach web-7d9f -n shop --timeframe 10m
      memwatchctl attach web-7d9f -n shop -c app --dry-run
      memwatchctl attach web-7d9f -n shop --keep
    """
    wish = Wish(**flags)
    name = pod.partition("/")[2] if pod.startswith(("pod/", "po/", "pods/")) else pod
    with app.controller(context) as controller:
        made = controller.attach(
            name,
            wish.namespace,
            container=wish.container,
            user=wish.user,
            keep_millis=wish.timeframe + SPARE_MILLIS,
            dry_run=wish.dry_run,
        )
        if wish.dry_run:
            _show_patch(context, name, wish, made)
            return
        for note in made.notes:
            app.note(note)
        if wish.keep:
            app.output(context).identifier("agent_id", made.agent.id)
            return
        try:
            _capture(context, controller, made, wish)
        finally:
            controller.detach(made.agent.id)
            app.note(
                f"the agent has ended; its entry '{made.container}' stays in pod '{name}' as "
                "terminated, for Kubernetes never removes an ephemeral container"
            )


def _show_patch(context: click.Context, pod: str, wish: Wish, made: "AttachAgentResponse") -> None:
    out = app.output(context)
    patch = json.loads(made.patch)
    if not out.is_table:
        out.document({"patch": patch, "notes": list(made.notes)})
        return
    out.line(
        f"kubectl patch pod {pod} -n {wish.namespace} --subresource=ephemeralcontainers "
        "--type=strategic --patch-file=… would send this; the API server accepts it:"
    )
    out.line(json.dumps(patch, indent=2))
    for note in made.notes:
        out.line(f"note: {note}")


def _capture(
    context: click.Context, controller: "Controller", made: "AttachAgentResponse", wish: Wish
) -> None:
    from memwatchctl import captures, results, strategies
    from memwatchctl.progress import display

    out = app.output(context)
    session = strategies.create(controller, _plan(_the_one(made), wish), "")
    with display(app.no_color(context)) as shown:
        shown.note(f"session {session.id} runs for {durations.describe(wish.timeframe)}")
        session = captures.follow(controller, session, shown)
    results.show(out, controller, session, [], wish.top, wish.fail_on)


def _the_one(made: "AttachAgentResponse") -> "Target":
    """The one process that the agent can enter.

    Raises:
        TargetError: there are several.
    """
    from memwatchctl import selectors

    return selectors.only([t for t in made.targets if t.ways], "this pod", "capture")


def _plan(target: "Target", wish: Wish) -> "SessionPlan":
    from memwatch_proto.v1 import common_pb2, sessions_pb2, targets_pb2

    return sessions_pb2.SessionPlan(
        selector=targets_pb2.TargetSelector(ids=[target.id]),
        timeframe_millis=wish.timeframe,
        snapshots=wish.snapshots,
        kind=common_pb2.SNAPSHOT_KIND_HEAP,
        force=wish.force,
        strategy="k8s",
    )
