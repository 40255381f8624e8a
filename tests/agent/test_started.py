"""The startup probe: yes when the agent answers, and yes in the end whatever happens."""

import signal
import socket
import subprocess
import sys

import pytest

from memwatch_agent import started
from tests.support.processes import free_port
from tests.support.stack import program_env


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_agent_that_answers(host):
    """A listener on loopback or on every address is a yes at once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert started.answers(f"{host}:{listener.getsockname()[1]}")


def test_agent_on_a_unix_socket(tmp_path):
    """An agent may listen on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "a.sock"))
        listener.listen()
        assert started.answers(f"unix:{tmp_path}/a.sock")


@pytest.mark.parametrize("listen", ["", "nonsense", "127.0.0.1:99999", "unix:/nosuch", "[::1]:1"])
def test_nobody_answers(listen):
    """An address without a listener, or that is none, is a no and no error."""
    assert not started.answers(listen)


def test_patience_ends(monkeypatch):
    """After ten seconds the answer is yes without an agent: its failure is not the service's."""
    environ = {"MEMWATCH_AGENT_LISTEN": f"127.0.0.1:{free_port()}"}
    monkeypatch.setattr(started, "container_seconds", lambda: started.PATIENCE_SECONDS - 1)
    assert started.main(environ) == 1
    monkeypatch.setattr(started, "container_seconds", lambda: started.PATIENCE_SECONDS + 1)
    assert started.main(environ) == 0


def test_age_is_the_oldest_process_s():
    """The age is that of the oldest process that shares the files: here older than this one."""
    assert started.container_seconds() > 0


def test_agent_that_cannot_start_stays():
    """With --stay a setting of no use is told, and the process waits for SIGTERM: exit code 0."""
    command = [sys.executable, "-P", "-m", "memwatch_agent", "--stay", "--listen", "nonsense"]
    with subprocess.Popen(command, env=program_env(), stderr=subprocess.PIPE, text=True) as agent:
        assert agent.stderr
        assert "cannot" in agent.stderr.readline()
        assert agent.poll() is None
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(10) == 0
