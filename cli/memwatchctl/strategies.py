"""Where a target is looked for: `--strategy docker`, `k8s` or `local`, and how a miss is told."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from memwatch_proto.v1 import sessions_pb2, targets_pb2
from memwatchctl import selectors
from memwatchctl.errors import CallError, CliError, ExitCode, TargetError, UnreachableError
from memwatchctl.text import printable

if TYPE_CHECKING:
    from memwatchctl.client import Controller

_NEXT_STEPS: Mapping[str, str] = {
    "docker": (
        "no connected agent sees such a container, and no Docker engine answers here to start "
        "one beside it; name the engine with DOCKER_HOST, or start an agent on its host; "
        "'memwatchctl targets list' shows what is known"
    ),
    "k8s": (
        "no connected agent sees such a pod; add the memwatch agent to it as a sidecar; "
        "'memwatchctl targets list' shows what is known"
    ),
    "": (
        "no target matches; 'memwatchctl targets list' shows what is known, and "
        "'memwatchctl capture --pid N' captures a process of this machine without a server"
    ),
}

_IN_PLACE: Mapping[str, Callable[[targets_pb2.Target], bool]] = {
    "docker": lambda target: bool(target.container_id) and not target.pod,
    "k8s": lambda target: bool(target.pod),
}


def narrowed(
    controller: "Controller", selector: targets_pb2.TargetSelector, strategy: str
) -> targets_pb2.TargetSelector:
    """The selector of the targets that are in a container (`docker`) or in a pod (`k8s`).

    Raises:
        TargetError: the controller knows none, or more than one where no labels ask for a fleet.
    """
    in_place = _IN_PLACE.get(strategy)
    if in_place is None or selector.HasField("workload"):
        return selector
    found = [target for target in controller.targets(selector, False, 0) if in_place(target)]
    if not found:
        raise _missed(selector, strategy)
    if not selector.labels:
        found = [selectors.only(found, selectors.describe(selector), "capture")]
    return targets_pb2.TargetSelector(ids=[target.id for target in found])


def missed(
    open_controller: "Callable[[], Controller]", selector: targets_pb2.TargetSelector
) -> CliError | None:
    """Why no agent of a controller sees a container; None where one does."""
    try:
        with open_controller() as controller:
            narrowed(controller, selector, "docker")
    except (UnreachableError, TargetError) as error:
        return error
    return None


def create(
    controller: "Controller", plan: sessions_pb2.SessionPlan, session_id: str
) -> sessions_pb2.Session:
    """Starts a session; a target that is not there, or there twice, is told with what there is.

    Raises:
        TargetError: no target matches, or more than one.
        CallError: the controller refused for another reason.
    """
    try:
        return controller.create_session(plan, session_id)
    except CallError as error:
        if error.code is not ExitCode.NOT_FOUND or plan.selector.HasField("workload"):
            raise
        found = list(controller.targets(plan.selector, False, 0))
        if not found:
            raise _missed(plan.selector, "") from error
        selectors.only(found, selectors.describe(plan.selector), "capture")
        raise


def local_pid(selector: targets_pb2.TargetSelector) -> int:
    """The pid of the one process of this machine that is meant, found by a private agent.

    Raises:
        TargetError: none matches, or more than one.
    """
    from memwatchctl import private

    with private.agent(private.local([])) as agent:
        found = [target for target in agent.targets() if selectors.matches(target, selector)]
    named = selectors.describe(selector)
    return selectors.only(found, named, "capture").pid


def _missed(selector: targets_pb2.TargetSelector, strategy: str) -> TargetError:
    return TargetError(
        f"cannot capture {printable(selectors.describe(selector))}: {_NEXT_STEPS[strategy]}"
    )
