"""A Python service under a real memory limit: refused with numbers; no child's end is the app's."""

import contextlib
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path

import grpc
import pytest

from tests.agent.test_app import Agent
from tests.hook.client import ERROR, connected, wait_for_sockets
from tests.hook.walkers import environment
from tests.support.memory_group import allow, memory_group, oom_kills
from tests.support.processes import running, wait_until

pytestmark = pytest.mark.root
MB = 1 << 20

# Some 60 MB; takes as many bytes as the file `eat` says, as a busy app may at any moment.
APP = """
import os, sys, time
kept = [{"number": number, "name": str(number)} for number in range(200_000)]
print("ready", flush=True)
while True:
    time.sleep(0.02)
    if os.path.exists("eat"):
        kept.append(b"x" * int(open("eat").read()))
        os.unlink("eat")
"""


@pytest.fixture
def limited():
    """A memory cgroup of its own, or the test is skipped."""
    with memory_group() as folder:
        yield folder


@contextlib.contextmanager
def captured(tmp_path, limited, walker):
    """The app in the group, an agent beside it: the group, the app's pid, and how to capture it."""
    log = tmp_path / "log-app"
    env = {**environment(walker), "MEMWATCH_HOOK_DIR": str(tmp_path)}
    command = [sys.executable, "-c", APP]
    with (
        running(command, env=env, cwd=tmp_path, log=log) as app,
        Agent(tmp_path) as agent,
        agent.stub() as stub,
    ):
        (limited / "cgroup.procs").write_text(str(app.pid))
        wait_until(lambda: b"ready" in log.read_bytes())
        target = stub.target(app.pid)
        yield app, lambda request_id, **options: outcome(stub, target.id, request_id, options)
        assert app.poll() is None, "the app must live on"


def outcome(stub, target_id, request_id, options):
    """The snapshot, or the error that came instead."""
    try:
        return stub.capture(target_id, request_id, **options)
    except grpc.RpcError as error:
        return error


def children(pid: int) -> list[int]:
    found = [(task / "children").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return [int(number) for number in " ".join(found).split()]


def private_bytes(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Private_Dirty:"):
                return int(line.split()[1]) * 1024
    return 0


def test_without_headroom_it_is_refused_with_numbers(tmp_path, limited):
    """The preflight says how much it needs and how much there is; nothing is forked."""
    with captured(tmp_path, limited, "c") as (app, capture):
        allow(limited, 20 * MB)
        refused = capture("r-1")
        assert refused.code() is grpc.StatusCode.FAILED_PRECONDITION
        needed, left = map(int, re.findall(r"\d{6,}", refused.details()))
        assert needed > 24 * MB > 20 * MB >= left - 5 * MB
        assert children(app.pid) == []
        allow(limited, 200 * MB)
        assert capture("r-2").walk.objects > 500_000


def test_no_end_of_a_child_is_the_apps(tmp_path, limited):
    """Out of room, killed for memory, crashed, hanging: the capture fails and says so."""
    with captured(tmp_path, limited, "py") as (app, capture):
        allow(limited, 30 * MB)
        failed = capture("room", force=True)
        # The guard looks every 20 ms; a kernel that is faster kills the child, never the app.
        assert re.search("left under the memory limit|killed by signal 9", failed.details())

        allow(limited, 400 * MB)
        failed = while_walking(app, capture, "crash", MB, crash)
        assert "killed by signal 11" in failed.details()

        failed = while_walking(app, capture, "hang", MB, lambda _: None, timeout_millis=1500)
        assert failed.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        wait_until(lambda: not children(app.pid), what="the hanging child to be gone")

        assert capture("whole", force=True).walk.walker == "python"
        killed_for_memory(tmp_path, limited, app.pid)


def killed_for_memory(tmp_path, limited, pid):
    """The kernel takes the child, not the app, where the app wants memory in the same moment.

    Without an agent, which would have seen it coming and ended the child itself.
    """
    allow(limited, 80 * MB)
    before = oom_kills(limited)
    [path] = wait_for_sockets(tmp_path, pid=pid)
    with connected(path) as client:
        client.request("heap", format="dump", gc=False)
        stopped(pid, 20 * MB)
        eat(tmp_path, limited)
        answer = client.answer()
    assert (answer.kind, answer.body["reason"]) == (ERROR, "CHILD_FAILED")
    assert "killed by signal 9" in answer.body["message"]
    assert oom_kills(limited) == before + 1
    wait_until(lambda: not (tmp_path / "eat").exists(), what="the app to get its memory")


def while_walking(app, capture, request_id, copied, act, **options):
    """Captures; when the child has copied so much it is stopped, and `act` is done to it."""
    wait_until(lambda: not children(app.pid), what="the child before to be gone")
    found = []
    thread = threading.Thread(
        target=lambda: found.append(capture(request_id, force=True, **options))
    )
    thread.start()
    act(stopped(app.pid, copied))
    thread.join(60)
    return found[0]


def stopped(pid: int, copied: int) -> int:
    """The app's child, stopped when it has copied so much; it lives for a moment only."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for child in children(pid):
            os.kill(child, signal.SIGSTOP)
            if private_bytes(child) >= copied:
                return child
            os.kill(child, signal.SIGCONT)
        time.sleep(0.002)
    raise AssertionError(f"no child of {pid} has copied {copied} bytes")


def crash(child: int) -> None:
    os.kill(child, signal.SIGSEGV)
    os.kill(child, signal.SIGCONT)


def eat(tmp_path: Path, limited: Path) -> None:
    """Makes the app take more memory than its limit leaves it beside the child."""
    used = int((limited / "memory.usage_in_bytes").read_text())
    limit = int((limited / "memory.limit_in_bytes").read_text())
    (tmp_path / "eat.new").write_text(str(limit - used + 10 * MB))
    (tmp_path / "eat.new").rename(tmp_path / "eat")
