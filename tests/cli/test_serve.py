"""`serve`: a controller and an agent of this machine under one supervisor."""

import contextlib
import json
import os
import signal
import socket
import tempfile
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.cli.test_private import users_of
from tests.support.processes import wait_until

pytestmark = pytest.mark.e2e


@pytest.fixture
def here():
    """The program in a short folder of its own."""
    with tempfile.TemporaryDirectory(prefix="mw-") as name:
        yield Cli(Path(name), f"unix:{name}/c.sock")


@contextlib.contextmanager
def serving(here):
    """A `serve` that has announced itself: its process and what it announced."""
    flags = ["--listen", here.controller, "--http-listen", "off", "--metrics-listen", "off"]
    flags += ["--agent-listen", f"unix:{here.home}/a.sock", "--data-dir", here.home / "data"]
    with here.start("serve", *flags, "-o", "json", env={"MEMWATCH_TOKEN": ""}) as process:
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            if process.poll() is None:
                process.kill()


def test_serve(here):
    """It prints addresses and token file; a crashed agent comes back; Ctrl-C stops both."""
    with serving(here) as (process, announced):
        token = {"MEMWATCH_TOKEN": "", "MEMWATCH_TOKEN_FILE": announced["token_file"]}
        assert announced["controller"] == here.controller
        assert os.stat(announced["token_file"]).st_mode & 0o777 == 0o600

        wait_until(lambda: "reachable" in here("targets", "list", env=token).stdout, 30)
        assert here("version", env=token).stdout.splitlines()[1].startswith("controller 0.")
        (agent,) = [pid for pid in users_of("memwatch_agent") if in_folder(pid, here.home)]
        os.kill(int(agent), signal.SIGKILL)
        assert "the agent ended with -9; starting it again in 0.5 s" in process.stderr.readline()
        assert "the agent is started again" in process.stderr.readline()

        os.kill(process.pid, signal.SIGINT)
        assert process.wait(40) == 0
    wait_until(lambda: not [pid for pid in users_of(str(here.home)) if pid != str(os.getpid())])


def test_killed_serve_takes_both_along(here):
    """SIGKILL of `serve` leaves neither agent nor controller."""
    with serving(here) as (process, _):
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    wait_until(lambda: not [pid for pid in users_of(str(here.home)) if pid != str(os.getpid())])


def in_folder(pid, folder):
    """Whether a process is one of this test's."""
    with contextlib.suppress(OSError):
        return str(folder) in Path(f"/proc/{pid}/cmdline").read_text()
    return False


def test_serve_on_a_taken_port(here):
    """An address where something listens is refused before anything is started."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        done = here("serve", "--listen", address, "--data-dir", here.home / "data")

    assert done.returncode == 1
    assert done.stderr.startswith(f"cannot serve at '{address}': something listens there already")
    assert not (here.home / "data").exists()


def test_serve_that_cannot_start(here):
    """An address that cannot be listened on: the controller's own words, and nothing is left."""
    flags = ["--http-listen", "off", "--metrics-listen", "off", "--data-dir", here.home / "data"]
    done = here("serve", "--listen", "192.0.2.1:1", *flags, env={"MEMWATCH_TOKEN": ""})

    assert done.returncode != 0
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("cannot ")
    wait_until(lambda: not users_of(str(here.home)))
