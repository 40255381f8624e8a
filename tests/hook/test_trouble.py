"""Walks that cannot end well, in the real thing: the app lives on, and the error says what it was.

One process an interpreter and walker goes through all of them, and is captured at the end.
"""

import os
import subprocess
from pathlib import Path

import pytest

from tests.hook import dumps
from tests.hook.client import connected, wait_for_sockets
from tests.hook.conftest import hook_environment, interpreter
from tests.hook.test_snapshot import child_of
from tests.support import runtimes
from tests.support.processes import wait_until

APP = Path(__file__).parents[1] / "apps" / "hook" / "troubled.py"
CASES = [(minor, "c") for minor in runtimes.PYTHON_MINORS] + [("3.13", "py")]


@pytest.mark.parametrize(("minor", "walker"), CASES)
def test_a_walk_that_goes_wrong_costs_the_child_alone(hook_dir, tmp_path, minor, walker):
    """Crash, hang and a full container: said with names and numbers, no zombie, no descriptor."""
    (tmp_path / "memory.max").write_text("200000000")
    (tmp_path / "memory.current").write_text("199000000")
    (tmp_path / "memory.stat").write_text("inactive_file 1000\n")
    env = {**os.environ, **hook_environment(walker), "MEMWATCH_HOOK_DIR": str(hook_dir)}
    command = [interpreter(minor), APP, tmp_path]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, text=True) as target:
        try:
            assert heard(target) == "ready"
            [path] = wait_for_sockets(hook_dir, pid=target.pid)
            with connected(path) as client:

                def refusal(trouble, **options):
                    say(target, trouble)
                    answer = client.ask_dump(gc=False, **options)
                    body = answer.body
                    assert (answer.data, answer.descriptor) == (b"", -1)
                    assert body["reason"] == "CHILD_FAILED", body
                    wait_until(lambda: child_of(target.pid) is None)
                    return body["message"]

                say(target, "nothing")
                assert dumps.read(client.ask_dump(gc=False).data).end["objects"] > 60_000
                before = len(os.listdir(f"/proc/{target.pid}/fd"))
                crash, hang = refusal("crash"), refusal("hang", deadline_millis=300)
                assert "signal 11" in crash
                if walker == "c":  # the twin asks the collector, which does not say
                    assert "tp_traverse ran: __main__.Trap" in crash
                    assert "tp_traverse ran: __main__.Trap" in hang
                assert "took longer than 1 s" in hang
                if walker == "c":  # the twin's child copies the heap in any case
                    fat = refusal("nothing", max_extra_bytes=1)
                    assert "bytes, more than the 1 that they may" in fat
                full = refusal("full")
                assert "1001000 bytes are left below the container's limit of 200000000" in full
                assert "the app keeps 25000000" in full
                # An agent of this machine may be looking at it for a moment.
                wait_until(lambda: len(os.listdir(f"/proc/{target.pid}/fd")) <= before)
            assert target.poll() is None
        finally:
            target.kill()


def say(target, word):
    """Chooses the next trouble, and waits until it is set up."""
    target.stdin.write(word + "\n")
    target.stdin.flush()
    assert heard(target) == word


def heard(target):
    """The next line that the target says."""
    return target.stdout.readline().strip()
