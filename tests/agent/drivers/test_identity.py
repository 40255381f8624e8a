"""`drivers/identity.py`: whether a process is the one that was meant, and Node."""

import os
import shutil
import signal
import sys

from memwatch_agent import procfs
from memwatch_agent.drivers import identity
from memwatch_agent.drivers.base import Process, Runtime
from tests.agent.drivers.apps import node, node_app, other_app


def us() -> Process:
    """This very process."""
    found = procfs.stat(f"/proc/{os.getpid()}")
    assert found is not None
    return Process(os.getpid(), found.start_ticks, Runtime.PYTHON)


def test_a_process_is_its_pid_and_its_start():
    """Another start time is another process; an invisible one is taken at its word."""
    own = us()

    assert identity.is_alive(own)
    assert not identity.is_alive(Process(own.pid, own.start_ticks + 1, own.runtime))
    assert not identity.is_alive(Process(2**22, 1, own.runtime))
    assert identity.is_alive(Process(2**22, 1, own.runtime, visible=False))


def test_a_zombie_is_not_alive():
    """A process that only waits to be reaped has ended."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    found = procfs.stat(f"/proc/{pid}")
    assert found is not None
    alive = identity.is_alive(Process(pid, found.start_ticks, Runtime.NODE))
    os.waitpid(pid, 0)

    assert not alive


def test_what_runs_node(tmp_path):
    """Node is known by what is in its binary, whatever that is called."""
    with node_app(tmp_path) as app:
        assert identity.runs_node(app.process)
        assert identity.catches(app.process, signal.SIGUSR1)
    fake = shutil.copy(shutil.which("sleep") or "/bin/sleep", tmp_path / "node")
    with other_app([fake, "60"]) as app:
        assert not identity.runs_node(app.process)
        assert not identity.catches(app.process, signal.SIGUSR1)
    assert not identity.runs_node(us())
    assert sys.executable


def test_a_node_whose_file_was_replaced_is_still_node(tmp_path):
    """An upgrade under a running process changes nothing: the kernel keeps its binary."""
    binary = tmp_path / "node"
    os.link(node(), binary)
    script = tmp_path / "app.cjs"
    script.write_text("setInterval(() => {}, 1000)")
    with other_app([binary, script]) as app:
        binary.unlink()

        assert identity.runs_node(app.process)
