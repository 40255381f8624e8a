"""`memwatchctl capture`: snapshots before and after, and what grew."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from memwatchctl import app, durations, images, isolating, verdicts
from memwatchctl.options import command as declare
from memwatchctl.options import course_options, millis

if TYPE_CHECKING:
    from memwatch_proto.v1.sessions_pb2 import Session, SessionPlan
    from memwatch_proto.v1.targets_pb2 import TargetSelector
    from memwatchctl.client import Controller
    from memwatchctl.isolation import Isolation

STRATEGIES = ("local", "docker", "k8s")
KINDS = ("heap",)
WAYS = ("hook", "attach")
PAUSES = ("auto", "never", "blocking")
PICKS = ("oldest", "fattest", "newest", "all")


@dataclass(frozen=True)
class Wish:
    """What the flags of `capture` said."""

    timeframe: int
    snapshots: int
    kind: str
    way: str | None
    force: bool
    max_pause: int
    pause: str | None
    allocation_sites: int
    pid: int | None
    container_id: str
    service_name: str
    namespace: str
    labels: tuple[str, ...]
    max_parallel: int
    container: str
    pick: str | None
    beside_newest: bool
    strategy: str | None
    dashboard_url: str
    session_id: str
    detach: bool
    output_dir: Path
    top: int
    fail_on: str | None
    agent_image: str
    isolation: isolating.Isolation

    @property
    def is_private(self) -> bool:
        """Whether it is done without a controller to set up."""
        return self.pid is not None or self.strategy == "local"


@declare("capture", short_help="Snapshots before and after, and what grew.")
@click.argument("target", required=False, default="")
@course_options
@click.option("--kind", type=click.Choice(KINDS), default="heap", help="What to take.")
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
    help="Node: may the target stand still while it is written? auto, the default: from a forked "
    "child, else yes; never: from a child or not at all; blocking: yes.",
)
@click.option(
    "--allocation-sites",
    type=click.IntRange(0, 64),
    is_flag=False,
    flag_value=1,
    default=0,
    show_default=False,
    metavar="[FRAMES]",
    help="Python with a hook: trace allocations (tracemalloc) from the first snapshot to the last, "
    "with so many frames each (1), so that suspects name the lines that their objects were made "
    "at. Until then every allocation of the service is several times slower, more so with "
    "more frames, and each traced block takes some 100 bytes, at most 256 MiB in all.",
)
@click.option("--pid", type=click.IntRange(min=1), help="A process of this machine; no server.")
@click.option("--container-id", default="", help="Container id, or the start of it.")
@click.option("--service-name", "--service", default="", help="Service; groups the session.")
@click.option("-n", "--namespace", default="", help="Kubernetes namespace.")
@click.option("-c", "--container", default="", help="Container of the pod; with pod/NAME and such.")
@click.option(
    "--pick",
    type=click.Choice(PICKS),
    help="Which pods of deploy/NAME, statefulset/NAME or -l: the fattest is usual, all with -l.",
)
@click.option(
    "--beside-newest",
    is_flag=True,
    help="Capture the newest pod too, and compare the other with it.",
)
@click.option(
    "-l",
    "--selector",
    "labels",
    multiple=True,
    metavar="KEY=VALUE",
    help="All targets with these labels, as one fleet.",
)
@click.option(
    "--max-parallel",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Targets of a fleet captured at once.",
)
@click.option(
    "--strategy",
    type=click.Choice(STRATEGIES),
    envvar="MEMWATCH_STRATEGY",
    help="Where the target is: in a container, a pod, or local. [env: MEMWATCH_STRATEGY]",
)
@click.option(
    "--agent-image",
    default=images.AGENT,
    show_default=True,
    envvar="MEMWATCH_AGENT_IMAGE",
    metavar="IMAGE",
    help="Image of the agent that --strategy docker starts. [env: MEMWATCH_AGENT_IMAGE]",
)
@click.option(
    "--dashboard-url",
    default="",
    envvar="MEMWATCH_DASHBOARD_URL",
    metavar="URL",
    help="Dashboard to capture through, or to upload a --pid capture to. "
    "[env: MEMWATCH_DASHBOARD_URL]",
)
@click.option(
    "--session-id",
    default="",
    envvar="MEMWATCH_SESSION_ID",
    help="Id of the session and in file names. [env: MEMWATCH_SESSION_ID]",
)
@click.option("-d", "--detach", is_flag=True, help="Print the session's id and leave it running.")
@click.option(
    "--output-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("snapshots"),
    show_default=True,
    help="Where a --pid capture writes its files.",
)
@click.option(
    "--fail-on",
    type=click.Choice(list(verdicts.FAIL_ON)),
    help="Exit code 9 on this verdict or a worse one, for CI.",
)
@click.option("--top", type=click.IntRange(min=1), default=15, help="Classes shown.")
@isolating.options
@click.pass_context
def command(context: click.Context, /, target: str, **flags: Any) -> None:
    """Take a snapshot, wait, take another, and say what grew.

    TARGET is a target's id, service, pod, container id prefix or pid, known to the controller;
    service/NAME, container/ID, pod/NAME, pid/N and id/ID say which. A controller in a cluster
    also knows deploy/NAME, statefulset/NAME, daemonset/NAME, replicaset/NAME and job/NAME. With
    --pid no controller is needed: files are written to ./snapshots/SESSION/. Ctrl-C cancels the
    session.

    \b
    Examples:
      memwatchctl capture shop --timeframe 5
      memwatchctl capture --container-id 4f5e1a --timeframe 30s --snapshots 3
      memwatchctl capture -l app=web --max-parallel 2 --timeframe 10m
      memwatchctl capture shop --timeframe 2h --detach
      memwatchctl capture deploy/web -n shop --pick oldest --beside-newest
      memwatchctl capture --pid 4711 --timeframe 2m
      memwatchctl capture --strategy docker --container-id 4f5e1a --timeframe 3
      memwatchctl capture --strategy docker --container-id shop --isolate replace
    """
    wish = Wish(isolation=isolating.Isolation.taken(flags), **flags)
    wish.isolation.check(wish.strategy or "")
    if wish.is_private:
        _capture_privately(context, target, wish)
    elif wish.strategy == "docker" and wish.pid is None and not wish.labels:
        _capture_in_docker(context, target, wish)
    else:
        _capture(context, target, wish)


def _capture(context: click.Context, word: str, wish: Wish) -> None:
    """Through the controller."""
    from memwatchctl import captures, results, strategies
    from memwatchctl.progress import display

    out = app.output(context)
    selector = _selector(word, wish)
    with app.controller(context, wish.dashboard_url) as controller:
        selector = strategies.narrowed(controller, selector, wish.strategy or "")
        if wish.isolation.dry_run:
            wish.isolation.preview(out, controller, _plan(selector, wish))
            return
        session = strategies.create(controller, _plan(selector, wish), wish.session_id)
        if wish.detach:
            out.identifier("session_id", session.id)
            return
        with display(app.no_color(context)) as shown:
            shown.note(f"session {session.id} runs for {durations.describe(wish.timeframe)}")
            session = captures.follow(controller, session, shown)
        results.show(out, controller, session, [], wish.top, wish.fail_on)


def _capture_privately(context: click.Context, word: str, wish: Wish) -> None:
    """With an agent and a controller of our own, a process of this machine."""
    from memwatchctl import private, strategies

    if wish.pid:
        private.check_pid(wish.pid, "capture")
    _check_private(wish)
    pid = wish.pid or strategies.local_pid(_selector(word, wish))
    app.note(f"starting a private agent and controller for pid {pid}")
    with private.controller(private.local([pid])) as controller:
        private.wait_for_pid(controller, pid)
        _capture_with(context, controller, _plan(_selector("", wish, pid), wish), wish)


def _capture_in_docker(context: click.Context, word: str, wish: Wish) -> None:
    """With an agent beside the container: one that is there, else a helper of our own."""
    from memwatchctl import containers, engines, isolation, strategies

    selector = _selector(word, wish)
    missed = None
    if not wish.isolation.is_wanted:
        missed = strategies.missed(lambda: app.controller(context, wish.dashboard_url), selector)
        if missed is None:
            _capture(context, word, wish)
            return
    named = containers.named(selector)
    _check_private(wish)
    with engines.engine(instead_of=missed) as client:
        engines.sweep(client)
        isolation.sweep(client, wish.agent_image, app.note)
        container = engines.find(client, named)
        change = None
        if wish.isolation.is_wanted:
            settings = wish.isolation.for_docker(wish.agent_image)
            change = isolation.decided(str(container.id), settings, app.note)
            if wish.isolation.dry_run:
                isolation.show(app.output(context), *change.prepared(client))
                return
            change.prepared(client)  # refused before anything is started
    app.note(f"starting an agent beside container {container.short_id} ({container.name})")
    _capture_container(context, str(container.id), selector.ids, wish, change)


def _capture_container(
    context: click.Context,
    container_id: str,
    ids: "Sequence[str]",
    wish: Wish,
    change: "Isolation | None",
) -> None:
    """With a helper beside a container, out of its rotation where that is wished."""
    from memwatchctl import containers, private, selectors

    program = containers.agent(container_id, wish.agent_image)
    with private.controller(program, change.undo_command if change else ()) as controller:
        target = containers.service_process(controller, container_id, ids)
        plan = _plan(selectors.selector(f"id/{target.id}"), wish)
        if change is None:
            _capture_with(context, controller, plan, wish)
            return
        with change.aside() as following:
            _capture_with(context, controller, plan, wish, following)


def _check_private(wish: Wish) -> None:
    """Sees that a capture without a server can do what is wished, before anything is started.

    Raises:
        click.UsageError: it is to go on without this command.
    """
    from memwatchctl import saving

    if wish.detach:
        raise click.UsageError(
            "cannot detach from a capture without a server, since it ends with this command; "
            "start one with 'memwatchctl serve'"
        )
    saving.check_folder(wish.output_dir)


def _capture_with(
    context: click.Context,
    controller: "Controller",
    plan: "SessionPlan",
    wish: Wish,
    on_tick: "Callable[[Session], None]" = lambda _: None,
) -> None:
    """Through a private controller: the snapshots become files, and are uploaded where asked."""
    from memwatchctl import captures, results, saving, strategies
    from memwatchctl.progress import display

    out = app.output(context)
    session = strategies.create(controller, plan, wish.session_id)
    with display(app.no_color(context)) as shown:
        saver = saving.Saver(controller, session.id, wish.output_dir, shown)
        session = captures.follow(controller, session, shown, saver.save, on_tick=on_tick)
    if wish.dashboard_url:
        with app.controller(context, wish.dashboard_url) as dashboard:
            results.upload(controller, session, dashboard)
    results.show(out, controller, session, saver.files, wish.top, wish.fail_on)


def _selector(word: str, wish: Wish, pid: int = 0) -> "TargetSelector":
    """Which targets are meant.

    Raises:
        click.UsageError: nothing says which.
    """
    from memwatchctl import selectors

    if pid:
        return selectors.selector(pid=pid)
    named = word or wish.container_id or wish.labels
    if wish.labels and not word and _asks_the_cluster(wish):
        return selectors.pods_with(",".join(wish.labels), wish.namespace, wish.container)
    made = selectors.selector(
        word,
        service="" if named else wish.service_name,
        container_id=wish.container_id,
        namespace=wish.namespace,
        labels=selectors.labels(wish.labels),
    )
    if made.HasField("workload"):
        made.container = wish.container
    elif wish.pick or wish.beside_newest or wish.container:
        raise click.UsageError(
            "cannot use --pick, --beside-newest or --container: they choose among pods; "
            "name them by deploy/NAME, pod/NAME or -l"
        )
    if selectors.is_empty(made):
        raise click.UsageError(
            "cannot capture: nothing says which target; give TARGET, --container-id, "
            "--service-name, --selector or --pid ('memwatchctl targets list' shows all)"
        )
    return made


def _asks_the_cluster(wish: Wish) -> bool:
    """Whether labels are to be looked up in the cluster, not among what agents report."""
    plain = all(
        "=" in part and not set("!()") & set(part)
        for text in wish.labels
        for part in text.split(",")
    )
    return bool(wish.pick or wish.beside_newest or wish.container) or (
        wish.strategy == "k8s" and not plain
    )


def _plan(selector: "TargetSelector", wish: Wish) -> "SessionPlan":
    """What the controller is asked to do."""
    from memwatch_proto.v1 import common_pb2, sessions_pb2

    return sessions_pb2.SessionPlan(
        selector=selector,
        fleet=bool(wish.labels) and not wish.pick and not wish.beside_newest,
        pick=f"POD_PICK_{(wish.pick or 'unspecified').upper()}",
        beside_newest=wish.beside_newest,
        max_parallel=wish.max_parallel,
        timeframe_millis=wish.timeframe,
        snapshots=wish.snapshots,
        kind=common_pb2.SNAPSHOT_KIND_HEAP,
        way=f"CAPTURE_WAY_{(wish.way or 'unspecified').upper()}",
        force=wish.force,
        max_pause_millis=wish.max_pause,
        pause=f"PAUSE_MODE_{(wish.pause or 'unspecified').upper()}",
        service=wish.service_name,
        strategy=wish.strategy or "",
        isolation=wish.isolation.for_pods(),
        allocation_frames=wish.allocation_sites,
    )
