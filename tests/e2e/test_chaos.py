"""Killed with -9 in every state, each part in turn: the session ends right and nothing is lost."""

import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
import pytest

from memwatch_proto.v1 import sessions_pb2, sessions_pb2_grpc, targets_pb2
from tests.e2e.conftest import get
from tests.e2e.test_capture import answers, inspector_listens
from tests.support import runtimes
from tests.support.processes import free_port, wait_until
from tests.support.stack import Stack, node_service, python_service, unique

pytestmark = [pytest.mark.e2e, pytest.mark.chaos]

STATES = ("CAPTURING_BEFORE", "WAITING", "CAPTURING_AFTER", "ANALYSING")
TIMEFRAME_MILLIS = 3_000

#: Enough that a capture takes a second or so, and a kill meets it half-way.
PLANTED = 100_000


@dataclass
class Scene:
    """A stack and one service under it."""

    stack: Stack
    service_pid: int
    target_id: str


@contextmanager
def scene(stack: Stack, runtime: str) -> Iterator[Scene]:
    port, name = free_port(), unique("web")
    if runtime == "node":
        node = runtimes.any_node()
        if node is None:
            pytest.skip("no Node.js ≥ 18 is on this machine")
        service = node_service(node, port, service=name)
    else:
        service = python_service(
            runtimes.python("3.11") or Path("python3"), port, service=name, hooks=stack.hooks
        )
    with service as process:
        wait_until(lambda: answers(port))
        get(port, f"/leak?n={PLANTED}")
        yield Scene(stack, process.pid, stack.wait_for_target(name))


def create(stack: Stack, target_id: str) -> str:
    with stack.channel() as (channel, metadata):
        session = sessions_pb2_grpc.SessionServiceStub(channel).CreateSession(
            sessions_pb2.CreateSessionRequest(
                request_id=uuid.uuid4().hex,
                plan=sessions_pb2.SessionPlan(
                    selector=targets_pb2.TargetSelector(ids=[target_id]),
                    timeframe_millis=TIMEFRAME_MILLIS,
                ),
            ),
            metadata=metadata,
            timeout=10,
        )
        return str(session.id)


def wait_state(
    stack: Stack, session_id: str, accept: Callable[[str], bool]
) -> sessions_pb2.Session:
    """The session once its state is accepted; asks often, since some states are short."""
    deadline = time.monotonic() + 120
    with stack.channel() as (channel, metadata):
        stub = sessions_pb2_grpc.SessionServiceStub(channel)
        request = sessions_pb2.GetSessionRequest(id=session_id)
        while time.monotonic() < deadline:
            session = stub.GetSession(request, metadata=metadata, timeout=10)
            name = sessions_pb2.SessionState.Name(session.state).removeprefix("SESSION_STATE_")
            if accept(name):
                return session
            time.sleep(0.01)
    raise AssertionError(
        f"session stayed in {name}; see {stack.controller.log.read_text()[-3000:]}"
    )


def finished(name: str) -> bool:
    return name in ("SUCCEEDED", "FAILED", "CANCELLED")


def kill_in(scene: Scene, state: str, part: str) -> sessions_pb2.Session:
    """Runs a session, kills a part when the state is reached, brings it back, waits for the end."""
    stack = scene.stack
    session_id = create(stack, scene.target_id)
    wait_state(stack, session_id, lambda name: name == state or finished(name))
    if part == "target":
        os.kill(scene.service_pid, signal.SIGKILL)
    elif part == "agent":
        stack.agent.kill()
        stack.start_agent()
    else:
        stack.controller.kill()
        stack.start_controller()
    return wait_state(stack, session_id, finished)


def check_nothing_left(scene: Scene, session: sessions_pb2.Session) -> None:
    """Every snapshot once and whole, nothing partial, no inspector open, no orphan child."""
    phases = [s.phase for s in session.targets[0].snapshots]
    assert phases == sorted(set(phases), key=phases.index)
    for snapshot in session.targets[0].snapshots:
        file = scene.stack.folder / snapshot.id
        scene.stack.ctl("snapshots", "download", snapshot.id, "--output", str(file))
        assert file.stat().st_size == snapshot.raw_size_bytes
    wait_until(lambda: not partial_files(scene.stack), 20, "no partial or spooled file is left")
    if psutil.pid_exists(scene.service_pid) and is_running(scene.service_pid):
        wait_until(lambda: not inspector_listens(scene.service_pid), 20, "the inspector to be shut")
        wait_until(lambda: not psutil.Process(scene.service_pid).children(), 20, "no child is left")


