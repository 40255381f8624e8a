"""A process without a hook, entered by a real agent that was told it may."""

import contextlib

import grpc
import pytest

from tests.hook_python import matrix
from tests.support import processes, runtimes

# One thread, and a class to be found.
APP = """
import time
class Plain: pass
KEPT = [Plain() for _ in range(321)]
print("ready", flush=True)
while True: time.sleep(0.02)
"""


@contextlib.contextmanager
def app(minor, agent, folder):
    """APP under one interpreter, without a hook; and what it has written."""
    python = runtimes.python(minor)
    if python is None:
        pytest.skip(f"no CPython {minor}: python -m tests.support.debian_python makes 3.14")
    env = {"MEMWATCH_HOOK_DIR": str(agent.folder), "PYTHONPATH": ""}
    log = folder / f"log-{minor}"
    with processes.running([python, "-c", APP], env=env, log=log) as program:
        processes.wait_until(lambda: "ready" in log.read_text())
        yield program, log


def check_entered(agent, minor, folder):
    """Its heap is captured, the app goes on, and the hook answers the agent from then on."""
    with app(minor, agent, folder) as (program, log):
        assert agent.heap(program.pid, hooked=False).count("__main__.Plain") == 321
        assert agent.target(program.pid).unavailable_reason == ""
        assert program.poll() is None
        assert log.read_text() == "ready\n"


def test_by_remote_exec_where_that_was_asked_for(tmp_path):
    """CPython 3.14 is entered by its own means; an older one is not, and the target says why."""
    with matrix.agent("--attach-python", "remote-exec") as agent:
        with app("3.13", agent, tmp_path) as (program, _):
            told = agent.target(program.pid, hooked=False).unavailable_reason
            assert "nor by --attach-python: sys.remote_exec comes with CPython 3.14" in told
            with pytest.raises(grpc.RpcError) as refused:
                agent.heap(program.pid, hooked=False)
            assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert not list(agent.folder.glob("python-*"))
        check_entered(agent, "3.14", tmp_path)


def test_by_injection_where_that_was_asked_for(tmp_path):
    """Oldest and newest CPython that the injector is for."""
    pytest.importorskip("hypno", reason="no hypno: install memwatch[attach-python]")
    with matrix.agent("--attach-python", "inject") as agent:
        for minor in ("3.9", "3.13"):
            check_entered(agent, minor, tmp_path)
