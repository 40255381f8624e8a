"""A service in a container: an agent beside it for one command, and which process is meant."""

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from memwatch_proto.v1 import targets_pb2
from memwatchctl import app, docker_agent, engines, selectors
from memwatchctl.errors import CallError, TargetError
from memwatchctl.guardian import Program
from memwatchctl.private import FIND_SECONDS, AgentProgram, Folder
from memwatchctl.text import printable, size

if TYPE_CHECKING:
    from memwatchctl.client import Controller


def named(selector: targets_pb2.TargetSelector) -> str:
    """The id prefix or name of the container that a selector means.

    Raises:
        TargetError: it means something else.
    """
    word = selector.container_id or selector.name
    if not word:
        raise TargetError(
            f"cannot capture {printable(selectors.describe(selector))} in Docker: "
            "give --container-id, or the container's name as TARGET"
        )
    return word


def agent(container_id: str, image: str) -> AgentProgram:
    """A program that keeps an agent in a helper container beside this one."""

    def program(folder: Folder, with_controller: bool) -> Program:
        owner = str(engines.Owner.of_this_process())
        orders = docker_agent.Orders(
            container_id, image, str(folder.path), with_controller, owner
        ).to_json()
        command = [sys.executable, "-P", "-m", "memwatchctl.docker_agent", orders]
        return Program("agent", command, str(folder.path / "agent.log"), held=with_controller)

    return program


def service_process(
    controller: "Controller", container_id: str, ids: Sequence[str]
) -> targets_pb2.Target:
    """The container's process that can be captured; of several the one with most memory.

    `ids` narrows them to these targets, where there are any.

    Raises:
        TargetError: the agent finds none.
        CallError: there is one, and it cannot be captured.
    """
    found = _found(controller, container_id, ids)
    able = [target for target in found if not target.unavailable_reason]
    if not able:
        raise CallError("NO_WAY_IN", f"cannot capture container: {found[0].unavailable_reason}")
    chosen = fattest(able)
    if len(able) > 1:
        app.note(
            f"of {len(able)} processes in it, pid {chosen.pid} has most memory "
            f"({size(chosen.memory.rss_bytes)}) and is captured; another: TARGET "
            + " or ".join(f"id/{target.id}" for target in able if target.id != chosen.id)
        )
    return chosen


def fattest(targets: Sequence[targets_pb2.Target]) -> targets_pb2.Target:
    """The target with the largest resident memory, the first of equals. Pure."""
    return max(targets, key=lambda target: target.memory.rss_bytes)


def _found(
    controller: "Controller", container_id: str, ids: Sequence[str]
) -> Sequence[targets_pb2.Target]:
    selector = targets_pb2.TargetSelector(container_id=container_id, ids=ids)
    deadline = time.monotonic() + FIND_SECONDS
    while time.monotonic() < deadline:
        if found := list(controller.targets(selector, False, 0)):
            return found
        time.sleep(0.1)
    raise TargetError(
        f"cannot capture container {container_id[:12]}: no Node.js or CPython process is in it"
    )