def is_running(pid: int) -> bool:
    return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)


def partial_files(stack: Stack) -> list[Path]:
    """Files under a temporary name anywhere, and anything left in the agent's spool."""
    return [
        path
        for path in stack.leftovers()
        if ".part" in path.name or path.is_relative_to(stack.state)
    ]


CASES = [("node", state, part) for state in STATES for part in ("controller", "agent")]
# What differs for Python is the capture itself; waiting and comparing are the same.
CAPTURING = ("CAPTURING_BEFORE", "CAPTURING_AFTER")
CASES += [("python", state, part) for state in CAPTURING for part in ("controller", "agent")]
TARGET_CASES = [("node", state) for state in STATES] + [("python", state) for state in CAPTURING]


@pytest.mark.parametrize(("runtime", "state", "part"), CASES)
def test_killed_part_comes_back(stack: Stack, runtime: str, state: str, part: str) -> None:
    """A controller or agent killed in any state and started again: the session still succeeds."""
    with scene(stack, runtime) as here:
        session = kill_in(here, state, part)

        assert session.state == sessions_pb2.SESSION_STATE_SUCCEEDED, session.error.message
        assert [s.phase for s in session.targets[0].snapshots] == ["before", "after"]
        assert session.report_ids
        check_nothing_left(here, session)


@pytest.mark.parametrize(("runtime", "state"), TARGET_CASES)
def test_killed_target(stack: Stack, runtime: str, state: str) -> None:
    """A target killed in any state: the session fails in that phase, or ends with what it has."""
    with scene(stack, runtime) as here:
        session = kill_in(here, state, "target")

        if state == "ANALYSING":
            assert session.state == sessions_pb2.SESSION_STATE_SUCCEEDED
        else:
            phase = "capturing_before" if state == "CAPTURING_BEFORE" else "capturing_after"
            assert session.state == sessions_pb2.SESSION_STATE_FAILED
            assert session.error.phase == phase
            assert session.error.reason == "TARGET_ENDED"
            assert session.error.message.startswith("cannot ")
        check_nothing_left(here, session)


@pytest.mark.parametrize("state", STATES[:3])
def test_cancelled(stack: Stack, state: str) -> None:
    """A session cancelled in any state ends cancelled, and its capture leaves nothing behind."""
    with scene(stack, "node") as here:
        session_id = create(stack, here.target_id)
        wait_state(stack, session_id, lambda name: name == state or finished(name))
        stack.ctl("sessions", "cancel", session_id)
        session = wait_state(stack, session_id, finished)

        assert session.state == sessions_pb2.SESSION_STATE_CANCELLED
        check_nothing_left(here, session)


def test_unreachable_controller_is_named(stack: Stack) -> None:
    """A command that meets no controller says so in one line, and how to go on."""
    stack.controller.kill()
    done = stack.ctl("targets", "list", check=False)

    assert done.returncode == 5
    assert done.stderr.startswith("cannot ")
    assert len(done.stderr.splitlines()) == 1


def test_late_after_is_taken_and_marked(stack: Stack) -> None:
    """An after that came due while the controller was down is still taken, and marked late."""
    with scene(stack, "node") as here:
        session_id = create(stack, here.target_id)
        wait_state(stack, session_id, lambda name: name == "WAITING")
        stack.controller.kill()
        time.sleep(TIMEFRAME_MILLIS / 1000 + 6)
        stack.start_controller()
        session = wait_state(stack, session_id, finished)

        assert session.state == sessions_pb2.SESSION_STATE_SUCCEEDED, session.error.message
        after = session.targets[0].snapshots[-1]
        assert after.late
        assert after.late_millis >= 5_000


def test_no_call_without_token(stack: Stack) -> None:
    """Every part refuses a call without the token, and health answers without one."""
    for address in (stack.address, stack.agent_address):
        with grpc.insecure_channel(address) as channel:
            stub = sessions_pb2_grpc.SessionServiceStub(channel)
            with pytest.raises(grpc.RpcError) as caught:
                stub.ListSessions(sessions_pb2.ListSessionsRequest(), timeout=5)
            assert caught.value.code() in (
                grpc.StatusCode.UNAUTHENTICATED,
                grpc.StatusCode.UNIMPLEMENTED,
            )
