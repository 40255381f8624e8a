"""`memwatchctl targets`: the processes that can be captured."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from memwatchctl import app
from memwatchctl.options import group
from memwatchctl.output import Column, plain, word
from memwatchctl.text import age, size

if TYPE_CHECKING:
    from memwatch_proto.v1.targets_pb2 import Target
    from memwatchctl.output import Output

_STYLES = {"reachable": "green", "unreachable": "yellow", "gone": "dim"}


@group("targets", short_help="Processes that can be captured.")
def command() -> None:
    """Processes that can be captured, over all agents of the controller."""


@command.command("list")
@click.argument("target", required=False, default="")
@click.option("--service", "--service-name", default="", help="Only this service.")
@click.option("--namespace", default="", help="Only this Kubernetes namespace.")
@click.option(
    "-l", "--selector", "labels", multiple=True, metavar="KEY=VALUE", help="Only with this label."
)
@click.option("-a", "--all", "include_absent", is_flag=True, help="Unreachable and ended ones too.")
@click.option("--limit", type=click.IntRange(min=0), default=0, help="At most this many; 0: all.")
@click.pass_context
def list_(
    context: click.Context,
    target: str,
    service: str,
    namespace: str,
    labels: tuple[str, ...],
    include_absent: bool,
    limit: int,
) -> None:
    """List targets; those that cannot be captured with the reason.

    \b
    Examples:
      memwatchctl targets list
      memwatchctl targets list shop --all
      memwatchctl targets list -l app=web -o json
    """
    from memwatchctl import selectors

    selector = selectors.selector(
        target, service=service, namespace=namespace, labels=selectors.labels(labels)
    )
    out = app.output(context)
    with app.controller(context) as controller:
        found = list(controller.targets(selector, include_absent, limit))
    out.messages("targets", found, columns())
    if out.is_table and not found:
        app.note("no targets; is an agent connected? 'memwatchctl serve' starts one here")


@command.command("get")
@click.argument("target")
@click.pass_context
def get(context: click.Context, target: str) -> None:
    """Show one target, by its id, name, pod, container id prefix or pid."""
    from memwatchctl import selectors

    out = app.output(context)
    with app.controller(context) as controller:
        _show(out, selectors.the_one(controller, target))


@command.command("watch")
@click.argument("target")
@click.pass_context
def watch(context: click.Context, target: str) -> None:
    """Follow one target's memory until Ctrl-C or the end of its process."""
    from memwatchctl import selectors

    out = app.output(context)
    with app.controller(context) as controller:
        target_id = selectors.the_one(controller, target).id
        for seen in controller.watch_target(target_id):
            if out.is_table:
                out.line(_memory_line(seen))
                out.flush()
            else:
                out.event(plain(seen))


def columns() -> Sequence[Column["Target"]]:
    """The table of targets."""
    return (
        Column("SERVICE", lambda t: t.service or "-", cut=True),
        Column("TARGET", lambda t: t.id),
        Column("RUNTIME", runtime, cut=True),
        Column("PID", lambda t: str(t.pid), right=True),
        Column("WHERE", where, cut=True),
        Column("RSS", lambda t: _bytes(t, "rss_bytes"), right=True),
        Column("STATE", lambda t: word(t, "state"), style=lambda s: _STYLES.get(s, "")),
        Column("ROLE", role, cut=True),
        Column("CAPTURE", ways, cut=True),
    )


def runtime(target: "Target") -> str:
    """Such as `node 22.11.0`."""
    return f"{word(target, 'runtime')} {target.runtime_version}".strip() or "-"


def where(target: "Target") -> str:
    """The pod, else the container, else the host's process."""
    if target.pod:
        return f"{target.namespace}/{target.pod}" if target.namespace else target.pod
    return target.container_id[:12] or "host"


def role(target: "Target") -> str:
    """Such as `cluster worker 2, 3 worker threads`; worker threads are those of Node."""
    threads = f"{target.worker_threads} worker threads" if target.worker_threads else ""
    return ", ".join(part for part in (target.role, threads) if part)


def ways(target: "Target") -> str:
    """The ways in, best first, or why there is none."""
    from memwatch_proto.v1 import common_pb2
    from memwatchctl.output import enum_word

    enum = common_pb2.CaptureWay.DESCRIPTOR
    if target.unavailable_reason:
        return f"no: {target.unavailable_reason}"
    return ", ".join(enum_word(enum, way) for way in target.ways) or "no"


def _show(out: "Output", target: "Target") -> None:
    if not out.is_table:
        out.document(plain(target))
        return
    memory = target.memory
    out.pairs(
        [
            ("Target", target.id),
            ("Service", target.service),
            ("State", f"{word(target, 'state')}, seen {_ago(target)} ago"),
            ("Runtime", runtime(target)),
            ("Role", role(target)),
            ("Pid", str(target.pid)),
            ("Pod", where(target) if target.pod else ""),
            ("Container", target.container_id),
            ("Command", target.command),
            ("Started", target.start_time.ToJsonString() if target.HasField("start_time") else ""),
            ("Labels", ", ".join(f"{k}={v}" for k, v in sorted(target.labels.items()))),
            ("Hook", "answers" if target.hooked else ""),
            ("Capture", ways(target)),
            ("RSS", _bytes(target, "rss_bytes")),
            ("Heap used", _bytes(target, "heap_used_bytes")),
            ("Heap limit", _bytes(target, "heap_limit_bytes")),
            ("External", _bytes(target, "external_bytes")),
            ("Resources", str(memory.resources) if memory.HasField("resources") else ""),
            ("Cgroup", _cgroup(target)),
            (
                "CPU time",
                f"{memory.cpu_millis / 1000:.1f} s" if memory.HasField("cpu_millis") else "",
            ),
            ("Agent", target.agent_id),
        ]
    )


def _memory_line(target: "Target") -> str:
    """One line of `targets watch`."""
    at = (
        target.memory.sample_time.ToDatetime(UTC)
        if target.HasField("memory")
        else datetime.now(UTC)
    )
    parts = [f"{at:%H:%M:%S}", word(target, "state")]
    for name, field in (("rss", "rss_bytes"), ("heap", "heap_used_bytes"), ("pss", "pss_bytes")):
        if target.memory.HasField(field):
            parts.append(f"{name} {_bytes(target, field)}")
    if target.memory.HasField("external_bytes"):
        parts.append(f"external {_bytes(target, 'external_bytes')}")
    if target.memory.HasField("resources"):
        parts.append(f"resources {target.memory.resources}")
    if cgroup := _cgroup(target):
        parts.append(f"cgroup {cgroup}")
    return "  ".join(parts)


def _cgroup(target: "Target") -> str:
    usage, limit = _bytes(target, "cgroup_usage_bytes"), _bytes(target, "cgroup_limit_bytes")
    if usage == "-":
        return ""
    return f"{usage} of {limit}" if limit != "-" else f"{usage}, no limit"


def _bytes(target: "Target", field: str) -> str:
    memory = target.memory
    return size(getattr(memory, field)) if memory.HasField(field) else "-"


def _ago(target: "Target") -> str:
    now = datetime.now(UTC)
    return age((now - target.last_seen_time.ToDatetime(UTC)).total_seconds())
