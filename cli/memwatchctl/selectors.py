"""From the words a person types to the targets that are meant."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import click

from memwatch_proto.v1 import targets_pb2
from memwatchctl.errors import TargetError
from memwatchctl.text import printable

if TYPE_CHECKING:
    from memwatchctl.client import Controller

#: A word longer than this is no name.
MAX_WORD = 256

#: More matches than this are not listed in an error.
MAX_LISTED = 10

#: `container/4f5e`: the forms that say what a word is.
_KINDS = ("id", "service", "container", "pid", "pod")

#: Kinds of the cluster, as kubectl names them; a controller in the cluster knows their pods.
_WORKLOADS = {
    alias: kind
    for kind, aliases in {
        "pod": ("pods", "po"),
        "deployment": ("deployments", "deploy", "deployment.apps"),
        "statefulset": ("statefulsets", "sts", "statefulset.apps"),
        "daemonset": ("daemonsets", "ds", "daemonset.apps"),
        "replicaset": ("replicasets", "rs", "replicaset.apps"),
        "job": ("jobs", "job.batch"),
    }.items()
    for alias in (kind, *aliases)
}


def selector(
    word: str = "",
    *,
    service: str = "",
    container_id: str = "",
    namespace: str = "",
    pid: int = 0,
    labels: Mapping[str, str] | None = None,
) -> targets_pb2.TargetSelector:
    """The selector of a TARGET word and the flags beside it. Pure.

    `pid/4711`, `service/web`, `container/4f5e`, `pod/web-7d9f` and `id/t-…` say what the word
    is; without that the controller looks for it as id, service, pod, container prefix and pid.

    Raises:
        click.UsageError: a word that can be no name.
    """
    for value in (word, service, container_id, namespace):
        _check(value)
    made = targets_pb2.TargetSelector(
        service=service,
        container_id=container_id,
        namespace=namespace,
        pid=pid,
        labels=dict(labels or {}),
    )
    kind, slash, rest = word.partition("/")
    if slash and rest and kind in _WORKLOADS:
        made.workload.kind, made.workload.name = _WORKLOADS[kind], rest
        made.name = rest if made.workload.kind == "pod" else ""
    elif not slash or kind not in _KINDS or not rest:
        made.name = word
    elif kind == "id":
        made.ids.append(rest)
    elif kind == "service":
        made.service = rest
    elif kind == "container":
        made.container_id = rest
    elif kind == "pid":
        made.pid = _pid(rest)
    return made


def pods_with(text: str, namespace: str, container: str = "") -> targets_pb2.TargetSelector:
    """The selector of the pods that a label selector of the cluster means. Pure.

    Raises:
        click.UsageError: a text that can be none.
    """
    _check(text)
    made = targets_pb2.TargetSelector(namespace=namespace, container=container)
    made.workload.kind, made.workload.name = "selector", text
    return made


def labels(pairs: Iterable[str]) -> dict[str, str]:
    """Labels of `key=value` words; several may stand in one, with commas between.

    Raises:
        click.UsageError: a word without `=`.
    """
    made: dict[str, str] = {}
    for pair in (part for text in pairs for part in text.split(",")):
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise click.UsageError(f"cannot use label '{printable(pair)}': write key=value")
        made[key.strip()] = value.strip()
    return made


def matches(target: targets_pb2.Target, selector: targets_pb2.TargetSelector) -> bool:
    """Whether a selector means a target, as a controller would see it. Pure."""
    word = selector.name
    by_word = word in (target.id, target.service, target.pod, str(target.pid)) or (
        len(word) >= 4 and target.container_id.startswith(word)
    )
    return (
        (not word or by_word)
        and (not selector.ids or target.id in selector.ids)
        and (not selector.service or target.service == selector.service)
        and target.container_id.startswith(selector.container_id)
        and (not selector.namespace or target.namespace == selector.namespace)
        and (not selector.pid or target.pid == selector.pid)
        and all(target.labels.get(key) == value for key, value in selector.labels.items())
    )


def is_empty(made: targets_pb2.TargetSelector) -> bool:
    """Whether it names no target: a namespace or a runtime alone does not."""
    return not (
        made.HasField("workload")
        or made.ids
        or made.name
        or made.service
        or made.container_id
        or made.pid
        or made.labels
    )


def describe(made: targets_pb2.TargetSelector) -> str:
    """A selector in a sentence: `'web' in namespace 'shop'`."""
    named = made.name or made.service or made.container_id or ", ".join(made.ids)
    if made.HasField("workload"):
        named = f"{made.workload.kind}/{made.workload.name}"
    if not named and made.pid:
        named = f"pid {made.pid}"
    if not named and made.labels:
        named = ", ".join(f"{key}={value}" for key, value in sorted(made.labels.items()))
    where = f" in namespace '{made.namespace}'" if made.namespace else ""
    return f"'{printable(named)}'{where}"


def the_one(controller: "Controller", word: str) -> targets_pb2.Target:
    """The one target that a word means.

    Raises:
        TargetError: there is none, or more than one.
    """
    return only(controller.targets(selector(word), True, 0), f"'{printable(word)}'", "show target")


def only(targets: Iterable[targets_pb2.Target], named: str, doing: str) -> targets_pb2.Target:
    """The one of a list; those that live come before those that ended.

    Raises:
        TargetError: the list is empty, or has more than one.
    """
    found = list(targets)
    living = [t for t in found if t.state == targets_pb2.TARGET_STATE_REACHABLE]
    candidates = living or found
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise TargetError(
            f"cannot {doing} {named}: no target matches; "
            "'memwatchctl targets list' shows what a controller knows"
        )
    raise TargetError(
        f"cannot {doing} {named}: {len(candidates)} targets match: {listed(candidates)}; "
        "name one by its id"
    )


def listed(targets: list[targets_pb2.Target]) -> str:
    """Targets in a sentence, so that one can be picked by its id."""
    shown = [
        f"{t.id} ({printable(t.service or t.pod or t.container_id[:12] or '-')}, pid {t.pid})"
        for t in targets[:MAX_LISTED]
    ]
    more = len(targets) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _check(value: str) -> None:
    if len(value) > MAX_WORD or printable(value) != value:
        raise click.UsageError(
            f"cannot use '{printable(value)[:80]}' as a name: "
            "it is too long or has control characters"
        )


def _pid(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 2**32):
        raise click.UsageError(f"cannot use '{printable(text)[:40]}' as a pid: write a number")
    return int(text)
